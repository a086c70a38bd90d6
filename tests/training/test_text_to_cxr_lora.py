import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_generators import tiny_flow_pipeline, tiny_stable_diffusion
from transformers import T5Config, T5EncoderModel

from synthcxr.pipelines import CxrSynthesisPipeline, encode_prompts
from synthcxr.training.arguments import parse_arguments
from synthcxr.training.diffusion_trainer import ConditionedDenoiser
from synthcxr.training.generator_adapters import ADAPTER_NAME, add_adapters
from synthcxr.training.generator_runs import RECORD_NAME
from synthcxr.training.text_to_cxr_lora import (
    TextToCxrLoraArguments,
    load_generator,
    native_image_size,
    train_text_to_cxr_lora,
)


FAST = ("--per-device-train-batch-size", "4", "--max-train-samples", "24", "--max-eval-samples", "8")
FAST += ("--warmup-steps", "0", "--use-cpu", "--disable-tqdm", "--sample-steps", "0", "--rank", "4")
BUILDERS = {
    "ours": tiny_flow_pipeline,
    "sd1": lambda: tiny_stable_diffusion(1),
    "sd2": lambda: tiny_stable_diffusion(2),
}
diffusers_logging.set_verbosity_error()


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    """A folder per kind of generator, saved by its own class."""
    folder = tmp_path_factory.mktemp("generators")
    for name, build in BUILDERS.items():
        build().save_pretrained(folder / name)
    return folder


def arguments(folder, output_dir, generator, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *FAST, *flags)
    flags += ("--model-name-or-path", str(generator))
    return parse_arguments([TextToCxrLoraArguments], flags, program="test")[0]


@pytest.fixture(scope="module")
def adapted(generators, pairs_folder, tmp_path_factory):
    """A folder per kind of generator, after two steps in UNet and text encoder."""
    folder = tmp_path_factory.mktemp("adapters")
    for name in BUILDERS:
        flags = ("--max-steps", "2", "--train-text-encoder", "--learning-rate", "1e-2")
        train_text_to_cxr_lora(arguments(pairs_folder, folder / name, generators / name, *flags))
    return folder


def draw(pipeline, **kwargs):
    generator = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    prompts = ["large left effusion", "the heart is normal"]
    pipeline.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "latent"}
    return pipeline(prompts, generator=generator, **settings, **kwargs).images


def trained_weights(folder):
    return load_file(folder / ADAPTER_NAME)


