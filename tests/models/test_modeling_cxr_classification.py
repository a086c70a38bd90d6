"""The classifier on any image tower: what it tells, what it learns from, and who can load it."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from tiny_models import IMAGE_SIZE, make_vision_config
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    ResNetConfig,
    pipeline,
    set_seed,
)

from synthcxr import CxrClassificationConfig, CxrForImageClassification, CxrImageProcessor


LABELS = ["edema", "pleural_effusion", "left_pleural_effusion", "right_pleural_effusion"]
TOWERS = ("resnet", "vit", "dinov2", "convnext", "swin")


def make_classifier(kind="resnet", **fields):
    set_seed(0)
    config = CxrClassificationConfig.of_labels(LABELS, vision_config=make_vision_config(kind), **fields)
    return CxrForImageClassification(config).eval()


@pytest.fixture(params=TOWERS)
def classifier(request):
    return make_classifier(request.param)


@pytest.fixture
def pixel_values():
    return torch.randn(3, 1, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier as it is published: weights, code and image processor."""
    path = tmp_path_factory.mktemp("classifier")
    make_classifier().save_pretrained(path)
    CxrImageProcessor(size=IMAGE_SIZE).save_pretrained(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)).save(path / "image.png")
    return path


def test_logits_are_a_linear_function_of_the_pooled_features(classifier, pixel_values):
    with torch.no_grad():
        output = classifier(pixel_values=pixel_values)
        torch.testing.assert_close(output.logits, classifier.classifier(output.pooler_output))
        torch.testing.assert_close(output.pooler_output, classifier.get_image_features(pixel_values))
    assert output.logits.shape == (3, len(LABELS))
    assert output.loss is None


def test_an_image_does_not_depend_on_its_batch(classifier, pixel_values):
    with torch.no_grad():
        together = classifier(pixel_values=pixel_values).logits
        alone = torch.cat([classifier(pixel_values=image[None]).logits for image in pixel_values])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_patches_are_pooled_as_configured(pooling, pixel_values):
    model = make_classifier("resnet", pooling=pooling)
    with torch.no_grad():
        patches = model.vision_model(pixel_values).last_hidden_state.flatten(2)
        expected = patches.mean(-1) if pooling == "mean" else patches.max(-1).values
        torch.testing.assert_close(model.get_image_features(pixel_values), expected)


def test_the_loss_is_the_mean_over_what_is_known(pixel_values):
    model = make_classifier()
    labels = torch.tensor([[1.0, 0.0, -1.0, -1.0], [0.0, 1.0, 1.0, 0.0], [-1.0, -1.0, -1.0, -1.0]])
    output = model(pixel_values=pixel_values, labels=labels)
    losses = []
    for row, column in zip(*torch.where(labels >= 0), strict=True):
        chance = torch.sigmoid(output.logits[row, column])
        losses.append(-torch.log(chance if labels[row, column] == 1 else 1 - chance))
    torch.testing.assert_close(output.loss, torch.stack(losses).mean())


def test_what_is_unknown_has_no_gradient_and_no_nan(pixel_values):
    model = make_classifier()
    model(pixel_values=pixel_values, labels=torch.full((3, 4), -1.0)).loss.backward()
    assert all(value.grad.abs().max() == 0 for value in model.parameters())
    labels = torch.full((3, 4), -1.0)
    labels[:, 1] = 1
    model(pixel_values=pixel_values, labels=labels).loss.backward()
    moved = model.classifier.weight.grad.abs().amax(1) > 0
    assert moved.tolist() == [False, True, False, False]


def test_a_single_label_is_learnt_by_cross_entropy(pixel_values):
    model = make_classifier(problem_type="single_label_classification")
    output = model(pixel_values=pixel_values, labels=torch.tensor([2, -100, 0]))
    log_chances = torch.log_softmax(output.logits, dim=-1)
    torch.testing.assert_close(output.loss, -(log_chances[0, 2] + log_chances[2, 0]) / 2)


def test_labels_of_another_shape_are_refused(pixel_values):
    with pytest.raises(ValueError, match=re.escape("labels have shape (3, 2); expected (3, 4)")):
        make_classifier()(pixel_values=pixel_values, labels=torch.zeros(3, 2))
    with pytest.raises(ValueError, match=re.escape("labels have shape (3, 4); expected (3,)")):
        make_classifier(problem_type="single_label_classification")(
            pixel_values=pixel_values, labels=torch.zeros(3, 4)
        )


