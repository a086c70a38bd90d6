"""What is ConVIRT's own: projections, temperature, weights of the directions, frozen layers."""

import pytest
import torch
from tiny_models import make_batch, make_model

from synthcxr.models import ConvirtConfig, ConvirtModel, info_nce_loss
from synthcxr.models.layers_towers import image_states


def test_the_loss_is_weighted_info_nce_of_the_features(batch):
    model = make_model("convirt", temperature=0.3, image_to_text_weight=0.75).eval()
    images = model.get_image_features(batch["pixel_values"])
    texts = model.get_text_features(batch["input_ids"], batch["attention_mask"])
    expected = info_nce_loss(images, texts, temperature=0.3, image_to_text_weight=0.75, text_to_image_weight=0.25)
    torch.testing.assert_close(model(**batch, return_loss=True).loss, expected)


def test_logits_are_cosines_over_the_temperature(batch):
    output = make_model("convirt", temperature=0.2).eval()(**batch)
    torch.testing.assert_close(output.logits_per_image, output.image_embeds @ output.text_embeds.T / 0.2)


def test_the_two_variants_have_the_projections_of_their_sources():
    paper = make_model("convirt").text_projection
    assert [type(layer).__name__ for layer in paper] == ["Linear", "ReLU", "Linear"]
    assert [layer.out_features for layer in paper if isinstance(layer, torch.nn.Linear)] == [12, 12]
    mgca = make_model("convirt-mgca").text_projection
    assert [type(layer).__name__ for layer in mgca] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [layer.out_features for layer in mgca if isinstance(layer, torch.nn.Linear)] == [24, 12]
    assert mgca[1].affine
    assert not mgca[4].affine


@pytest.mark.parametrize("pooling", ["max", "mean", "cls"])
def test_pooling_changes_the_text_features(pooling, batch):
    features = {
        name: make_model("convirt", text_pooling=name).eval().get_text_features(batch["input_ids"])
        for name in ("max", "mean", "cls")
    }
    same = [name for name in features if torch.equal(features[name], features[pooling])]
    assert same == [pooling]


def test_frozen_layers_are_not_trained(batch, tmp_path):
    model = make_model("convirt", num_frozen_text_layers=1)
    model(**batch, return_loss=True).loss.backward()
    text = model.text_model
    for frozen in (text.embeddings, text.encoder.layer[0]):
        assert all(parameter.grad is None for parameter in frozen.parameters())
    assert all(parameter.grad is not None for parameter in text.encoder.layer[1].parameters())

    model.save_pretrained(tmp_path)
    loaded = ConvirtModel.from_pretrained(tmp_path)
    assert {name for name, value in loaded.named_parameters() if not value.requires_grad} == {
        name for name, value in model.named_parameters() if not value.requires_grad
    }


def test_more_frozen_layers_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="num_frozen_text_layers=3, but the text tower has 2 layers"):
        make_model("convirt", num_frozen_text_layers=3)


def test_the_embedded_default_trains_on_a_grey_image_of_128_pixels():
    model = ConvirtModel(ConvirtConfig.tiny(vocab_size=99)).train()
    assert sum(parameter.numel() for parameter in model.parameters()) < 3e6
    batch = make_batch(batch_size=2) | {"pixel_values": torch.randn(2, 1, 128, 128)}
    model(**batch, return_loss=True).loss.backward()


def test_the_published_sizes_are_built():
    """On the meta device: shapes without weights."""
    for config, grid in ((ConvirtConfig.base(), (7, 7)), (ConvirtConfig.base("vit", variant="mgca"), (14, 14))):
        with torch.device("meta"):
            model = ConvirtModel(config)
            pooled, patches = image_states(model.vision_model, torch.empty(2, 3, 224, 224))
            assert model.visual_projection(pooled).shape == (2, config.projection_dim)
        assert patches.shape[2:] == grid


def test_training_on_pairs_lowers_the_loss():
    """Each image has its own bright corner, each text its own word."""
    model = make_model("convirt").train()
    pixel_values = torch.zeros(4, 1, 32, 32)
    for row in range(4):
        pixel_values[row, :, 16 * (row // 2) :, 16 * (row % 2) :] = row + 1
    input_ids = torch.arange(10, 14).unsqueeze(1).expand(-1, 5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(120):
        loss = model(input_ids=input_ids, pixel_values=pixel_values, return_loss=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5, losses
