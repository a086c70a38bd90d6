"""Configuration of MGCA (Wang et al., 2022, arXiv 2210.06044)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_towers import base_towers, tiny_towers


@strict
class MgcaConfig(PreTrainedConfig):
    r"""
    Two towers with a global and a local projection each, aligned as wholes, as patches and words, and by prototypes.

    Temperatures, weights, prototypes and projections default to what the authors' code trains with. Other defaults do
    not: a ResNet-50 and a BERT of twelve layers, where [`MgcaConfig.base`] has their ViT and six layers, and padding
    that is left out. [`MgcaConfig.base`] also knows the weights that their class signature names, and that their
    command line overrides.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any image encoder of `AutoModel`; a ResNet-50 when absent.
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Any encoder of the BERT family; BERT-base when absent.
        projection_dim (`int`, *optional*, defaults to 128):
            Width of the space that both towers share.
        projection_hidden_dim (`int`, *optional*, defaults to 2048):
            Width between the two layers of a projection.
        projection_norm (`bool`, *optional*, defaults to `True`):
            Batch normalisation after both layers of a projection (the last one without affine weights).
        text_pooling (`str`, *optional*, defaults to `"cls"`):
            How the last hidden states become one vector: `"max"`, `"mean"` (both over the words, never the padding)
            or `"cls"` (first position).
        local_stage (`int`, *optional*, defaults to -2):
            Stage of a convolutional tower that the patches come from, counted from its end; -2 is a ResNet's third.
            Other towers have their patches at their end.
        temperature (`float`, *optional*, defaults to 0.07):
            Divides the cosines of images with texts.
        local_temperature (`float`, *optional*, defaults to 0.1):
            Divides the cosines of words with patches, in the attention and in the loss.
        prototype_temperature (`float`, *optional*, defaults to 0.2):
            Divides the cosines with the prototypes where they are predicted.
        num_prototypes (`int`, *optional*, defaults to 500):
            Prototypes that images and texts are assigned to.
        sinkhorn_epsilon (`float`, *optional*, defaults to 0.05):
            Divides the cosines with the prototypes where they are assigned.
        num_sinkhorn_iterations (`int`, *optional*, defaults to 3):
            How often the assignment is balanced.
        num_frozen_prototype_epochs (`int`, *optional*, defaults to 1):
            First epochs in which the prototypes stay where they are; a stream of pairs has none.
        global_weight (`float`, *optional*, defaults to 1.0):
            Weight of the alignment of images with texts (ITA): the sum of both directions.
        local_weight (`float`, *optional*, defaults to 1.0):
            Weight of the alignment of patches with words (CTA).
        prototype_weight (`float`, *optional*, defaults to 1.0):
            Weight of the alignment by prototypes (CPA).
        low_quantile (`float`, *optional*, defaults to 0.1):
            The weight of a word or patch is at least this quantile of those of its report or image.
        high_quantile (`float`, *optional*, defaults to 0.9):
            The weight of a word or patch is at most this quantile.
        padding_as_negatives (`bool`, *optional*, defaults to `False`):
            Keep padding among the negatives in the alignment of words, as the authors' code does: the loss then
            depends on the length that a batch was padded to. It is not their loss even so: [`MgcaModel`] says what it
            does otherwise.
    """

    model_type = "mgca"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    vision_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    projection_dim: int = 128
    projection_hidden_dim: int = 2048
    projection_norm: bool = True
    text_pooling: Literal["max", "mean", "cls"] = "cls"
    local_stage: int = -2
    temperature: float = 0.07
    local_temperature: float = 0.1
    prototype_temperature: float = 0.2
    num_prototypes: int = 500
    sinkhorn_epsilon: float = 0.05
    num_sinkhorn_iterations: int = 3
    num_frozen_prototype_epochs: int = 1
    global_weight: float = 1.0
    local_weight: float = 1.0
    prototype_weight: float = 1.0
    low_quantile: float = 0.1
    high_quantile: float = 0.9
    padding_as_negatives: bool = False

    def validate_divisors(self) -> None:
        """What divides is above 0."""
        for name in ("temperature", "local_temperature", "prototype_temperature", "sinkhorn_epsilon"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} divides the cosines; expected a number above 0.")

    def validate_weights(self) -> None:
        """No part of the loss is maximised; 0 leaves a part out."""
        for name in ("global_weight", "local_weight", "prototype_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} weighs a loss; expected 0 or more.")

    def validate_counts(self) -> None:
        """Without prototypes nothing is assigned, and without a step nothing balanced."""
        for name, least in (("num_prototypes", 1), ("num_sinkhorn_iterations", 1), ("num_frozen_prototype_epochs", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}; expected {least} or more.")

    def validate_quantiles(self) -> None:
        """Quantiles are shares, and the low one comes first."""
        if not 0 <= self.low_quantile <= self.high_quantile <= 1:
            raise ValueError(
                f"low_quantile={self.low_quantile} and high_quantile={self.high_quantile} must rise from 0 to 1."
            )

    def validate_local_stage(self) -> None:
        """Stages are counted from the end."""
        if self.local_stage >= 0:
            raise ValueError(f"local_stage={self.local_stage} counts from the end; expected -1, -2 ...")

    @classmethod
    def tiny(cls, vocab_size: int, **kwargs: Any) -> "MgcaConfig":
        """
        The embedded default: trains on two CPU cores at 64 or 128 pixels, one grey channel.

        Args:
            vocab_size (`int`):
                Entries of the tokenizer.
            kwargs (`dict`):
                Fields that differ.
        """
        # As in ConVIRT's: the mean over words, and no batch normalisation.
        defaults = {"projection_hidden_dim": 256, "projection_norm": False, "text_pooling": "mean"}
        return cls(**{**tiny_towers(vocab_size), **defaults, **kwargs})

    @classmethod
    def base(
        cls,
        vision: Literal["resnet", "vit"] = "vit",
        *,
        variant: Literal["trained", "signature"] = "trained",
        vocab_size: int = 30522,
        **kwargs: Any,
    ) -> "MgcaConfig":
        """
        ViT-B/16 or ResNet-50 with a BERT of six layers, as published.

        Args:
            vision (`str`, *optional*, defaults to `"vit"`):
                `"vit"` or `"resnet"`.
            variant (`str`, *optional*, defaults to `"trained"`):
                `"trained"`: the three losses count alike, as the authors' command line has it; `"signature"`: 1, 0.7
                and 0.5, as the signature of their class has it.
            vocab_size (`int`, *optional*, defaults to 30522):
                Entries of the tokenizer; by default those of the published BERT models.
            kwargs (`dict`):
                Fields that differ.
        """
        if variant not in ("trained", "signature"):
            raise ValueError(f'variant={variant!r} is unknown; expected "trained" or "signature".')
        weights = {"local_weight": 0.7, "prototype_weight": 0.5} if variant == "signature" else {}
        return cls(**{**base_towers(vision, vocab_size=vocab_size, num_hidden_layers=6), **weights, **kwargs})


MgcaConfig.register_for_auto_class()
