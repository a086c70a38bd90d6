import json
import shutil
import signal
import subprocess
import sys
import time

import datasets
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from synthcxr.data.pairs import load_pairs
from synthcxr.data.schema import PAIR_FEATURES
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import MODEL_TYPES, RECORD_NAME, last_whole_checkpoint, pretrain
from synthcxr.training.training_pairs import load_splits


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


@pytest.mark.parametrize("model_type", sorted(MODEL_TYPES.keys() - {"convirt"}))
def test_every_method_trains_and_is_measured_the_same_way(model_type, pairs_folder, tmp_path):
    flags = ("--model-type", model_type, "--max-steps", "3", "--num-sentences", "1", "--save-strategy", "no")
    record = pretrain(*arguments(pairs_folder, tmp_path, *flags))
    assert {"eval_loss", "eval_macro_auroc", "eval_image_to_report_recall_at_10"} <= set(record["metrics"])
    model, processor = AutoModel.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(model, MODEL_TYPES[model_type][1])
    inputs = processor(text=["No pneumothorax."], images=[torch.zeros(1, 64, 64)], return_tensors="pt", padding=True)
    assert model(**inputs).logits_per_image.isfinite().all()
    if model_type in ("gloria", "mgca"):
        pieces = processor.tokenizer.get_vocab().items()
        continuing = {entry for piece, entry in pieces if piece.startswith("##")}
        assert set((model.word_index.piece_kinds == 1).nonzero().flatten().tolist()) == continuing


def test_the_record_says_what_was_run_and_measured(finished, pairs_folder):
    output_dir, record = finished
    assert json.loads((output_dir / RECORD_NAME).read_text()) == json.loads(json.dumps(record))
    assert record["num_pairs"] == len(load_pairs(pairs_folder, split="train"))
    assert record["request"]["model_type"] == "convirt"
    assert record["metrics"]["train_loss"] > 0
    assert {"eval_loss", "eval_macro_auroc"} <= set(record["metrics"])
    assert record["environment"]["torch"] == torch.__version__


@pytest.fixture(scope="module")
def real_folder(pairs_folder, tmp_path_factory):
    """A few pairs that say that they are real."""
    folder = tmp_path_factory.mktemp("real")
    pairs = load_pairs(pairs_folder, split="test")
    real = PAIR_FEATURES["origin"].str2int("real")
    pairs.map(lambda row: {"origin": real}, features=PAIR_FEATURES).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder


def test_the_record_tells_real_pairs_from_others_and_how_much_of_each_was_read(pairs_folder, real_folder, tmp_path):
    mix = ("--real-dataset", str(real_folder), "--mix", "1", "3", "--max-steps", "2")
    record = pretrain(*arguments(pairs_folder, tmp_path / "model", *mix))
    simulated, real = record["mix"][str(pairs_folder)], record["mix"][str(real_folder)]
    assert (simulated["origin"], real["origin"]) == ("simulated", "real")
    assert (simulated["share"], real["share"]) == (0.25, 0.75)
    assert simulated["num_pairs"] + real["num_pairs"] == record["num_pairs"]


def test_a_real_dataset_with_other_pairs_is_refused(pairs_folder, tmp_path):
    flags = ("--dataset", str(pairs_folder), "--output-dir", str(tmp_path), *FAST)
    flags = [flag.replace("--dataset", "--real-dataset") for flag in flags]
    given = parse_arguments([PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain")
    with pytest.raises(ValueError, match="has pairs that are not real; name it with --dataset"):
        pretrain(*given)


def test_a_stream_of_other_pairs_is_not_taken_for_real(pairs_folder, real_folder, tmp_path):
    flags = ["--real-dataset", str(real_folder), str(pairs_folder), "--streaming", "--max-steps", "3", *FAST]
    flags += ["--output-dir", str(tmp_path)]
    given = parse_arguments([PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain")
    with pytest.raises(ValueError, match="is not real; name its dataset with --dataset"):
        pretrain(*given)


def test_a_stream_stores_nothing(pairs_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    script_args, _ = arguments(pairs_folder, tmp_path, "--streaming", "--max-steps", "3", "--max-eval-samples", "5")
    splits = load_splits(script_args)
    assert len(splits.validation) == 5
    assert splits.validation.features == PAIR_FEATURES
    assert next(iter(splits.train))["image"]["bytes"]
    assert not list(tmp_path.rglob("*.arrow"))


def test_a_stream_without_a_number_of_steps_is_refused(pairs_folder, tmp_path):
    with pytest.raises(ValueError, match="--streaming has no epochs; give --max-steps"):
        pretrain(*arguments(pairs_folder, tmp_path, "--streaming"))


def test_half_a_checkpoint_is_passed_over(tmp_path):
    for step, state in ((2, "{}"), (10, "{}"), (12, '{"epoch": 1.'), (14, None), (16, "{}")):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
        for name in ("rng_state.pth", "rng_state_0.pth"):
            torch.save({"cpu": torch.get_rng_state()}, folder / name)
    whole = (tmp_path / "checkpoint-16" / "rng_state.pth").read_bytes()
    (tmp_path / "checkpoint-16" / "rng_state.pth").write_bytes(whole[:-20])  # the last process was not done
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert last_whole_checkpoint(tmp_path, num_processes=2) is None
    assert last_whole_checkpoint(tmp_path / "checkpoint-14") is None


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
    "recipe",
    [
        (),
        ("--muon-learning-rate", "0.02", "--num-sentences", "2"),
        ("--mini-batch-size", "3", "--real-dataset", "REAL", "--mix", "3", "1"),
    ],
    ids=["plain", "muon", "cached-and-mixed"],
)
def test_a_killed_run_goes_on_to_the_same_weights(finished, pairs_folder, real_folder, tmp_path, recipe):
    """`kill -9` after the first checkpoint, in the middle of an epoch; then the same command again."""
    recipe = [str(real_folder) if flag == "REAL" else flag for flag in recipe]
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


def test_a_streamed_run_goes_on_where_its_checkpoint_stopped(pairs_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # 5 s at the end of every pass
    flags = ("--streaming", "--max-steps", "12", "--save-steps", "5", "--save-total-limit", "9")
    record = pretrain(*arguments(pairs_folder, tmp_path / "whole", *flags))
    assert record["num_pairs"] == 12 * 8  # more than there are: the stream began anew
    stopped = tmp_path / "stopped"
    shutil.copytree(tmp_path / "whole" / "checkpoint-5", stopped / "checkpoint-5")
    (stopped / RECORD_NAME).write_text(json.dumps(record | {"finished": False}))
    assert pretrain(*arguments(pairs_folder, stopped, *flags))["resumed_from"] == "checkpoint-5"
    whole, resumed = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", stopped))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_shuffled_pairs_keep_the_texts_and_lose_the_pairing(pairs_folder, tmp_path):
    paired, *_ = load_splits(arguments(pairs_folder, tmp_path)[0])
    shuffled, *_ = load_splits(arguments(pairs_folder, tmp_path, "--shuffle-pairs")[0])
    assert paired["id"] == shuffled["id"]
    assert sorted(paired["report"]) == sorted(shuffled["report"])
    assert all(before != after for before, after in zip(paired["report"], shuffled["report"], strict=True))


def test_a_dataset_without_reports_is_refused_with_its_name(tmp_path):
    from datasets import Dataset

    (tmp_path / "data").mkdir()
    Dataset.from_dict({"text": ["a", "b"]}).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="image"):
        pretrain(*arguments(tmp_path, tmp_path / "out"))
