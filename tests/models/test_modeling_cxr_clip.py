"""What is the plain dual encoder's own: the learnt scale and the choice of the loss."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny_models import make_model

from synthcxr.models import CxrClipConfig, CxrClipModel, info_nce_loss, sigmoid_loss


def test_the_scale_starts_where_clip_and_siglip_start():
    clip, siglip = make_model("cxr_clip"), make_model("cxr_clip-sigmoid")
    assert 1 / clip.logit_scale.temperature().item() == pytest.approx(1 / 0.07)
    assert 1 / siglip.logit_scale.temperature().item() == pytest.approx(10)
    assert clip.logit_scale.bias is None
    assert siglip.logit_scale.bias.item() == -10


def test_the_loss_is_the_configured_one(batch):
    for family, loss, given in (("cxr_clip", info_nce_loss, {}), ("cxr_clip-sigmoid", sigmoid_loss, {"bias": -10.0})):
        model = make_model(family).eval()
        output = model(**batch, return_loss=True)
        temperature = model.logit_scale.temperature()
        expected = loss(output.image_embeds, output.text_embeds, temperature=temperature, **given)
        torch.testing.assert_close(output.loss, expected)


def test_logits_of_the_sigmoid_carry_the_bias(batch):
    output = make_model("cxr_clip-sigmoid").eval()(**batch)
    torch.testing.assert_close(output.logits_per_image, 10 * output.image_embeds @ output.text_embeds.T - 10)


def test_the_scale_learns_and_stays_below_its_bound(batch):
    model = make_model("cxr_clip").train()
    model(**batch, return_loss=True).loss.backward()
    assert model.logit_scale.log_scale.grad.abs() > 0
    with torch.no_grad():
        model.logit_scale.log_scale.fill_(20.0)
    assert 1 / model.logit_scale.temperature().item() == pytest.approx(100)


def test_presets_and_initial_values_are_configurable():
    assert CxrClipConfig.base("vit").vision_config.model_type == "vit"
    assert CxrClipConfig.tiny(vocab_size=9, loss_type="sigmoid").logit_scale_init_value == pytest.approx(math.log(10))
    assert make_model("cxr_clip", logit_scale_init_value=1.5).logit_scale.log_scale.item() == 1.5
    model = CxrClipModel(CxrClipConfig.tiny(vocab_size=9))
    assert [name for name, _ in model.named_parameters() if "projection" in name] == [
        "visual_projection.weight",
        "text_projection.weight",
    ]


def test_unknown_losses_are_refused():
    with pytest.raises(StrictDataclassError, match="loss_type"):
        CxrClipConfig(loss_type="triplet")
