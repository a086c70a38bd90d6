"""GLoRIA's configuration: the authors' numbers, and what is refused."""

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, ViTConfig

from synthcxr.models import GloriaConfig


def test_defaults_are_those_of_the_authors_code():
    config = GloriaConfig.base()
    assert (config.attention_temperature, config.score_temperature, config.loss_temperature) == (4.0, 5.0, 10.0)
    assert (config.global_temperature, config.local_weight, config.global_weight) == (10.0, 1.0, 1.0)
    assert (config.projection_dim, config.text_config.hidden_size) == (768, 768)
    assert (config.num_text_layers_summed, config.text_pooling) == (4, "mean")
    assert config.vision_config.hidden_sizes[config.local_stage] == 1024  # layer 3 of a ResNet-50
    assert config.text_config.num_hidden_layers == 12


def test_fields_override_a_preset():
    assert type(GloriaConfig.base("vit").vision_config) is ViTConfig
    assert GloriaConfig.base(local_weight=0.0).local_weight == 0.0
    tiny = GloriaConfig.tiny(vocab_size=99, local_stage=-1)
    assert (tiny.text_config.vocab_size, tiny.vision_config.num_channels, tiny.local_stage) == (99, 1, -1)


def test_saving_and_loading_keeps_every_field(tmp_path):
    config = GloriaConfig.tiny(vocab_size=99, loss_temperature=3.0)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is GloriaConfig
    assert loaded.to_diff_dict() == config.to_diff_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention_temperature": 0.0}, "attention_temperature=0.0 multiplies similarities; expected a number above"),
        ({"global_temperature": -1.0}, "global_temperature=-1.0"),
        ({"local_weight": -1.0}, "local_weight=-1.0 weighs a loss; expected 0 or more"),
        ({"global_weight": -1.0}, "global_weight=-1.0"),
        ({"num_text_layers_summed": 0}, "num_text_layers_summed=0; expected 1 or more"),
        ({"local_stage": 2}, "local_stage=2 counts from the end"),
        ({"text_pooling": "sum"}, "text_pooling"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        GloriaConfig(**fields)


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="vision='swin' is not a tower of `base`"):
        GloriaConfig.base("swin")
