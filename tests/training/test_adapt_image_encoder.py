import json
import shutil

import pytest
import torch
from datasets import Dataset, Features
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel

from synthcxr.data.pairs import load_pairs
from synthcxr.training.adapt_image_encoder import (
    ImageAdaptationArguments,
    SimSiamModel,
    adapt_image_encoder,
    build_image_encoder,
)
from synthcxr.training.adapt_text_encoder import TextAdaptationArguments, adapt_text_encoder
from synthcxr.training.adaptation import RECORD_NAME
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import pretrain


FAST = ("--per-device-train-batch-size", "8", "--use-cpu", "--disable-tqdm", "true")


def parse(kind, folder, output_dir, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *FAST, *flags)
    return parse_arguments([kind, PretrainingArguments], flags, program="test")


def arguments(folder, output_dir, *flags):
    return parse(ImageAdaptationArguments, folder, output_dir, "--image-size", "64", *flags)


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("image") / "encoder"
    flags = ("--max-steps", "60", "--save-steps", "25", "--save-total-limit", "5", "--learning-rate", "3e-3")
    flags += ("--per-device-train-batch-size", "16")
    return output_dir, flags, adapt_image_encoder(*arguments(pairs_folder, output_dir, *flags))


def test_views_of_held_out_images_predict_each_other_better_than_untrained(finished, pairs_folder, tmp_path):
    flags = ("--max-steps", "1", "--learning-rate", "1e-9")
    untrained = adapt_image_encoder(*arguments(pairs_folder, tmp_path / "encoder", *flags))
    assert finished[2]["metrics"]["eval_loss"] < untrained["metrics"]["eval_loss"] - 0.1


def test_the_folder_gives_an_image_tower_and_its_processor(finished):
    output_dir, _, record = finished
    tower, loading = AutoModel.from_pretrained(output_dir, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    trained = load_file(output_dir / "checkpoint-60" / "model.safetensors")
    assert all(trained[f"vision_model.{name}"].equal(value) for name, value in tower.state_dict().items())
    processor = AutoImageProcessor.from_pretrained(output_dir)
    images = processor(images=[torch.zeros(1, 80, 80, dtype=torch.uint8)], return_tensors="pt")
    assert images["pixel_values"].shape == (1, 1, 64, 64)
    assert json.loads((output_dir / RECORD_NAME).read_text()) == record


def test_a_stopped_run_goes_on_to_the_same_weights_in_the_middle_of_an_epoch(finished, pairs_folder, tmp_path):
    whole, flags, record = finished
    output_dir = tmp_path / "encoder"
    shutil.copytree(whole, output_dir)
    for step in (50, 60):
        shutil.rmtree(output_dir / f"checkpoint-{step}")
    (output_dir / RECORD_NAME).write_text(json.dumps({"request": record["request"], "finished": False}))
    (output_dir / "model.safetensors").unlink()
    assert adapt_image_encoder(*arguments(pairs_folder, output_dir, *flags))["resumed_from"] == "checkpoint-25"
    before, after = load_file(whole / "model.safetensors"), load_file(output_dir / "model.safetensors")
    assert all(before[name].equal(after[name]) for name in before)


def test_both_adapted_encoders_become_the_towers_of_a_model(finished, pairs_folder, tmp_path):
    text_args = parse(TextAdaptationArguments, pairs_folder, tmp_path / "text", "--max-steps", "2")
    adapt_text_encoder(*text_args)
    flags = ("--vision-model", str(finished[0]), "--text-model", str(tmp_path / "text"), "--max-steps", "1")
    flags += ("--learning-rate", "1e-9", "--image-size", "64", "--weight-decay", "0")
    pretrain(*parse(PretrainingScriptArguments, pairs_folder, tmp_path / "model", *flags))
    model = AutoModel.from_pretrained(tmp_path / "model")
    adapted = AutoModel.from_pretrained(finished[0]).state_dict()
    for name, value in model.vision_model.named_parameters():
        torch.testing.assert_close(value.detach(), adapted[name], atol=1e-6, rtol=0)
    text = AutoModel.from_pretrained(tmp_path / "text").state_dict()
    for name, value in model.text_model.named_parameters():
        torch.testing.assert_close(value.detach(), text[name], atol=1e-6, rtol=0)


def test_images_without_a_report_are_learnt_from(pairs_folder, tmp_path):
    rows = load_pairs(pairs_folder).select(range(12)).to_list()
    rows = [row | {"report": "", "findings": "", "impression": ""} for row in rows]
    (tmp_path / "images" / "data").mkdir(parents=True)
    features = Features(load_pairs(pairs_folder).features)
    path = tmp_path / "images" / "data" / "train-00000-of-00001.parquet"
    Dataset.from_list(rows, features=features).to_parquet(path)
    record = adapt_image_encoder(*arguments(tmp_path / "images", tmp_path / "encoder", "--max-steps", "1"))
    assert record["num_rows"] == 12
    assert "eval_loss" not in record["metrics"]


def test_the_loss_is_the_mean_over_images_of_their_two_views(pairs_folder, tmp_path):
    script_args, _ = arguments(pairs_folder, tmp_path)
    tower, _ = build_image_encoder(script_args, seed=0)
    model = SimSiamModel(tower).eval()
    views = torch.randn(3, 2, 1, 64, 64)
    pooled = [tower(views[:, view]).pooler_output.flatten(1) for view in (0, 1)]
    torch.testing.assert_close(model(views)["loss"], model.heads(*pooled).mean())


def test_views_that_would_be_equal_are_refused(pairs_folder, tmp_path):
    with pytest.raises(ValueError, match="--augmentation-strength is 0.0; expected above 0"):
        arguments(pairs_folder, tmp_path, "--augmentation-strength", "0")
