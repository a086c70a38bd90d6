"""The class token's attention, computed beside the last layer, is the one that slow attention shows."""

import copy
import pickle

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from tiny_models import IMAGE_SIZE, VOCAB_SIZE, make_batch, make_text_config, make_vision_config
from transformers import AutoModel, DistilBertConfig, ElectraConfig, RobertaConfig, set_seed

from synthcxr.models.layers_cls_attention import ClsAttention, has_plain_attention, watch


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT_CONFIGS = {
    "bert": make_text_config(),
    "roberta": RobertaConfig(vocab_size=VOCAB_SIZE, max_position_embeddings=40, **SIZES),
    "electra": ElectraConfig(vocab_size=VOCAB_SIZE, embedding_size=8, **SIZES),
    "distilbert": DistilBertConfig(vocab_size=VOCAB_SIZE, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
}


def make_tower(config, implementation="sdpa"):
    set_seed(0)
    tower = AutoModel.from_config(config, attn_implementation=implementation)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # attention that is far from uniform
    return tower.eval()


def text_inputs():
    batch = make_batch()
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("family", TEXT_CONFIGS)
def test_it_equals_the_map_of_slow_attention_of_texts(family):
    inputs = text_inputs()
    tower = make_tower(TEXT_CONFIGS[family], "eager")
    with torch.no_grad():
        expected = tower(**inputs, output_attentions=True).attentions[-1][:, :, 0].mean(dim=1)
    if has_plain_attention(tower):
        tower.set_attn_implementation("sdpa")
    with ClsAttention(tower, inputs["attention_mask"]) as attention:
        tower(**inputs)
    torch.testing.assert_close(attention.values, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(attention.values.sum(dim=1), torch.ones(3))
    assert not attention.values[inputs["attention_mask"] == 0].any()
    assert not attention.values.requires_grad
    assert expected.std() > 0.05


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_it_equals_the_map_of_slow_attention_of_images(kind):
    pixel_values = torch.randn(2, 1, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    tower = make_tower(make_vision_config(kind), "eager")
    with torch.no_grad():
        expected = tower(pixel_values, output_attentions=True).attentions[-1][:, :, 0].mean(dim=1)
    tower.set_attn_implementation("sdpa")
    with ClsAttention(tower) as attention:
        tower(pixel_values)
    torch.testing.assert_close(attention.values, expected, rtol=0, atol=1e-6)
    assert expected.std() > 0.01


def test_it_sees_adapters_of_the_queries():
    inputs = text_inputs()
    tower = make_tower(TEXT_CONFIGS["bert"], "eager")
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["query"], init_lora_weights=False), tower)
    tower.eval()
    with torch.no_grad():
        expected = tower(**inputs, output_attentions=True).attentions[-1][:, :, 0].mean(dim=1)
    with ClsAttention(tower, inputs["attention_mask"]) as attention:
        tower(**inputs)
    torch.testing.assert_close(attention.values, expected, rtol=0, atol=1e-6)


def test_watching_changes_no_gradient_under_autocast_and_checkpointing():
    """Autocast keeps the first cast of a weight: were it made without gradient, the weight would not be trained."""
    inputs = text_inputs()
    gradients = []
    for watched in (False, True):
        tower = make_tower(TEXT_CONFIGS["bert"]).train()
        tower.gradient_checkpointing_enable()
        set_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            if watched:
                with ClsAttention(tower, inputs["attention_mask"]):
                    states = tower(**inputs).last_hidden_state
            else:
                states = tower(**inputs).last_hidden_state
        states.float().square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in tower.named_parameters()})
    last = "encoder.layer.1.attention.self.query.weight"
    assert gradients[0][last].any()
    for name, gradient in gradients[0].items():
        assert gradient is gradients[1][name] is None or torch.equal(gradient, gradients[1][name]), name


def test_watching_adapters_with_dropout_changes_no_gradient_under_checkpointing():
    """The layer that is repeated going back is not watched: what watching drew at random would be missing there."""
    inputs = text_inputs()
    results = []
    for watched, checkpointing in ((False, False), (True, False), (True, True)):
        tower = make_tower(TEXT_CONFIGS["bert"])
        lora = LoraConfig(r=2, target_modules=["query", "key"], lora_dropout=0.3, init_lora_weights=False)
        inject_adapter_in_model(lora, tower)
        if checkpointing:
            tower.gradient_checkpointing_enable()
        for name, parameter in tower.named_parameters():
            parameter.requires_grad_("lora" in name or "layer.0" in name)
        tower.train()
        set_seed(1)
        if watched:
            with ClsAttention(tower, inputs["attention_mask"]) as attention:
                states = tower(**inputs).last_hidden_state
            assert attention.values is not None
        else:
            states = tower(**inputs).last_hidden_state
        drawn = torch.rand(1)
        states.square().sum().backward()
        gradients = {name: item.grad for name, item in tower.named_parameters() if item.grad is not None}
        results.append({"states": states.detach(), "drawn": drawn, **gradients})
        assert all(module.training for module in tower.modules())
    assert len(results[0]) > 20
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_an_error_ends_the_watching(family):
    tower = make_tower(TEXT_CONFIGS[family], "eager")
    with pytest.raises(RuntimeError, match="stop"), ClsAttention(tower) as attention:
        raise RuntimeError("stop")
    outputs = tower(**text_inputs())
    assert attention.values is None
    assert outputs.attentions is None


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_copies_are_watched_on_their_own(family):
    inputs = text_inputs()
    tower = make_tower(TEXT_CONFIGS[family], "eager")
    watch(tower)
    others = copy.deepcopy(tower), pickle.loads(pickle.dumps(tower))
    with ClsAttention(tower, inputs["attention_mask"]) as expected:
        tower(**inputs)
    for other in others:
        with ClsAttention(tower, inputs["attention_mask"]) as of_first:
            with ClsAttention(other, inputs["attention_mask"]) as of_other:
                other(**inputs)
            assert of_first.values is None
        assert torch.equal(of_other.values, expected.values)
        hooks = [hook for module in other.modules() for hook in module._forward_hooks.values()]
        assert sum(hook.__module__ == ClsAttention.__module__ for hook in hooks) == 1


def test_maps_that_a_tower_does_not_give_are_asked_for_in_one_line():
    tower = make_tower(TEXT_CONFIGS["distilbert"], "sdpa")
    with pytest.raises(ValueError, match="distilbert tower .* attn_implementation=\"eager\"; got 'sdpa'"):
        with ClsAttention(tower):
            tower(**text_inputs())