def test_the_loss_reaches_every_parameter(classifier, pixel_values):
    classifier.train()
    classifier(pixel_values=pixel_values, labels=torch.ones(3, 4)).loss.backward()
    untouched = [name for name, value in classifier.named_parameters() if value.requires_grad and value.grad is None]
    assert untouched == []


def test_saving_and_loading_keeps_everything(classifier, pixel_values, tmp_path):
    classifier.train()(pixel_values=pixel_values)  # moves the statistics of batch normalisation
    classifier.eval().save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(loaded) is CxrForImageClassification
    assert loaded.config.id2label == dict(enumerate(LABELS))
    before, after = classifier.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [value.requires_grad for value in classifier.parameters()] == [
        value.requires_grad for value in loaded.parameters()
    ]


def test_weights_that_are_missing_are_fresh_and_finite(tmp_path):
    model = make_classifier()
    state = {name: value for name, value in model.state_dict().items() if name.startswith("vision_model.")}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded, info = CxrForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert loaded.classifier.weight.abs().max() < 1
    assert loaded.classifier.bias.abs().max() == 0


def test_a_pretrained_encoder_gets_a_fresh_head(tmp_path, pixel_values):
    tower = AutoModel.from_config(make_vision_config("vit"))
    tower.save_pretrained(tmp_path)
    model = CxrForImageClassification.from_vision_pretrained(str(tmp_path), ["edema"], pooling="mean").eval()
    with torch.no_grad():
        expected = tower.eval()(pixel_values).last_hidden_state[:, 1:].mean(1)
        torch.testing.assert_close(model.get_image_features(pixel_values), expected)
    assert model(pixel_values=pixel_values).logits.shape == (3, 1)


def test_the_stock_pipeline_classifies_with_our_processor(folder):
    classify = pipeline("image-classification", model=str(folder))
    scores = classify(str(folder / "image.png"), top_k=None)
    processor = AutoImageProcessor.from_pretrained(folder)
    assert type(processor) is CxrImageProcessor
    inputs = processor(images=Image.open(folder / "image.png"), return_tensors="pt")
    with torch.no_grad():
        expected = make_classifier()(**inputs).logits.sigmoid()[0]
    assert {row["label"] for row in scores} == set(LABELS)
    for row in scores:
        assert row["score"] == pytest.approx(expected[LABELS.index(row["label"])].item(), abs=1e-5)


def test_it_loads_where_the_package_is_absent(folder):
    """What a Hub user does: no `pip install`, only `trust_remote_code=True`; and then saves it again."""
    code = """
import sys; sys.modules['synthcxr'] = None
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained('.', trust_remote_code=True)
assert type(model).__module__.startswith('transformers_modules.')
processor = AutoImageProcessor.from_pretrained('.', trust_remote_code=True)
torch.save(model(pixel_values=torch.ones(2, 1, 32, 32)).logits.detach(), 'logits.pt')
model.save_pretrained('again')
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = make_classifier()(pixel_values=torch.ones(2, 1, 32, 32)).logits
    torch.testing.assert_close(torch.load(folder / "logits.pt"), expected, rtol=1e-4, atol=1e-5)
    files = {path.name for path in folder.glob("*_cxr_classification.py")}
    assert files == {path.name for path in (folder / "again").glob("*_cxr_classification.py")} != set()


def test_lora_trains_the_tower_and_keeps_the_head(pixel_values):
    lora = LoraConfig(r=2, target_modules=r"vision_model\..*q_proj", modules_to_save=["classifier"])
    model = get_peft_model(make_classifier("vit"), lora)
    model(pixel_values=pixel_values, labels=torch.ones(3, 4)).loss.backward()
    trained = {name.rsplit(".", 2)[-2] for name, value in model.named_parameters() if value.grad is not None}
    assert trained == {"default"}


def test_bad_configurations_are_refused():
    with pytest.raises(ValueError, match="expected names that differ"):
        CxrClassificationConfig.of_labels(["edema", "edema"], vision_config=ResNetConfig())
    with pytest.raises(Exception, match="problem_type"):
        CxrClassificationConfig.of_labels(["edema"], problem_type="regression")


def test_training_learns_a_finding_from_bright_corners():
    model = make_classifier().train()
    images = torch.zeros(8, 1, IMAGE_SIZE, IMAGE_SIZE)
    images[:4, :, :8, :8] = 3.0
    labels = torch.full((8, 4), -1.0)
    labels[:, 0] = torch.tensor([1.0] * 4 + [0.0] * 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = model(pixel_values=images, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
