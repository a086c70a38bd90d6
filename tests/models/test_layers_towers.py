"""Building, pooling and seeing the patches of any tower."""

import pytest
import torch
from tiny_models import IMAGE_SIZE, VOCAB_SIZE, make_text_config, make_vision_config
from transformers import DistilBertConfig, ModernBertConfig

from synthcxr.models.layers_towers import (
    build_tower,
    freeze_mask_tokens,
    freeze_text_layers,
    hidden_width,
    image_states,
    pool_text,
)


STATES = torch.tensor([[[1.0, -8.0], [3.0, -2.0], [9.0, 9.0]], [[4.0, 0.0], [2.0, 5.0], [0.0, 1.0]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("max", [[3.0, -2.0], [4.0, 5.0]]), ("mean", [[2.0, -5.0], [2.0, 2.0]]), ("cls", [[1.0, -8.0], [4.0, 0.0]])],
)
def test_pooling_leaves_padding_out(pooling, expected):
    assert pool_text(STATES, MASK, pooling=pooling).tolist() == expected
    assert pool_text(STATES.bfloat16(), MASK, pooling=pooling).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["resnet", "vit", "dinov2", "convnext", "swin"])
def test_patches_lie_where_they_are_in_the_image(kind):
    """The patch that changes most is the one that was changed; the image is wider than high."""
    torch.manual_seed(0)
    config = make_vision_config(kind)
    tower = build_tower(config).eval()
    width = IMAGE_SIZE if kind in ("vit", "swin") else 2 * IMAGE_SIZE
    images = torch.randn(1, 1, IMAGE_SIZE, width)
    changed = images.clone()
    cell = IMAGE_SIZE // 4
    changed[..., cell : 2 * cell, width - cell :] += 4
    with torch.no_grad():
        (pooled, before), (_, after) = (image_states(tower, pixel_values) for pixel_values in (images, changed))
    assert pooled.shape == (1, hidden_width(config))
    assert before.shape == (1, hidden_width(config), 4, width // cell)
    change = (after - before).norm(dim=1)[0]
    assert divmod(change.argmax().item(), width // cell) == (1, width // cell - 1)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_fast_layout_does_not_change_the_states(num_channels):
    tower = build_tower(make_vision_config("resnet", num_channels)).eval()
    images = torch.randn(2, num_channels, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        pooled, patches = image_states(tower, images)
        outputs = tower(images)
    assert patches.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(patches, outputs.last_hidden_state, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pooled, outputs.pooler_output.flatten(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        make_text_config(),
        DistilBertConfig(vocab_size=VOCAB_SIZE, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
        ModernBertConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
        ),
    ],
    ids=["bert", "distilbert", "modernbert"],
)
def test_layers_of_any_bert_are_frozen(config):
    tower = build_tower(config)
    freeze_text_layers(tower, 1)
    trained = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    frozen = {name for name, parameter in tower.named_parameters() if not parameter.requires_grad}
    assert any("layer" in name and ".1." in name for name in trained)
    assert not any(".0." in name or "embeddings" in name for name in trained)
    assert any("word_embeddings" in name or "tok_embeddings" in name for name in frozen)


def test_unused_weights_are_left_out():
    assert build_tower(make_text_config()).pooler is None
    assert build_tower(make_vision_config("vit")).pooler is None


def test_mask_tokens_are_frozen():
    tower = build_tower(make_vision_config("dinov2"))
    freeze_mask_tokens(tower)
    frozen = [name for name, parameter in tower.named_parameters() if not parameter.requires_grad]
    assert frozen == ["embeddings.mask_token"]
