"""MGCA's configurations: as trained, and as the signature of the authors' class has it."""

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, BertConfig, ViTConfig

from synthcxr.models import MgcaConfig


def test_the_published_sizes_come_with_the_losses_that_the_authors_train_with():
    config = MgcaConfig.base()
    assert (config.projection_dim, config.projection_hidden_dim, config.projection_norm) == (128, 2048, True)
    assert (config.temperature, config.local_temperature, config.prototype_temperature) == (0.07, 0.1, 0.2)
    assert (config.num_prototypes, config.sinkhorn_epsilon, config.num_sinkhorn_iterations) == (500, 0.05, 3)
    assert (config.global_weight, config.local_weight, config.prototype_weight) == (1, 1, 1)
    assert (config.low_quantile, config.high_quantile, config.num_frozen_prototype_epochs) == (0.1, 0.9, 1)
    assert (config.text_pooling, config.padding_as_negatives, config.local_stage) == ("cls", False, -2)
    assert type(config.vision_config) is ViTConfig
    assert config.text_config.num_hidden_layers == 6
    assert MgcaConfig.base("resnet").vision_config.hidden_sizes == [256, 512, 1024, 2048]


def test_the_signature_of_the_authors_class_weighs_otherwise():
    config = MgcaConfig.base(variant="signature")
    assert (config.global_weight, config.local_weight, config.prototype_weight) == (1, 0.7, 0.5)
    same = MgcaConfig.base(local_weight=0.7, prototype_weight=0.5)
    assert config.to_dict() == same.to_dict()


def test_fields_override_a_preset():
    assert MgcaConfig.base(variant="signature", local_weight=0.2).local_weight == 0.2
    assert MgcaConfig.tiny(vocab_size=99, text_config=BertConfig(vocab_size=7)).text_config.vocab_size == 7
    assert MgcaConfig.tiny(vocab_size=99).text_config.vocab_size == 99
    assert MgcaConfig.base(vocab_size=99).text_config.vocab_size == 99


def test_saving_and_loading_keeps_every_field(tmp_path):
    config = MgcaConfig.base("resnet", variant="signature", padding_as_negatives=True)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is MgcaConfig
    assert loaded.to_diff_dict() == config.to_diff_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "temperature=0.0 divides the cosines; expected a number above 0"),
        ({"sinkhorn_epsilon": -1.0}, "sinkhorn_epsilon=-1.0 divides"),
        ({"global_weight": -1.0}, "global_weight=-1.0 weighs a loss; expected 0 or more"),
        ({"local_weight": -1.0}, "local_weight=-1.0"),
        ({"prototype_weight": -0.5}, "prototype_weight=-0.5"),
        ({"num_prototypes": 0}, "num_prototypes=0; expected 1 or more"),
        ({"num_sinkhorn_iterations": 0}, "num_sinkhorn_iterations=0; expected 1 or more"),
        ({"num_frozen_prototype_epochs": -1}, "num_frozen_prototype_epochs=-1; expected 0 or more"),
        ({"low_quantile": 0.9, "high_quantile": 0.1}, "low_quantile=0.9 and high_quantile=0.1 must rise"),
        ({"local_stage": 2}, "local_stage=2 counts from the end"),
        ({"padding_as_negatives": "kept"}, "padding_as_negatives"),
        ({"num_prototypes": "many"}, "num_prototypes"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        MgcaConfig(**fields)


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="vision='swin' is not a tower of `base`"):
        MgcaConfig.base("swin")
    with pytest.raises(ValueError, match="variant='paper' is unknown"):
        MgcaConfig.base(variant="paper")
