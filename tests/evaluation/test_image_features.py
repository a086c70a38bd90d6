"""Features are those of the model itself, whatever kind it is."""

import numpy as np
import pytest
import torch
from evaluation.generated_pairs import make_classifier, make_extractor, make_pairs
from transformers import (
    AutoModel,
    AutoProcessor,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
    set_seed,
)

from synthcxr.evaluation.image_features import FeatureExtractor, ImageFeatures, load_feature_extractor


@pytest.fixture(scope="module")
def rows():
    return make_pairs(*({} for _ in range(5)), image_size=(40, 30))


def test_a_classifier_gives_features_and_scores_of_any_batch_size(rows):
    model, processor = make_classifier()
    with torch.no_grad():
        output = model(**processor(images=list(rows["image"]), return_tensors="pt"))
    for batch_size in (2, 64):
        found = FeatureExtractor(model, processor, batch_size=batch_size).extract(rows)
        np.testing.assert_allclose(found.features, output.pooler_output, atol=1e-5)
        assert list(found.scores) == list(model.config.id2label.values())
        np.testing.assert_allclose(np.stack(list(found.scores.values()), axis=1), output.logits, atol=1e-4)
    assert found.encoder == "CxrForImageClassification"


def test_a_model_goes_back_to_training_as_it_was(rows):
    model, processor = make_classifier()
    extractor = FeatureExtractor(model.train(), processor)
    assert np.array_equal(extractor.extract(rows).features, extractor.extract(rows).features)
    assert model.training


def test_a_dual_encoder_gives_its_image_features(rows, checkpoint):
    found = load_feature_extractor(checkpoint).extract(rows)
    model, processor = AutoModel.from_pretrained(checkpoint), AutoProcessor.from_pretrained(checkpoint)
    with torch.no_grad():
        pixel_values = processor(images=list(rows["image"]), return_tensors="pt")["pixel_values"]
        expected = model.get_image_features(pixel_values=pixel_values)
    np.testing.assert_allclose(found.features, expected, atol=1e-5)
    assert found.scores == {}
    assert found.encoder == checkpoint.name


def test_any_encoder_of_transformers_works_with_its_own_processor(rows, tmp_path):
    """Three channels, another processor, a learnt pooler that nobody has trained: the CLS token is taken."""
    set_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = ViTModel(ViTConfig(image_size=32, patch_size=16, **sizes)).eval()
    model.save_pretrained(tmp_path)
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    images = [image.convert("RGB") for image in rows["image"]]
    with torch.no_grad():
        expected = model(**processor(images=images, return_tensors="pt")).last_hidden_state[:, 0]
    np.testing.assert_allclose(load_feature_extractor(tmp_path).extract(rows).features, expected, atol=1e-5)


def test_what_cannot_be_loaded_is_said_in_one_line(tmp_path):
    config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8], depths=[1])
    ResNetModel(config).save_pretrained(tmp_path / "bare")
    for name in (tmp_path / "nothing", tmp_path / "bare"):
        with pytest.raises(ValueError, match=f"{name.name} is no image encoder") as caught:
            load_feature_extractor(name)
        assert "\n" not in str(caught.value)


def test_bad_features_are_refused(rows):
    with pytest.raises(ValueError, match="at least one row"):
        ImageFeatures(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="not finite"):
        ImageFeatures(np.full((2, 3), np.inf))
    with pytest.raises(ValueError, match="at least one image"):
        make_extractor().extract(rows.select([]))
    some = ImageFeatures(np.arange(6.0).reshape(3, 2), {"edema": np.arange(3)}).of_rows([2, 0])
    assert some.features.tolist() == [[4, 5], [0, 1]]
    assert some.scores["edema"].tolist() == [2, 0]
