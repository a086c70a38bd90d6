"""`load_lora_weights` for text encoders other than CLIP's, whose names `diffusers` does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin


class GeneratorLoraMixin(StableDiffusionLoraLoaderMixin):
    """LoRA in a pipeline of a UNet and any text encoder; UNets and CLIP are loaded as Stable Diffusion's are."""

    @classmethod
    def load_lora_into_text_encoder(
        cls,
        state_dict: Mapping[str, torch.Tensor],
        network_alphas: Mapping[str, float] | None,
        text_encoder: Any,
        prefix: str | None = None,
        lora_scale: float = 1.0,
        adapter_name: str | None = None,
        _pipeline: Any = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Add an adapter to the text encoder, of those weights whose names begin with `prefix`; `diffusers` calls this.

        Args:
            state_dict (`Mapping[str, torch.Tensor]`): Of the whole adapter.
            network_alphas (`Mapping[str, float]`, *optional*): Of adapters in other layouts; for CLIP only.
            text_encoder (`PreTrainedModel`): Gets the adapter.
            prefix (`str`, *optional*): `"text_encoder"` if not given.
            lora_scale (`float`, *optional*, defaults to 1.0): Multiplies what the adapter adds.
            adapter_name (`str`, *optional*): `"default_0"` or the next free number if not given.
            metadata (`Mapping`, *optional*): The adapter's configuration, as saved with it.
            kwargs (`dict`): As of `StableDiffusionLoraLoaderMixin.load_lora_into_text_encoder`.

        Raises:
            ValueError: If the adapter has no configuration for a text encoder that is not CLIP's.
        """
        if text_encoder.config.model_type.startswith("clip"):
            super().load_lora_into_text_encoder(
                state_dict,
                network_alphas,
                text_encoder,
                prefix=prefix,
                lora_scale=lora_scale,
                adapter_name=adapter_name,
                _pipeline=_pipeline,
                metadata=metadata,
                **kwargs,
            )
            return
        prefix = f"{prefix or cls.text_encoder_name}."
        weights = _without_prefix(state_dict, prefix)
        if not weights:
            return
        settings = _without_prefix(metadata or {}, prefix)
        if not settings:
            kind = text_encoder.config.model_type
            raise ValueError(f"The adapter does not say how it was made, so that it fits no {kind!r} text encoder.")
        _add_adapter(text_encoder, weights, settings, adapter_name, lora_scale)


def _add_adapter(
    text_encoder: Any,
    weights: dict[str, torch.Tensor],
    settings: dict[str, Any],
    adapter_name: str | None,
    lora_scale: float,
) -> None:
    from diffusers.utils.peft_utils import get_adapter_name, scale_lora_layers
    from peft import LoraConfig

    adapter_name = get_adapter_name(text_encoder) if adapter_name is None else adapter_name
    text_encoder.load_adapter(
        adapter_name=adapter_name, adapter_state_dict=weights, peft_config=LoraConfig(**settings)
    )
    scale_lora_layers(text_encoder, weight=lora_scale)
    text_encoder.to(device=text_encoder.device, dtype=text_encoder.dtype)


def _without_prefix(items: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in items.items() if name.startswith(prefix)}
