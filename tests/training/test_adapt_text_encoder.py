import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from synthcxr.data.collators import DrawnDataset
from synthcxr.data.pairs import load_pairs
from synthcxr.training.adapt_text_encoder import MaskedTextCollator, TextAdaptationArguments, adapt_text_encoder
from synthcxr.training.adaptation import RECORD_NAME
from synthcxr.training.arguments import PretrainingArguments, parse_arguments


FAST = ("--per-device-train-batch-size", "8", "--use-cpu", "--disable-tqdm", "true", "--max-text-length", "48")


def arguments(folder, output_dir, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *FAST, *flags)
    return parse_arguments([TextAdaptationArguments, PretrainingArguments], flags, program="adapt_text_encoder.py")


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("text") / "encoder"
    flags = ("--max-steps", "40", "--save-steps", "13", "--save-total-limit", "5", "--learning-rate", "5e-3")
    return output_dir, flags, adapt_text_encoder(*arguments(pairs_folder, output_dir, *flags))


def test_held_out_words_are_guessed_better_than_by_an_untrained_encoder(finished, pairs_folder, tmp_path):
    untrained = adapt_text_encoder(
        *arguments(pairs_folder, tmp_path / "encoder", "--max-steps", "1", "--learning-rate", "1e-9")
    )
    assert finished[2]["metrics"]["eval_loss"] < untrained["metrics"]["eval_loss"] - 0.5


def test_the_folder_gives_a_text_tower_and_its_tokenizer(finished):
    output_dir, _, record = finished
    tower, tokenizer = AutoModel.from_pretrained(output_dir), AutoTokenizer.from_pretrained(output_dir)
    language = AutoModelForMaskedLM.from_pretrained(output_dir)
    tokens = tokenizer(["No pleural effusion."], return_tensors="pt")
    states = tower.eval()(**tokens).last_hidden_state
    assert states.equal(language.eval().bert(**tokens).last_hidden_state)
    assert tokenizer.unk_token_id not in tokens["input_ids"]
    assert json.loads((output_dir / RECORD_NAME).read_text()) == record


def test_a_stopped_run_goes_on_to_the_same_weights_in_the_middle_of_an_epoch(finished, pairs_folder, tmp_path):
    whole, flags, record = finished
    output_dir = tmp_path / "encoder"
    shutil.copytree(whole, output_dir)
    for step in (26, 39, 40):
        shutil.rmtree(output_dir / f"checkpoint-{step}")
    (output_dir / RECORD_NAME).write_text(json.dumps({"request": record["request"], "finished": False}))
    (output_dir / "model.safetensors").unlink()
    assert adapt_text_encoder(*arguments(pairs_folder, output_dir, *flags))["resumed_from"] == "checkpoint-13"
    before, after = load_file(whole / "model.safetensors"), load_file(output_dir / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)


def test_a_finished_run_is_reused_and_another_one_is_refused(finished, pairs_folder):
    output_dir, flags, record = finished
    assert adapt_text_encoder(*arguments(pairs_folder, output_dir, *flags)) == record
    with pytest.raises(ValueError, match=r"max_text_length \(48 then, 32 now\)"):
        adapt_text_encoder(*arguments(pairs_folder, output_dir, *flags, "--max-text-length", "32"))


def test_an_encoder_is_adapted_further(finished, pairs_folder, tmp_path):
    flags = ("--max-steps", "1", "--model-name-or-path", str(finished[0]), "--learning-rate", "1e-9")
    record = adapt_text_encoder(*arguments(pairs_folder, tmp_path / "encoder", *flags))
    assert record["metrics"]["eval_loss"] == pytest.approx(finished[2]["metrics"]["eval_loss"], abs=1e-3)


def test_what_is_hidden_follows_from_seed_rows_and_draw(finished, pairs_folder):
    tokenizer = AutoTokenizer.from_pretrained(finished[0])
    rows = DrawnDataset(load_pairs(pairs_folder))

    def batch(seed=0, draw=0, first=0):
        collate = MaskedTextCollator(tokenizer, text_column="report", max_length=48, seed=seed)
        torch.rand(3)  # whatever has been drawn elsewhere
        return collate([rows[draw * len(rows) + first + index] for index in range(4)])

    same = batch()
    assert all(values.equal(same[name]) for name, values in batch().items())
    for other in (batch(seed=1), batch(draw=1)):
        assert not other["input_ids"].equal(same["input_ids"])
    asked = same["labels"] != -100
    whole = torch.where(asked, same["labels"], same["input_ids"])
    expected = tokenizer([rows[index]["report"] for index in range(4)], truncation=True, max_length=48, padding=True)
    assert whole.tolist() == expected["input_ids"]


def test_cached_gradients_are_refused(pairs_folder, tmp_path):
    with pytest.raises(ValueError, match="--mini-batch-size is for pairs"):
        adapt_text_encoder(*arguments(pairs_folder, tmp_path, "--mini-batch-size", "2"))
