"""The record of a training becomes rows and the very command, without folders of the machine."""

import json
import shlex

import pytest

from synthcxr.hub.generator_training import generator_training, training_command
from synthcxr.training.arguments import parse_arguments
from synthcxr.training.text_to_cxr_arguments import TextToCxrArguments


REQUEST = {
    "dataset": ["/home/jane/pairs", "org/pairs"],
    "objective": "flow",
    "time_mean": 0.3,
    "min_snr_gamma": 5.0,
    "per_device_train_batch_size": 64,
    "gradient_accumulation_steps": 2,
    "block_out_channels": [64, 128],
    "text_model": "/home/jane/bert",
    "freeze_text_encoder": True,
    "use_cpu": False,
    "seed": 7,
}


def test_steps_images_seed_and_hardware_are_said():
    record = {"request": REQUEST, "num_pairs": 1200, "metrics": {"steps": 3000, "images_per_second": 40.1}}
    record |= {"runtime_seconds": 9000.0, "environment": {"torch": "2.13.0", "device": "CPU, 2 threads"}}
    facts = dict(generator_training(record)["training_facts"])
    assert facts["images seen by each process"] == "384,000"
    assert (facts["optimiser steps"], facts["seed"], facts["wall time"]) == ("3,000", 7, "2.5 h")
    assert (facts["hardware"], facts["versions"]) == ("CPU, 2 threads", "torch 2.13.0")


def test_folders_of_the_machine_are_named_without_their_path():
    content = generator_training({"request": REQUEST})
    assert dict(content["training_facts"])["trained on"] == "pairs, org/pairs"
    assert dict(content["arguments"])["text_model"] == "bert"
    assert "/home" not in str(content)


def test_settings_of_other_objectives_are_left_out():
    flow = dict(generator_training({"request": REQUEST})["arguments"])
    noise = dict(generator_training({"request": REQUEST}, objective="epsilon")["arguments"])
    assert ("time_mean" in flow, "min_snr_gamma" in flow) == (True, False)
    assert ("time_mean" in noise, "min_snr_gamma" in noise) == (False, True)


def test_the_command_gives_the_same_settings():
    """Through the parser of the script itself."""
    named = REQUEST | {"dataset": ["pairs", "org/pairs"], "text_model": "a folder's name", "max_steps": 3000}
    words = shlex.split(training_command(named).replace("\\\n", ""))
    assert words[:3] == ["accelerate", "launch", "training_scripts/train_text_to_cxr.py"]
    (arguments,) = parse_arguments([TextToCxrArguments], words[3:], program="train_text_to_cxr.py")
    assert {name: getattr(arguments, name) for name in named} == named


def test_defaults_are_not_repeated_in_the_command():
    command = training_command(REQUEST)
    assert "--gradient-accumulation-steps 2" in command
    assert "--objective" not in command
    assert "--min-snr-gamma" not in command


def test_an_adapter_has_a_command_of_its_own():
    from synthcxr.training.text_to_cxr_lora import TextToCxrLoraArguments

    request = {"dataset": ["org/pairs"], "model_name_or_path": "/home/jane/roentgen", "rank": 8}
    request |= {"train_text_encoder": True, "adapt_convolutions": False, "lora_alpha": None, "max_steps": 100}
    words = shlex.split(training_command(request).replace("\\\n", ""))
    assert words[2] == "training_scripts/train_text_to_cxr_lora.py"
    (arguments,) = parse_arguments([TextToCxrLoraArguments], words[3:], program="train_text_to_cxr_lora.py")
    expected = request | {"model_name_or_path": "roentgen"}
    assert {name: getattr(arguments, name) for name in expected} == expected


def test_a_distilled_generator_has_a_command_of_its_own():
    from synthcxr.training.flow_distillation import FlowDistillationArguments

    request = {"dataset": ["org/pairs"], "model_name_or_path": "org/teacher", "num_windows": 2, "caption_dropout": 0.0}
    words = shlex.split(training_command(request).replace("\\\n", ""))
    assert words[2] == "training_scripts/distil_text_to_cxr.py"
    (arguments,) = parse_arguments([FlowDistillationArguments], words[3:], program="distil_text_to_cxr.py")
    assert {name: getattr(arguments, name) for name in request} == request


def test_the_command_of_the_generator_it_began_with_comes_first_and_writes_what_it_reads():
    request = {"dataset": ["org/pairs"], "model_name_or_path": "/home/jane/teacher", "num_windows": 2}
    record = {"request": request, "started_from": {"request": REQUEST, "metrics": {"steps": 7}}}
    teacher, student = generator_training(record)["command"].split("accelerate launch ")[1:]
    assert teacher.startswith("training_scripts/train_text_to_cxr.py")
    assert "--max-steps 7" in teacher
    assert teacher.rstrip().endswith("--output-dir teacher")
    assert "--model-name-or-path teacher" in student
    assert generator_training({"request": request})["command"].count("accelerate launch") == 1


@pytest.mark.parametrize(
    ("settings", "num_flags"),
    [
        ({"model_name_or_path": "org/sd", "rank": 8, "max_steps": 20_000, "learning_rate": 4e-4}, 2),
        ({"model_name_or_path": "org/sd", "num_windows": 2, "caption_dropout": 0.1, "max_steps": 2000}, 1),
    ],
)
def test_what_is_a_default_elsewhere_is_said(settings, num_flags):
    """Adapters and students have defaults of their own."""
    command = training_command({"dataset": ["org/pairs"], **settings})
    said = [name for name in ("max-steps", "learning-rate", "caption-dropout") if f"--{name} " in command]
    assert len(said) == num_flags


def test_a_name_cannot_leave_its_word():
    command = training_command({"dataset": ["org/a; rm -rf x"], "text_model": "$(reboot)"})
    assert shlex.split(command.replace("\\\n", ""))[4] == "org/a; rm -rf x"
    assert "'$(reboot)'" in command


@pytest.mark.parametrize("record", [{}, {"request": {}}, {"finished": False}])
def test_an_absent_record_gives_no_rows(record):
    assert generator_training(record) == {"training_facts": [], "arguments": [], "command": ""}


def test_a_run_on_its_way_says_so(generator):
    record = json.loads((generator / "training.json").read_text())
    assert "finished" not in dict(generator_training(record)["training_facts"])
    assert "finished" in dict(generator_training(record | {"finished": False})["training_facts"])
