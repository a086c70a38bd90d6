import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from synthcxr.training.arguments import parse_arguments
from synthcxr.training.text_to_cxr_arguments import TextToCxrArguments


SCRIPTS = Path(__file__).parents[2] / "training_scripts"
SMALL = (
    *(
        "--image-size",
        "32",
        "--block-out-channels",
        "32",
        "32",
        "--channels-per-head",
        "16",
        "--text-hidden-size",
        "32",
    ),
    *(
        "--text-num-layers",
        "1",
        "--vocab-size",
        "400",
        "--max-text-length",
        "48",
        "--use-cpu",
        "--disable-tqdm",
        "true",
    ),
    *("--warmup-steps", "0", "--sample-steps", "0", "--max-eval-samples", "4", "--learning-rate", "1e-3"),
    *("--logging-steps", "1"),
)


def command(pairs_folder, output_dir, *flags, launch=()):
    script = str(SCRIPTS / "train_text_to_cxr.py")
    return [
        sys.executable,
        *launch,
        script,
        "--dataset",
        str(pairs_folder),
        "--output-dir",
        str(output_dir),
        *SMALL,
        *flags,
    ]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def logged(output_dir):
    entries = map(json.loads, (output_dir / "log.jsonl").read_text().splitlines())
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}


@pytest.mark.slow
def test_a_killed_run_goes_on_and_two_processes_are_one_with_the_whole_batch(pairs_folder, tmp_path):
    steps = ("--max-steps", "6", "--checkpointing-steps", "2")
    one = ("--per-device-train-batch-size", "4", *steps)
    process = subprocess.Popen(command(pairs_folder, tmp_path / "one", *one), env=environment())
    deadline = time.monotonic() + 300
    while not list((tmp_path / "one").glob("checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "one" / "model_index.json").exists()
    subprocess.run(command(pairs_folder, tmp_path / "one", *one), check=True, env=environment())
    record = json.loads((tmp_path / "one" / "training.json").read_text())
    assert record["finished"]
    assert record["metrics"]["resumed_from"] >= 2

    launch = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533")
    two = command(pairs_folder, tmp_path / "two", "--per-device-train-batch-size", "2", *steps, launch=launch)
    subprocess.run(two, check=True, env=environment())
    one, two = logged(tmp_path / "one"), logged(tmp_path / "two")
    assert sorted(one) == sorted(two) == [1, 2, 3, 4, 5, 6]
    for step, loss in two.items():
        assert loss == pytest.approx(one[step], abs=2e-4), step


def test_bad_input_is_one_line(tmp_path):
    result = subprocess.run(
        command(tmp_path / "nothing", tmp_path / "run"), capture_output=True, text=True, env=environment()
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("train_text_to_cxr.py: error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["text_to_cxr.yaml"])
def test_the_configuration_is_read(name):
    flags = ["--config", str(SCRIPTS / "configs" / name), "--dataset", "pairs"]
    (args,) = parse_arguments([TextToCxrArguments], flags, program="train_text_to_cxr.py")
    settings = yaml.safe_load((SCRIPTS / "configs" / name).read_text())
    assert {key: getattr(args, key) for key in settings} == settings
