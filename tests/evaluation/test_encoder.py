"""A dual encoder of transformers' kind as an encoder, ours and somebody else's."""

import copy
import shutil

import numpy as np
import pytest
import torch
from evaluation.known_encoders import RandomEncoder, make_dataset, make_rows
from PIL import Image
from tiny_artefacts import REPORTS
from transformers import AutoModel, AutoProcessor, CLIPConfig, CLIPModel

from synthcxr.evaluation import DualEncoder, Encoder, embed_dataset, load_encoder
from synthcxr.evaluation.encoder import mean_grey_level


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 255, (48, 64), dtype=np.uint8)) for _ in range(7)]


@pytest.fixture(scope="module")
def model(checkpoint):
    return AutoModel.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def processor(checkpoint):
    return AutoProcessor.from_pretrained(checkpoint)


def test_a_folder_becomes_an_encoder_of_unit_vectors(checkpoint, pictures):
    encoder = load_encoder(checkpoint)
    assert isinstance(encoder, Encoder)
    for embeds, count in ((encoder.embed_images(pictures), 7), (encoder.embed_texts(REPORTS), 3)):
        assert embeds.shape == (count, 32)
        assert embeds.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)


def test_embeddings_are_those_of_the_model(model, processor, pictures):
    inputs = processor(images=pictures, text=[REPORTS[0]] * 7, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**inputs)
    encoder = load_encoder(model, processor)
    np.testing.assert_allclose(encoder.embed_images(pictures), output.image_embeds, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_texts(REPORTS[:1]), output.text_embeds[:1], atol=1e-5)


def test_batches_do_not_change_embeddings(model, processor, pictures):
    whole, single = (DualEncoder(model, processor, batch_size=size) for size in (64, 1))
    np.testing.assert_allclose(whole.embed_images(pictures), single.embed_images(pictures), atol=1e-5)
    texts = [*REPORTS, "edema", REPORTS[0]]
    np.testing.assert_allclose(whole.embed_texts(texts), single.embed_texts(texts), atol=1e-5)


def test_each_distinct_text_goes_through_the_model_once(model, processor, monkeypatch):
    encoder = DualEncoder(model, processor, batch_size=2)
    seen = []
    original = encoder._text_batch
    monkeypatch.setattr(encoder, "_text_batch", lambda texts: seen.extend(texts) or original(texts))
    embeds = encoder.embed_texts(["edema", "hernia", "edema", "a long pleural effusion", "edema"])
    assert sorted(seen) == ["a long pleural effusion", "edema", "hernia"]
    assert (embeds[0] == embeds[2]).all()
    assert not (embeds[0] == embeds[1]).all()


def test_a_model_in_training_is_measured_without_dropout_and_goes_back_to_training(model, processor, pictures):
    encoder = load_encoder(model, processor)
    model.train()
    first, second = encoder.embed_texts(REPORTS), encoder.embed_texts(REPORTS)
    assert (first == second).all()
    assert model.training
    model.eval()
    encoder.embed_images(pictures)
    assert not model.training


def test_a_bfloat16_model_gives_float32(checkpoint, pictures):
    model = AutoModel.from_pretrained(checkpoint, dtype=torch.bfloat16)
    embeds = load_encoder(model, AutoProcessor.from_pretrained(checkpoint)).embed_images(pictures)
    assert embeds.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)


