"""The classifier's training: what it learns from, what it leaves behind, and that a stopped run goes on."""

import json
import shutil

import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification, ResNetModel

from synthcxr.data.image_views import ImageViews
from synthcxr.data.pairs import load_pairs
from synthcxr.data.schema import PAIR_FEATURES
from synthcxr.evaluation import read_results
from synthcxr.evaluation.finding_targets import read_targets
from synthcxr.evaluation.image_features import FeatureExtractor
from synthcxr.models import CxrForImageClassification, CxrImageProcessor
from synthcxr.training.adaptation import RECORD_NAME
from synthcxr.training.arguments import PretrainingArguments, parse_arguments
from synthcxr.training.finding_classifier import (
    FindingClassifierArguments,
    FindingCollator,
    TargetRows,
    build_classifier,
    known_rows,
    set_prior,
    train_finding_classifier,
)


FLAGS = ("--per-device-train-batch-size", "8", "--use-cpu", "--disable-tqdm", "true", "--min-positives", "8")
FLAGS += ("--image-size", "32", "--muon-learning-rate", "0.06")
FRESH = ("--hidden-sizes", "8", "16")


def arguments(folder, output_dir, *flags, encoder=FRESH):
    given = ["--dataset", str(folder), "--output-dir", str(output_dir), *FLAGS, *encoder, *flags]
    return parse_arguments([FindingClassifierArguments, PretrainingArguments], given, program="test")


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("runs") / "classifier"
    flags = ("--max-steps", "14", "--save-steps", "9", "--save-total-limit", "3", "--eval-strategy", "epoch")
    return output_dir, flags, train_finding_classifier(*arguments(pairs_folder, output_dir, *flags))


def test_a_run_leaves_a_classifier_that_anybody_loads(finished):
    output_dir, _, record = finished
    model = AutoModelForImageClassification.from_pretrained(output_dir)
    assert type(model) is CxrForImageClassification
    labels = list(model.config.id2label.values())
    assert {"lung_opacity", "support_devices"} <= set(labels)
    assert AutoImageProcessor.from_pretrained(output_dir).size["height"] == 32
    assert 0 <= record["metrics"]["eval_macro_auroc"] <= 1
    assert record["finished"]
    assert json.loads((output_dir / RECORD_NAME).read_text()) == record
    results = read_results(output_dir / "results.json")
    assert {result.task for result in results} == {"finding_classification"}
    assert {result.metric.partition("/")[0] for result in results} >= {"auroc"}
    assert all("uncertain=excluded" in result.protocol for result in results)


def test_a_stopped_run_goes_on_to_the_same_weights(finished, pairs_folder, tmp_path):
    whole, flags, record = finished
    output_dir = tmp_path / "classifier"
    shutil.copytree(whole, output_dir)
    shutil.rmtree(output_dir / "checkpoint-14")
    (output_dir / RECORD_NAME).write_text(json.dumps({"request": record["request"], "finished": False}))
    (output_dir / "model.safetensors").unlink()
    again = train_finding_classifier(*arguments(pairs_folder, output_dir, *flags))
    assert again["resumed_from"] == "checkpoint-9"
    before, after = load_file(whole / "model.safetensors"), load_file(output_dir / "model.safetensors")
    assert all(before[name].equal(after[name]) for name in before)
    assert train_finding_classifier(*arguments(pairs_folder, output_dir, *flags)) == again, "a finished run is reused"


def test_bad_records_and_hedged_findings_have_no_part(pairs_folder):
    rows = load_pairs(pairs_folder).select(range(6)).to_list()
    rows[2]["prompt"] = rows[2]["prompt"].replace('"defect":null', '"defect":"blurred"')
    kept, targets = known_rows(Dataset.from_list(rows, features=Features(PAIR_FEATURES)))
    assert kept["id"][:] == [row["id"] for index, row in enumerate(rows) if index != 2]
    everything = read_targets(load_pairs(pairs_folder).select(range(6)))
    assert all(np.array_equal(targets[label], np.delete(values, 2)) for label, values in everything.items())
    rows = [rows[2]]
    with pytest.raises(ValueError, match="No row has a label that is sure"):
        known_rows(Dataset.from_list(rows, features=Features(PAIR_FEATURES)))


