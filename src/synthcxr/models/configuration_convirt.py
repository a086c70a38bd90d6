"""Configuration of ConVIRT (Zhang et al., 2022, arXiv 2010.00747)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_towers import base_towers, tiny_towers


@strict
class ConvirtConfig(PreTrainedConfig):
    r"""
    Two towers, each followed by a small projection, and a bidirectional contrastive loss of fixed temperature.

    The defaults are the paper's. [`ConvirtConfig.base`] also knows the variant that the MGCA repository trains under
    the name of ConVIRT, which differs in every one of these fields.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any image encoder of `AutoModel`; a ResNet-50 when absent.
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Any encoder of the BERT family; BERT-base when absent.
        projection_dim (`int`, *optional*, defaults to 512):
            Width of the space that both towers share.
        projection_hidden_dim (`int`, *optional*):
            Width between the two layers of a projection; `projection_dim` when absent.
        projection_norm (`bool`, *optional*, defaults to `False`):
            Batch normalisation after both layers of a projection (the last one without affine weights).
        text_pooling (`str`, *optional*, defaults to `"max"`):
            How the last hidden states become one vector: `"max"`, `"mean"` (both over the words, never the padding)
            or `"cls"` (first position).
        num_frozen_text_layers (`int`, *optional*, defaults to 0):
            The embeddings and so many first layers of the text tower are not trained; 0 trains all, embeddings
            included. The paper freezes 6 of ClinicalBERT's 12.
        temperature (`float`, *optional*, defaults to 0.1):
            Divides the cosines.
        image_to_text_weight (`float`, *optional*, defaults to 0.75):
            Weight of the image-to-text direction in the loss.
        text_to_image_weight (`float`, *optional*):
            Weight of the other direction; `1 - image_to_text_weight` when absent.
    """

    model_type = "convirt"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    vision_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    projection_dim: int = 512
    projection_hidden_dim: int | None = None
    projection_norm: bool = False
    text_pooling: Literal["max", "mean", "cls"] = "max"
    num_frozen_text_layers: int = 0
    temperature: float = 0.1
    image_to_text_weight: float = 0.75
    text_to_image_weight: float | None = None

    def validate_temperature(self) -> None:
        """A temperature divides, so it is above 0."""
        if self.temperature <= 0:
            raise ValueError(f"temperature={self.temperature} divides the cosines; expected a number above 0.")

    @classmethod
    def tiny(cls, vocab_size: int, **kwargs: Any) -> "ConvirtConfig":
        """
        The embedded default: trains on two CPU cores at 128 pixels, one grey channel.

        Args:
            vocab_size (`int`):
                Entries of the tokenizer.
            kwargs (`dict`):
                Fields that differ.
        """
        # The mean over words, since from random weights the maximum differs little between texts. No batch
        # normalisation: with single sentences its noise kept the loss at log(batch_size).
        defaults = {
            "projection_dim": 128,
            "projection_hidden_dim": 256,
            "text_pooling": "mean",
            "temperature": 0.07,
            "image_to_text_weight": 0.5,
        }
        return cls(**{**tiny_towers(vocab_size), **defaults, **kwargs})

    @classmethod
    def base(
        cls,
        vision: Literal["resnet", "vit"] = "resnet",
        *,
        variant: Literal["paper", "mgca"] = "paper",
        vocab_size: int = 30522,
        **kwargs: Any,
    ) -> "ConvirtConfig":
        """
        ResNet-50 or ViT-B/16 with BERT-base, as published.

        Args:
            vision (`str`, *optional*, defaults to `"resnet"`):
                `"resnet"` or `"vit"`.
            variant (`str`, *optional*, defaults to `"paper"`):
                `"paper"`, or `"mgca"`: what the MGCA repository calls ConVIRT (six-layer BERT, CLS token, 128-d
                projections with batch normalisation, temperature 0.07, sum of both directions).
            vocab_size (`int`, *optional*, defaults to 30522):
                Entries of the tokenizer; by default those of the published BERT models.
            kwargs (`dict`):
                Fields that differ.
        """
        if variant == "paper":
            return cls(**{**base_towers(vision, vocab_size=vocab_size), "num_frozen_text_layers": 6, **kwargs})
        if variant != "mgca":
            raise ValueError(f'variant={variant!r} is unknown; expected "paper" or "mgca".')
        mgca = {
            "projection_dim": 128,
            "projection_hidden_dim": 2048,
            "projection_norm": True,
            "text_pooling": "cls",
            "temperature": 0.07,
            "image_to_text_weight": 1.0,
            "text_to_image_weight": 1.0,
        }
        return cls(**{**base_towers(vision, vocab_size=vocab_size, num_hidden_layers=6), **mgca, **kwargs})


ConvirtConfig.register_for_auto_class()
