import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from synthcxr.data.pairs import load_pairs
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import RECORD_NAME, pretrain


FAST = (
    "--image-size",
    "64",
    "--per-device-train-batch-size",
    "8",
    "--per-device-eval-batch-size",
    "8",
    "--use-cpu",
    "--disable-tqdm",
    "true",
)


def arguments(folder, output_dir, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *FAST, *flags)
    return parse_arguments([PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain")


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("run") / "model"
    record = pretrain(*arguments(pairs_folder, output_dir, "--max-steps", "6", "--save-steps", "4"))
    return output_dir, record


def test_the_folder_loads_with_the_stock_classes(finished):
    output_dir, _ = finished
    model, processor = AutoModel.from_pretrained(output_dir), AutoProcessor.from_pretrained(output_dir)
    image = torch.zeros(1, 80, 80, dtype=torch.uint8)
    inputs = processor(text=["No pneumothorax."], images=[image], return_tensors="pt", padding=True)
    assert inputs["pixel_values"].shape[-2:] == (64, 64)
    assert model(**inputs).image_embeds.shape[0] == 1


def test_the_record_says_what_was_run_and_measured(finished, pairs_folder):
    output_dir, record = finished
    assert json.loads((output_dir / RECORD_NAME).read_text()) == json.loads(json.dumps(record))
    assert record["num_pairs"] == len(load_pairs(pairs_folder, split="train"))
    assert record["request"]["model_type"] == "convirt"
    assert record["metrics"]["train_loss"] > 0
    assert {"eval_loss", "eval_macro_auroc"} <= set(record["metrics"])
    assert record["environment"]["torch"] == torch.__version__


def test_a_finished_run_is_reused(finished, pairs_folder):
    output_dir, record = finished
    before = (output_dir / "model.safetensors").stat().st_mtime_ns
    again = pretrain(*arguments(pairs_folder, output_dir, "--max-steps", "6", "--save-steps", "4"))
    assert again["metrics"] == record["metrics"]
    assert (output_dir / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_in_the_same_folder_are_refused_by_name(finished, pairs_folder):
    output_dir, _ = finished
    with pytest.raises(ValueError, match=r"learning_rate \(0.001 then, 0.01 now\)"):
        pretrain(*arguments(pairs_folder, output_dir, "--max-steps", "6", "--learning-rate", "0.01"))


@pytest.mark.parametrize(
    "recipe", [(), ("--muon-learning-rate", "0.02", "--num-sentences", "2")], ids=["plain", "muon"]
)
def test_a_killed_run_goes_on_to_the_same_weights(finished, pairs_folder, tmp_path, recipe):
    """`kill -9` after the first checkpoint, in the middle of an epoch; then the same command again."""
    flags = ("--max-steps", "6", "--save-steps", "4", *recipe)
    uninterrupted = finished[0]
    if recipe:
        uninterrupted = tmp_path / "uninterrupted"
        pretrain(*arguments(pairs_folder, uninterrupted, *flags))
    output_dir = tmp_path / "model"
    command = ["--dataset", str(pairs_folder), "--output-dir", str(output_dir), *FAST, *flags]
    code = f"from synthcxr.cli.main import main; main({['pretrain', *command]!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (output_dir / "checkpoint-4" / "trainer_state.json").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not json.loads((output_dir / RECORD_NAME).read_text())["finished"]

    record = pretrain(*arguments(pairs_folder, output_dir, *flags))
    assert record["resumed_from"] == "checkpoint-4"
    whole, resumed = load_file(uninterrupted / "model.safetensors"), load_file(output_dir / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_shuffled_pairs_keep_the_texts_and_lose_the_pairing(pairs_folder, tmp_path):
    from synthcxr.training.pretrain import load_splits

    paired, _ = load_splits(arguments(pairs_folder, tmp_path)[0])
    shuffled, _ = load_splits(arguments(pairs_folder, tmp_path, "--shuffle-pairs")[0])
    assert paired["id"] == shuffled["id"]
    assert sorted(paired["report"]) == sorted(shuffled["report"])
    assert all(before != after for before, after in zip(paired["report"], shuffled["report"], strict=True))


def test_a_dataset_without_reports_is_refused_with_its_name(tmp_path):
    from datasets import Dataset

    (tmp_path / "data").mkdir()
    Dataset.from_dict({"text": ["a", "b"]}).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="image"):
        pretrain(*arguments(tmp_path, tmp_path / "out"))
