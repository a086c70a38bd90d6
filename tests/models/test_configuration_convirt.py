"""ConVIRT's configurations: the paper's and the MGCA repository's."""

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, BertConfig, ViTConfig

from synthcxr.models import ConvirtConfig


def test_defaults_are_the_papers():
    config = ConvirtConfig.base()
    assert (config.temperature, config.image_to_text_weight, config.text_to_image_weight) == (0.1, 0.75, None)
    assert (config.projection_dim, config.projection_hidden_dim, config.projection_norm) == (512, None, False)
    assert (config.text_pooling, config.num_frozen_text_layers) == ("max", 6)
    assert config.vision_config.hidden_sizes == [256, 512, 1024, 2048]
    assert config.text_config.num_hidden_layers == 12


def test_the_variant_of_the_mgca_repository_differs_in_every_field():
    config = ConvirtConfig.base("vit", variant="mgca")
    assert (config.temperature, config.image_to_text_weight, config.text_to_image_weight) == (0.07, 1.0, 1.0)
    assert (config.projection_dim, config.projection_hidden_dim, config.projection_norm) == (128, 2048, True)
    assert (config.text_pooling, config.num_frozen_text_layers) == ("cls", 0)
    assert type(config.vision_config) is ViTConfig
    assert config.text_config.num_hidden_layers == 6


def test_fields_override_a_preset():
    assert ConvirtConfig.base(temperature=0.2).temperature == 0.2
    tiny = ConvirtConfig.tiny(vocab_size=99, text_config=BertConfig(vocab_size=7))
    assert tiny.text_config.vocab_size == 7
    assert ConvirtConfig.tiny(vocab_size=99).text_config.vocab_size == 99
    assert ConvirtConfig.base(vocab_size=99).text_config.vocab_size == 99
    assert ConvirtConfig.tiny(vocab_size=99).vision_config.num_channels == 1


def test_saving_and_loading_keeps_every_field(tmp_path):
    config = ConvirtConfig.base(variant="mgca")
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is ConvirtConfig
    assert loaded.to_diff_dict() == config.to_diff_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "temperature=0.0 divides the cosines; expected a number above 0"),
        ({"text_pooling": "sum"}, "text_pooling"),
        ({"projection_dim": "wide"}, "projection_dim"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        ConvirtConfig(**fields)


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="vision='swin' is not a tower of `base`"):
        ConvirtConfig.base("swin")
    with pytest.raises(ValueError, match="variant='clip' is unknown"):
        ConvirtConfig.base(variant="clip")