def test_a_batch_pairs_every_image_with_its_own_targets(pairs_folder):
    pairs, targets = known_rows(load_pairs(pairs_folder))
    matrix = np.stack(list(targets.values()), axis=1)
    rows = TargetRows(pairs, matrix)
    processor = CxrImageProcessor(size=64)
    drawn = rows.__getitems__([3, 7 + len(rows), 0])
    assert [row["draw"] for row in drawn] == [0, 1, 0]
    batch = FindingCollator(ImageViews(processor))(drawn)
    np.testing.assert_array_equal(batch["labels"].numpy(), matrix[[3, 7, 0]])
    expected = processor(images=[pairs[index]["image"] for index in (3, 7, 0)], return_tensors="pt")
    torch.testing.assert_close(batch["pixel_values"], expected["pixel_values"])
    with pytest.raises(ValueError, match="2 rows of targets"):
        TargetRows(pairs, matrix[:2])


def test_logits_start_at_the_log_odds_of_their_labels(pairs_folder, tmp_path):
    script_args, _ = arguments(pairs_folder, tmp_path)
    model, _ = build_classifier(script_args, ["edema", "left_nodule"], seed=0)
    set_prior(model, {"edema": np.array([1] * 9 + [0] * 29), "left_nodule": np.array([-1, 1, 0, -1])})
    assert model.classifier.bias.tolist() == pytest.approx([np.log(10 / 30), 0.0])


def test_training_learns_what_is_large(pairs_folder, tmp_path):
    """From 73 images to the same: enough to say that images, labels and loss belong together."""
    flags = ("--max-steps", "60", "--augmentation-strength", "0", "--learning-rate", "3e-3", "--warmup-steps", "5")
    train_finding_classifier(*arguments(pairs_folder, tmp_path, *flags))
    model = AutoModelForImageClassification.from_pretrained(tmp_path)
    pairs = load_pairs(pairs_folder)
    scores = FeatureExtractor(model, AutoImageProcessor.from_pretrained(tmp_path)).extract(pairs).scores
    targets = read_targets(pairs)
    gaps = [
        values[targets[label] == 1].mean() - values[targets[label] == 0].mean() for label, values in scores.items()
    ]
    assert np.median(gaps) > 1


def test_a_pretrained_encoder_is_fine_tuned(pairs_folder, tmp_path):
    script_args, _ = arguments(pairs_folder, tmp_path)
    tower = build_classifier(script_args, ["edema"], seed=3)[0].vision_model
    tower.save_pretrained(tmp_path / "tower")
    encoder = ("--model-name-or-path", str(tmp_path / "tower"))
    script_args, _ = arguments(pairs_folder, tmp_path, encoder=encoder)
    model, processor = build_classifier(script_args, ["edema"], seed=0)
    assert isinstance(model.vision_model, ResNetModel)
    expected = tower.state_dict()
    assert all(value.equal(expected[name]) for name, value in model.vision_model.state_dict().items())
    assert processor.num_channels == 1


def test_settings_that_cannot_be_are_refused(pairs_folder, tmp_path):
    for flags, message in (
        (("--augmentation-strength", "3"), "--augmentation-strength is 3.0"),
        (("--min-positives", "0"), "--min-positives is 0"),
        (("--model-name-or-path", "x"), "--hidden-sizes is for a fresh encoder"),
    ):
        with pytest.raises(ValueError, match=message):
            arguments(pairs_folder, tmp_path, *flags)
    with pytest.raises(ValueError, match="No finding is in 500 studies or more; lower --min-positives"):
        train_finding_classifier(*arguments(pairs_folder, tmp_path / "run", "--min-positives", "500"))
    assert not (tmp_path / "run").exists()