def settings_of(folder):
    with safe_open(folder / ADAPTER_NAME, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_adapter_loads_merges_and_leaves_without_a_trace(generators, adapted, kind):
    pipeline = CxrSynthesisPipeline.from_pretrained(generators / kind)
    before = draw(pipeline)
    pipeline.load_lora_weights(adapted / kind)
    with_adapter = draw(pipeline)
    assert (with_adapter - before).abs().max() > 1e-3
    pipeline.fuse_lora()
    torch.testing.assert_close(draw(pipeline), with_adapter, atol=1e-5, rtol=1e-5)
    pipeline.unfuse_lora()
    pipeline.unload_lora_weights()
    torch.testing.assert_close(draw(pipeline), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", BUILDERS)
def test_what_is_loaded_is_what_was_trained_in_both_models(generators, adapted, kind):
    pipeline = CxrSynthesisPipeline.from_pretrained(generators / kind)
    pipeline.load_lora_weights(adapted / kind, adapter_name="cxr")
    stored = trained_weights(adapted / kind)
    loaded = {
        f"{part}.{name.replace('.cxr', '')}": value
        for part in ("unet", "text_encoder")
        for name, value in getattr(pipeline, part).state_dict().items()
        if ".lora_" in name
    }
    assert loaded.keys() == stored.keys()
    assert all(loaded[name].equal(stored[name]) for name in stored)
    assert all(value.abs().max() > 0 for value in stored.values())  # of lora_B, too: they started at zero
    assert {name.split(".")[0] for name in stored} == {"unet", "text_encoder"}


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_the_stock_pipeline_draws_the_same_with_the_adapter(generators, adapted, kind):
    images = []
    for kind_of_pipeline in (CxrSynthesisPipeline, StableDiffusionPipeline):
        pipeline = kind_of_pipeline.from_pretrained(generators / kind, safety_checker=None)
        pipeline.load_lora_weights(adapted / kind)
        embeds = [
            encode_prompts([text], pipeline.tokenizer, pipeline.text_encoder)[0] for text in ("left effusion", "")
        ]
        latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        inputs = {"prompt_embeds": embeds[0], "negative_prompt_embeds": embeds[1], "latents": latents}
        settings = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "latent"}
        images.append(pipeline(prompt=None, **inputs, **settings).images)
    torch.testing.assert_close(images[0], images[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kind", "text"), [("ours", True), ("ours", False), ("sd1", False)])
def test_a_run_in_two_halves_ends_with_the_weights_of_one_that_was_not_stopped(
    generators, pairs_folder, tmp_path, kind, text
):
    flags = ("--checkpointing-steps", "2", "--learning-rate", "1e-2", "--lora-dropout", "0.2", "--adapt-convolutions")
    flags += ("--gradient-accumulation-steps", "2", "--lr-scheduler-type", "cosine", "--max-steps", "3")
    flags += ("--train-text-encoder",) if text else ()
    sampling = ("--sample-steps", "2", "--sample-prompts", "effusion")
    flags += sampling if kind == "ours" else ("--gradient-checkpointing",)
    whole, halves = (
        arguments(pairs_folder, tmp_path / name, generators / kind, *flags) for name in ("whole", "halves")
    )
    record = train_text_to_cxr_lora(whole)
    shutil.copytree(whole.output_dir, halves.output_dir)
    shutil.rmtree(tmp_path / "halves" / "checkpoint-3")
    (tmp_path / "halves" / ADAPTER_NAME).unlink()
    stopped = {name: record[name] for name in ("request", "num_pairs", "num_parameters")} | {"finished": False}
    (tmp_path / "halves" / RECORD_NAME).write_text(json.dumps(stopped))
    assert train_text_to_cxr_lora(halves)["metrics"]["resumed_from"] == 2
    before, after = trained_weights(tmp_path / "whole"), trained_weights(tmp_path / "halves")
    assert all(before[name].equal(after[name]) for name in before)
    assert all(value.abs().max() > 0 for value in after.values())  # lora_B started at zero
    assert settings_of(tmp_path / "whole") == settings_of(tmp_path / "halves")


def test_a_checkpoint_holds_the_adapter_and_not_the_generator(adapted):
    for kind in BUILDERS:
        state = adapted / kind / "checkpoint-2"
        weights = load_file(state / "adapter_state.safetensors")
        assert all(".lora_" in name for name in weights)
        assert not list(state.glob("*model*"))
        last = trained_weights(state)
        assert all(last[name].equal(value) for name, value in trained_weights(adapted / kind).items())


def test_the_adapter_of_a_checkpoint_loads_too(generators, adapted):
    pipelines = [CxrSynthesisPipeline.from_pretrained(generators / "ours") for _ in range(2)]
    for pipeline, folder in zip(pipelines, ("checkpoint-2", "."), strict=True):
        pipeline.load_lora_weights(adapted / "ours" / folder)
    assert torch.equal(*(draw(pipeline) for pipeline in pipelines))


def test_the_record_says_what_was_trained_and_a_finished_run_is_reused(generators, adapted, pairs_folder):
    record = json.loads((adapted / "ours" / RECORD_NAME).read_text())
    assert record["finished"]
    assert record["num_pairs"] == 24
    assert record["num_parameters"] == sum(value.numel() for value in trained_weights(adapted / "ours").values())
    assert record["metrics"]["eval_loss"] > 0
    flags = ("--max-steps", "2", "--train-text-encoder", "--learning-rate", "1e-2")
    written = (adapted / "ours" / ADAPTER_NAME).stat().st_mtime_ns
    again = train_text_to_cxr_lora(arguments(pairs_folder, adapted / "ours", generators / "ours", *flags))
    assert again == record
    assert (adapted / "ours" / ADAPTER_NAME).stat().st_mtime_ns == written


def test_other_settings_in_the_same_folder_are_refused(generators, adapted, pairs_folder):
    flags = ("--max-steps", "2", "--train-text-encoder", "--learning-rate", "1e-2", "--lora-alpha", "8")
    with pytest.raises(ValueError, match=r"lora_alpha \(None then, 8.0 now\)"):
        train_text_to_cxr_lora(arguments(pairs_folder, adapted / "ours", generators / "ours", *flags))


def test_the_file_names_no_folder_of_this_machine(generators, adapted):
    for kind in BUILDERS:
        assert str(generators) not in json.dumps(settings_of(adapted / kind))


@pytest.mark.parametrize("kind", BUILDERS)
def test_without_the_text_encoder_only_the_unet_changes(generators, kind):
    pipeline = load_generator(str(generators / kind))
    add_adapters(pipeline.unet, None, rank=2, alpha=2)
    trained = [name for name, parameter in pipeline.unet.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 4 * 2 * 4  # matrices, projections, attentions, blocks
    assert all(".lora_" in name for name in trained)
    assert native_image_size(pipeline) == 32


def test_a_text_encoder_with_other_names_is_refused_in_one_line(generators):
    pipeline = load_generator(str(generators / "ours"))
    strange = T5EncoderModel(T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=9))
    with pytest.raises(ValueError, match="--train-text-encoder: no adapter for 't5'"):
        add_adapters(pipeline.unet, strange, rank=2, alpha=2)


def test_a_fresh_adapter_changes_nothing_and_every_one_of_its_weights_learns(generators):
    pipeline = CxrSynthesisPipeline.from_pretrained(generators / "ours")
    before = draw(pipeline)
    add_adapters(pipeline.unet, pipeline.text_encoder, rank=2, alpha=4, convolutions=True)
    pipeline.text_encoder.eval()
    torch.testing.assert_close(draw(pipeline), before, atol=1e-6, rtol=0)
    denoiser = ConditionedDenoiser(pipeline.unet, pipeline.text_encoder)
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)  # at zero, no gradient would reach lora_A yet
    ids = torch.arange(5, 11)[None]
    denoiser(torch.randn(1, 16, 8, 8), torch.tensor([500.0]), ids).square().mean().backward()
    adapters = {name: p for name, p in denoiser.named_parameters() if p.requires_grad}
    assert [name for name, parameter in adapters.items() if not parameter.grad.abs().sum() > 0] == []
    assert any("conv1" in name for name in adapters)


def test_training_lowers_the_loss_on_held_out_pairs(generators, pairs_folder, tmp_path):
    flags = ("--max-steps", "16", "--learning-rate", "3e-2", "--checkpointing-steps", "4", "--adapt-convolutions")
    train_text_to_cxr_lora(arguments(pairs_folder, tmp_path / "run", generators / "ours", *flags))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < 0.98 * losses[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rank", "0"), "--rank is 0; expected 1 or more"),
        (("--lora-dropout", "1"), "--lora-dropout is 1.0; expected"),
        (("--model-name-or-path", ""), "there is no generator to adapt; give --model-name-or-path"),
        (("--model-name-or-path", "nowhere/at-all"), "nowhere/at-all gives no generator"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(pairs_folder, tmp_path, flags, message):
    flags = (
        "--dataset",
        str(pairs_folder),
        "--output-dir",
        str(tmp_path / "run"),
        "--model-name-or-path",
        "x",
        *flags,
    )
    with pytest.raises(ValueError, match=message) as caught:
        train_text_to_cxr_lora(*parse_arguments([TextToCxrLoraArguments], flags, program="test"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
