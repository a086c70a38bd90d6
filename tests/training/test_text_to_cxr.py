import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_generators import tiny_stable_diffusion

from synthcxr.pipelines import CxrSynthesisPipeline
from synthcxr.training.arguments import parse_arguments
from synthcxr.training.generator_runs import RECORD_NAME
from synthcxr.training.text_to_cxr import train_text_to_cxr
from synthcxr.training.text_to_cxr_arguments import TextToCxrArguments


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
        "--per-device-train-batch-size",
        "4",
    ),
    *("--checkpointing-steps", "2", "--sample-steps", "2", "--sampling-steps", "2", "--max-eval-samples", "8"),
    *("--use-cpu", "--disable-tqdm", "true", "--warmup-steps", "0"),
)


def arguments(folder, output_dir, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *SMALL, *flags)
    return parse_arguments([TextToCxrArguments], flags, program="train_text_to_cxr.py")[0]


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("run") / "generator"
    return output_dir, train_text_to_cxr(arguments(pairs_folder, output_dir, "--max-steps", "2"))


def test_the_folder_of_a_run_is_a_pipeline(finished):
    output_dir, record = finished
    pipeline = CxrSynthesisPipeline.from_pretrained(output_dir)
    image = pipeline("Large left pleural effusion.", generator=torch.Generator().manual_seed(0)).images[0]
    assert (image.size, image.mode) == ((32, 32), "L")
    assert pipeline.config.default_num_inference_steps == 2
    assert record["finished"]
    parameters = [*pipeline.unet.named_parameters(), *pipeline.text_encoder.named_parameters()]
    assert record["num_parameters"] == sum(value.numel() for name, value in parameters if "pooler" not in name)
    assert record["metrics"]["eval_loss"] > 0


def test_samples_are_drawn_while_it_trains(finished):
    output_dir, _ = finished
    grid = Image.open(output_dir / "samples" / "step-0000002.png")
    prompts = json.loads((output_dir / "samples" / "prompts.json").read_text())
    assert grid.size == (6 * 32, len(prompts) * 32)
    assert np.asarray(grid).std() > 0


def test_a_finished_run_is_reused_and_goes_on_when_more_steps_are_asked_for(finished, pairs_folder, tmp_path):
    output_dir = shutil.copytree(finished[0], tmp_path / "run")
    assert train_text_to_cxr(arguments(pairs_folder, output_dir, "--max-steps", "2")) == finished[1]
    longer = train_text_to_cxr(arguments(pairs_folder, output_dir, "--max-steps", "3"))
    assert longer["metrics"]["resumed_from"] == 2
    straight = train_text_to_cxr(arguments(pairs_folder, tmp_path / "straight", "--max-steps", "3"))
    assert longer["metrics"]["eval_loss"] == straight["metrics"]["eval_loss"]


def test_other_settings_are_refused_by_name(finished, pairs_folder):
    flags = ("--max-steps", "2", "--caption-dropout", "0.3")
    with pytest.raises(ValueError, match=r"caption_dropout \(0.1 then, 0.3 now\)"):
        train_text_to_cxr(arguments(pairs_folder, finished[0], *flags))
    record = json.loads((finished[0] / RECORD_NAME).read_text())
    assert record == finished[1]


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction"])
def test_latents_of_an_autoencoder_with_a_frozen_clip_are_learnt_too(objective, pairs_folder, tmp_path):
    parts = tiny_stable_diffusion(1)
    for name in ("vae", "text_encoder", "tokenizer"):
        folder = tmp_path / ("vae" if name == "vae" else "text")
        getattr(parts, name).save_pretrained(folder)
    flags = ("--max-steps", "1", "--objective", objective, "--freeze-text-encoder", "--balance-findings", "0.5")
    flags += ("--finding-focus", "1")
    paths = ("--autoencoder", str(tmp_path / "vae"), "--text-model", str(tmp_path / "text"))
    train_text_to_cxr(arguments(pairs_folder, tmp_path / "run", *flags, *paths))
    pipeline = CxrSynthesisPipeline.from_pretrained(tmp_path / "run")
    assert pipeline.scheduler.config.prediction_type == objective
    assert pipeline.text_encoder.config.model_type == "clip_text_model"
    assert pipeline("A nodule.", num_inference_steps=2).images[0].size == (32, 32)


@pytest.mark.parametrize("flag", ["--autoencoder", "--text-model"])
def test_a_part_that_does_not_exist_is_said_in_one_line(flag, pairs_folder, tmp_path):
    with pytest.raises(ValueError, match=f"{flag} .*nowhere cannot be loaded") as caught:
        train_text_to_cxr(arguments(pairs_folder, tmp_path / "run", flag, str(tmp_path / "nowhere")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pixel-fold", "5"], "--pixel-fold is 5; expected a divisor of 32"),
        (["--channels-per-head", "24"], "--block-out-channels has 32; expected multiples of 32 and of --channels"),
        (["--freeze-text-encoder"], "give --text-model"),
        (["--caption-dropout", "2"], "--caption-dropout is 2.0; expected 0 to 1"),
        (["--max-steps", "0"], "--max-steps is 0"),
        (["--finding-focus", "-1"], "--finding-focus is -1.0; expected 0 or more"),
        (["--ema-decy", "1"], "there is no flag --ema-decy.*--ema-decay"),
    ],
)
def test_bad_settings_are_named(flags, message, pairs_folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        arguments(pairs_folder, tmp_path, *flags)


def test_what_weighs_in_training_does_not_weigh_in_validation(pairs_folder, tmp_path):
    flags = ("--max-steps", "1", "--learning-rate", "0", "--weight-decay", "0")
    losses = []
    for strength in ("0", "4"):
        output_dir = tmp_path / strength
        record = train_text_to_cxr(arguments(pairs_folder, output_dir, *flags, "--finding-focus", strength))
        first = json.loads((output_dir / "log.jsonl").read_text().splitlines()[0])
        losses.append((first["loss"], record["metrics"]["eval_loss"]))
    assert losses[1][0] > losses[0][0]
    assert losses[1][1] == losses[0][1]


def test_a_fresh_text_encoder_reads_before_it_draws_and_only_once(pairs_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("synthcxr.training.report_reading.MIN_POSITIVES", 2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training.json").write_text("{}")  # somebody else's, where the command is typed
    flags = ("--reading-steps", "2", "--text-learning-rate", "1e-4")
    record = train_text_to_cxr(arguments(pairs_folder, tmp_path / "run", *flags, "--max-steps", "2"))
    assert "started_from" not in record
    train_text_to_cxr(arguments(pairs_folder, tmp_path / "run", *flags, "--max-steps", "3"))
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["reading_steps"] for entry in entries if "reading_loss" in entry] == [2]
    assert "reading_steps" in entries[0]


def test_a_frozen_text_encoder_keeps_what_it_has_read_also_when_the_run_goes_on(pairs_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("synthcxr.training.report_reading.MIN_POSITIVES", 2)

    def encoder_after(steps, name, *flags):
        flags = ("--reading-steps", "2", "--learning-rate", "1e-2", "--max-steps", steps, *flags)
        train_text_to_cxr(arguments(pairs_folder, tmp_path / name, *flags))
        return CxrSynthesisPipeline.from_pretrained(tmp_path / name).text_encoder.state_dict()

    first, later = (encoder_after(steps, "frozen", "--freeze-text-encoder") for steps in ("2", "3"))
    trained = encoder_after("2", "trained")
    assert all(torch.equal(value, later[name]) for name, value in first.items())
    words = "embeddings.word_embeddings.weight"
    assert not torch.equal(first[words], trained[words])