def test_a_clip_of_transformers_works_too(processor, pictures):
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = tower | {"vocab_size": len(processor.tokenizer), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    vision = tower | {"image_size": 64, "patch_size": 32, "num_channels": 1}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    encoder = load_encoder(clip, processor)
    assert encoder.embed_images(pictures).shape == (7, 8)
    assert encoder.embed_texts(REPORTS).shape == (3, 8)


def test_an_encoder_is_returned_as_it_is():
    encoder = RandomEncoder()
    assert load_encoder(encoder) is encoder


def test_what_is_no_dual_encoder_is_refused(model, processor, tmp_path):
    with pytest.raises(ValueError, match="ConvirtModel came without a processor"):
        load_encoder(model)
    with pytest.raises(ValueError, match="has no get_image_features; expected a dual encoder"):
        load_encoder(model.text_model, processor)
    with pytest.raises(ValueError, match="The model is a int"):
        load_encoder(3)
    with pytest.raises(ValueError, match="nowhere is no model with its processor"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="batch_size is 0"):
        load_encoder(model, processor, batch_size=0)


def test_a_dataset_is_embedded_in_its_order_with_grey_levels():
    dataset = make_dataset(make_rows(20))
    encoder = RandomEncoder()
    embeddings = embed_dataset(encoder, dataset, texts=["edema"], batch_size=7)
    np.testing.assert_allclose(embeddings.image_embeds, encoder.embed_images(dataset["image"][:]), atol=1e-6)
    expected = [np.asarray(image).mean() / 255 for image in dataset["image"]]
    np.testing.assert_allclose(embeddings.grey_levels, expected)
    assert list(embeddings.text_embeds) == ["edema"]


def test_what_cannot_be_embedded_is_named():
    dataset = make_dataset(make_rows(3))
    with pytest.raises(ValueError, match="no rows"):
        embed_dataset(RandomEncoder(), dataset.select([]))
    with pytest.raises(ValueError, match="expected an image column"):
        embed_dataset(RandomEncoder(), dataset.remove_columns("image"))


def test_grey_levels_know_the_bit_depth():
    values = np.full((4, 4), 100, dtype=np.uint8)
    assert mean_grey_level(Image.fromarray(values)) == pytest.approx(100 / 255)
    assert mean_grey_level(Image.fromarray(values).convert("RGB")) == pytest.approx(100 / 255)
    assert mean_grey_level(Image.fromarray(values.astype(np.uint16) * 257)) == pytest.approx(100 / 255)


def test_weights_that_are_cut_short_are_named(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut is no model with its processor: .*incomplete metadata"):
        load_encoder(folder)


def test_scores_of_pairs_are_the_logits_of_the_model(gloria, pictures):
    """Also when images and texts come in batches of 3, one text twice, and out of order."""
    texts = [*REPORTS, "edema", REPORTS[0]]
    inputs = gloria.processor(images=pictures, text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = gloria.model.eval()(**inputs).logits_per_image
    states = gloria.encode_images(pictures)
    scores = gloria.score(states, gloria.encode_texts(texts))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, logits, atol=2e-2)  # half precision in between
    assert np.corrcoef(scores.ravel(), logits.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(scores[:, 0], scores[:, 4], atol=1e-6)
    per_image = sum(value.element_size() * value[0].numel() for value in states.values())
    assert 16 * 2**10 <= per_image < 17 * 2**10


def test_a_dataset_is_embedded_once_for_scores_of_pairs_too(gloria):
    dataset = make_dataset(make_rows(8))
    embeddings = embed_dataset(gloria, dataset, batch_size=5)
    assert embeddings.score_name == "gloria local+global"
    np.testing.assert_allclose(embeddings.image_embeds, gloria.embed_images(dataset["image"][:]), atol=1e-3)
    texts = gloria.encode_texts(["edema", "no edema"])
    expected = gloria.score(gloria.encode_images(dataset["image"][:]), texts)
    np.testing.assert_allclose(embeddings.similarity(["edema", "no edema"]), expected, atol=1e-5)


def test_cosines_are_the_similarity_of_other_models():
    embeddings = embed_dataset(RandomEncoder(), make_dataset(make_rows(4)))
    assert embeddings.score_name == "cosine"
    texts = ["edema", "no edema"]
    np.testing.assert_array_equal(embeddings.similarity(texts), embeddings.image_embeds @ embeddings.texts(texts).T)


def test_texts_are_encoded_once_for_all_tasks(gloria, monkeypatch):
    embeddings = embed_dataset(gloria, make_dataset(make_rows(4)))
    seen = []
    original = gloria.model.get_text_states
    monkeypatch.setattr(
        gloria.model, "get_text_states", lambda **texts: seen.extend(texts["input_ids"]) or original(**texts)
    )
    first = embeddings.similarity(["edema", "a long pleural effusion", "no edema", "hernia"])
    assert len(seen) == 4
    np.testing.assert_allclose(
        embeddings.similarity(["hernia", "mass", "edema"])[:, [0, 2]], first[:, [3, 0]], atol=1e-5
    )
    assert len(seen) == 5
    twice = embeddings.similarity(["edema", "hernia", "edema"])
    assert (twice[:, 0] == twice[:, 2]).all()


def test_states_beyond_half_precision_are_kept_whole(gloria, pictures):
    """Those of one batch or of all, and the rest still in half."""
    model, texts = copy.deepcopy(gloria.model), ["edema", "no edema", "hernia", "mass"]
    encoder = load_encoder(model, gloria.processor, batch_size=3)
    with torch.no_grad():
        model.local_projection.weight.mul_(1e6)
        expected = model.eval()(**gloria.processor(images=pictures, text=texts, padding=True, return_tensors="pt"))
    states = encoder.encode_images(pictures)
    assert states["region_embeds"].abs().max() > 65504
    assert (states["region_embeds"].dtype, states["image_embeds"].dtype) == (torch.float32, torch.float16)
    scores = encoder.score(states, encoder.encode_texts(texts))
    np.testing.assert_allclose(scores, expected.logits_per_image, atol=2e-2)


@pytest.mark.parametrize("large", [0, 1, 2])
def test_a_text_beyond_half_precision_does_not_spoil_its_block(gloria, pictures, large):
    """Whichever of the three it is."""
    images, texts = gloria.encode_images(pictures), gloria.encode_texts(REPORTS)
    expected = gloria.score(images, texts)
    texts[large] = {name: value.float() for name, value in texts[large].items()}
    texts[large]["text_embeds"][0] += 1e5
    scores = gloria.score(images, texts)
    others = [index for index in range(3) if index != large]
    np.testing.assert_array_equal(scores[:, others], expected[:, others])
    assert np.isfinite(scores).all()
