"""LoRA (Hu et al., ICLR 2022, arXiv 2106.09685) in UNet and text encoder of a generator: added, saved, restored."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn


ADAPTER_NAME = LORA_WEIGHT_NAME_SAFE  # what `load_lora_weights` looks for in a folder

_STATE_NAME = "adapter_state.safetensors"
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "proj_in", "proj_out")
# Projections of the attention, by the names that families of text encoders give them.
_TEXT_PROJECTIONS = (
    ("q_proj", "k_proj", "v_proj", "out_proj"),  # CLIP
    ("query", "key", "value", "attention.output.dense"),  # BERT, RoBERTa, ELECTRA
    ("q_lin", "k_lin", "v_lin", "out_lin"),  # DistilBERT
)


def add_adapters(
    unet: Any, text_encoder: Any | None, *, rank: int, alpha: float, dropout: float = 0.0, convolutions: bool = False
) -> None:
    """
    Add fresh adapters, which change nothing yet, to all attention projections; they alone require a gradient then.

    Args:
        unet (`UNet2DConditionModel`): Of a generator.
        text_encoder (`PreTrainedModel`, *optional*): CLIP's or one of the BERT family; left alone when absent.
        rank (`int`): Of the two matrices that are added to every weight.
        alpha (`float`): Their product is multiplied by `alpha / rank`.
        dropout (`float`, *optional*, defaults to 0.0): Share of an adapter's inputs that is left out in training.
        convolutions (`bool`, *optional*, defaults to `False`): Adapt the convolutions of the UNet as well.

    Raises:
        ValueError: If the text encoder's projections have names that are not known here.
    """
    targets = {unet: [*_ATTENTION, *(_CONVOLUTIONS if convolutions else ())]}
    if text_encoder is not None:
        targets[text_encoder] = _text_projections(text_encoder)
    for model, names in targets.items():
        model.requires_grad_(requires_grad=False)
        model.add_adapter(
            LoraConfig(
                r=rank,
                lora_alpha=alpha,
                lora_dropout=dropout,
                target_modules=names,
                init_lora_weights="gaussian",
            )
        )


def save_adapters(folder: str | Path, unet: Any, text_encoder: Any | None) -> Path:
    """
    Write the adapters to one file, whole or not at all, for `load_lora_weights` of any pipeline of the checkpoint.

    Args:
        folder (`str` or `Path`): Gets `pytorch_lora_weights.safetensors`.
        unet (`UNet2DConditionModel`): With an adapter.
        text_encoder (`PreTrainedModel`, *optional*): With an adapter; absent if it has none.

    Returns:
        `Path`: The file.
    """
    path = Path(folder) / ADAPTER_NAME
    growing = path.with_name(f".{path.stem}.tmp")
    options = {"unet_lora_layers": get_peft_model_state_dict(unet), "unet_lora_adapter_metadata": _metadata(unet)}
    if text_encoder is not None:
        options["text_encoder_lora_layers"] = get_peft_model_state_dict(text_encoder)
        options["text_encoder_lora_adapter_metadata"] = _metadata(text_encoder)
    try:
        StableDiffusionLoraLoaderMixin.save_lora_weights(growing, **options)
        os.replace(growing / ADAPTER_NAME, path)
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    return path


def checkpoint_adapters_only(accelerator: Accelerator, model: nn.Module) -> None:
    """
    Let `save_state` and `load_state` pass over what is not trained: a checkpoint has megabytes instead of gigabytes.

    Args:
        accelerator (`Accelerator`): That the model is prepared with.
        model (`nn.Module`): The model as it was before.
    """

    def save(models: list[nn.Module], weights: list[dict[str, torch.Tensor]], output_dir: str) -> None:
        if accelerator.is_main_process:
            state = {name: value.detach().cpu().contiguous() for name, value in _trained(model)}
            save_file(state, Path(output_dir) / _STATE_NAME)
        weights.clear()  # nothing is left for `save_state` to write of the models

    def load(models: list[nn.Module], input_dir: str) -> None:
        state = load_file(Path(input_dir) / _STATE_NAME)
        trained = dict(_trained(model))
        if trained.keys() != state.keys():
            differing = sorted(trained.keys() ^ state.keys())[0]
            raise ValueError(f"{input_dir} and this run train different weights: {differing}.")
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(state[name])
        models.clear()

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _trained(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _text_projections(text_encoder: Any) -> list[str]:
    modules = [name for name, _ in text_encoder.named_modules()]
    for names in _TEXT_PROJECTIONS:
        if all(any(module.endswith(f".{name}") for module in modules) for name in names):
            return list(names)
    kind = text_encoder.config.model_type
    raise ValueError(f"--train-text-encoder: no adapter for {kind!r}; expected a text encoder such as CLIP's or BERT.")


def _metadata(model: Any) -> dict[str, Any]:
    """Of the adapter, without the folder that the model came from, and the same in every run."""
    (config,) = model.peft_config.values()
    settings = config.to_dict() | {"base_model_name_or_path": None}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in settings.items()}
