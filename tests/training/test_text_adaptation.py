import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from synthcxr.data.collators import DrawnDataset
from synthcxr.evaluation.encoder import load_encoder
from synthcxr.reports import split_sentences
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import RECORD_NAME, build_model, pretrain
from synthcxr.training.text_adaptation import SectionCollator, SectionMatchingModel, adapt_text_tower
from synthcxr.training.training_pairs import load_splits


def arguments(folder, output_dir, *flags):
    fast = ("--image-size", "64", "--per-device-train-batch-size", "8", "--use-cpu", "--disable-tqdm", "true")
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *fast, *flags)
    return parse_arguments([PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain")


@pytest.fixture
def built(pairs_folder, tmp_path):
    script_args, training_args = arguments(pairs_folder, tmp_path)
    train, *_ = load_splits(script_args)
    model, processor = build_model(script_args, texts=train["report"], seed=0)
    return model, processor, train, training_args


def test_the_text_tower_learns_and_the_image_tower_stays(built):
    model, processor, train, training_args = built
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapt_text_tower(model, processor, train, num_epochs=2, args=training_args)
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed
    assert all(name.startswith("text_") for name in changed)


def test_findings_find_their_impression_after_adaptation(built):
    model, processor, train, training_args = built

    def share_found():
        encoder = load_encoder(model, processor)
        similarity = encoder.embed_texts(train["findings"]) @ encoder.embed_texts(train["impression"]).T
        own = similarity.diagonal()[:, None]
        return float(((similarity > own).sum(axis=1) < 3).mean())

    before = share_found()
    adapt_text_tower(model, processor, train, num_epochs=30, args=training_args)
    assert share_found() > before + 0.2


def test_the_loss_is_the_models_own_between_both_texts(built):
    model, processor, train, _ = built
    batch = SectionCollator(processor, max_length=64)(DrawnDataset(train).__getitems__([0, 1, 2, 3]))
    model.eval()
    embeds = [torch.nn.functional.normalize(model.get_text_features(**batch[name]), dim=-1) for name in batch]
    logits = embeds[0] @ embeds[1].T / model.config.temperature
    target = torch.arange(4)
    both = torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
    torch.testing.assert_close(SectionMatchingModel(model)(**batch)["loss"], both / 2)


def test_a_selection_of_sentences_follows_from_seed_row_and_draw(built):
    _, processor, _, _ = built
    text = "Mild cardiomegaly. Small left effusion. Right apical nodule. Scoliosis."
    row = {"id": "a", "findings": "No edema.", "impression": text}
    collate = SectionCollator(processor, max_length=64, seed=3)

    def read(draw):
        ids = collate([row | {"draw": draw}])["impression"]["input_ids"][0]
        return processor.tokenizer.decode(ids, skip_special_tokens=True)

    texts = [read(draw) for draw in range(40)]
    assert texts == [read(draw) for draw in range(40)]
    assert {len(split_sentences(selection)) for selection in texts} == {1, 2, 3, 4}


def test_reports_without_an_impression_are_left_out_and_missed_when_too_few_remain(built):
    model, processor, train, training_args = built
    empty = train.map(lambda row: {"impression": ""})
    with pytest.raises(ValueError, match=f"0 of {len(train)} reports have findings and an impression"):
        adapt_text_tower(model, processor, empty, num_epochs=1, args=training_args)


def test_a_run_with_adaptation_says_so_in_its_record(pairs_folder, tmp_path):
    flags = ("--max-steps", "2", "--save-strategy", "no", "--text-adaptation-epochs", "1")
    record = pretrain(*arguments(pairs_folder, tmp_path / "model", *flags))
    assert record["text_adaptation"]["train_loss"] > 0
    assert json.loads((tmp_path / "model" / RECORD_NAME).read_text())["text_adaptation"] == record["text_adaptation"]


def test_a_resumed_run_keeps_the_record_of_its_adaptation(pairs_folder, tmp_path):
    flags = ("--max-steps", "2", "--save-steps", "1", "--save-total-limit", "2", "--text-adaptation-epochs", "1")
    first = pretrain(*arguments(pairs_folder, tmp_path / "model", *flags))
    weights = load_file(tmp_path / "model" / "model.safetensors")
    # As a kill after the first step leaves the folder.
    shutil.rmtree(tmp_path / "model" / "checkpoint-2")
    (tmp_path / "model" / RECORD_NAME).write_text(json.dumps(first | {"finished": False}))
    again = pretrain(*arguments(pairs_folder, tmp_path / "model", *flags))
    assert again["resumed_from"] == "checkpoint-1"
    assert again["text_adaptation"] == first["text_adaptation"]
    resumed = load_file(tmp_path / "model" / "model.safetensors")
    assert all(weights[name].equal(resumed[name]) for name in weights)


def test_negative_epochs_are_refused(pairs_folder, tmp_path):
    with pytest.raises(ValueError, match="--text-adaptation-epochs is -1.0; expected 0 or more"):
        arguments(pairs_folder, tmp_path, "--text-adaptation-epochs", "-1")
