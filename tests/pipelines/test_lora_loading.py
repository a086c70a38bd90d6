import pytest
import torch
from peft import LoraConfig
from tiny_generators import tiny_flow_pipeline, tiny_stable_diffusion

from synthcxr.pipelines import CxrSynthesisPipeline


@pytest.fixture(scope="module")
def adapter():
    """Weights and settings of an adapter of the query projections of BERT's first layer."""
    layer = "text_encoder.encoder.layer.0.attention.self.query"
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"{layer}.lora_A.weight": torch.randn(2, 16, generator=generator),
        f"{layer}.lora_B.weight": torch.randn(16, 2, generator=generator),
    }
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["encoder.layer.0.attention.self.query"])
    settings = {f"text_encoder.{name}": value for name, value in config.to_dict().items()}
    return weights, settings


def load(pipeline, weights, settings, **kwargs):
    pipeline.load_lora_into_text_encoder(weights, None, pipeline.text_encoder, metadata=settings, **kwargs)


def query_of(pipeline):
    return pipeline.text_encoder.encoder.layer[0].attention.self.query


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_an_adapter_adds_its_product_to_a_projection_of_bert(adapter, scale):
    pipeline, plain = tiny_flow_pipeline(), tiny_flow_pipeline()
    load(pipeline, *adapter, lora_scale=scale)
    states = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    down, up = adapter[0].values()
    expected = query_of(plain)(states) + scale * 3 * states @ down.T @ up.T  # alpha / rank is 3
    torch.testing.assert_close(query_of(pipeline)(states), expected, atol=1e-5, rtol=1e-5)


def test_adapters_are_numbered_or_named_and_can_be_chosen(adapter):
    pipeline = tiny_flow_pipeline()
    load(pipeline, *adapter)
    load(pipeline, *adapter)
    load(pipeline, *adapter, adapter_name="mine")
    assert pipeline.get_list_adapters() == {"text_encoder": ["default_0", "default_1", "mine"]}
    pipeline.set_adapters(["mine"])
    assert pipeline.text_encoder.active_adapters() == ["mine"]


def test_an_adapter_of_the_unet_alone_leaves_the_text_encoder(adapter):
    pipeline = tiny_flow_pipeline()
    load(pipeline, {"unet.somewhere.lora_A.weight": torch.zeros(1)}, {"unet.r": 1})
    assert pipeline.get_list_adapters() == {}


def test_an_adapter_that_does_not_say_how_it_was_made_is_refused(adapter):
    with pytest.raises(ValueError, match="does not say how it was made, so that it fits no 'bert' text encoder"):
        load(tiny_flow_pipeline(), adapter[0], None)


def test_clip_is_loaded_as_by_stable_diffusion():
    weights = {
        "text_encoder.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 16),
        "text_encoder.encoder.layers.0.self_attn.q_proj.lora_B.weight": torch.ones(16, 2),
    }
    pipeline = CxrSynthesisPipeline(**tiny_stable_diffusion(1).components)
    load(pipeline, weights, None)
    assert query_of_clip(pipeline).lora_B["default_0"].weight.eq(1).all()


def query_of_clip(pipeline):
    return pipeline.text_encoder.encoder.layers[0].self_attn.q_proj
