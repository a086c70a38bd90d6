"""Configuration of the plain dual encoder: CLIP (arXiv 2103.00020) or SigLIP (arXiv 2303.15343) on chest X-rays."""

import math
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_towers import base_towers, tiny_towers


@strict
class CxrClipConfig(PreTrainedConfig):
    r"""
    Two towers, each followed by one linear projection, and a contrastive loss whose scale is learnt.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any image encoder of `AutoModel`; a ResNet-50 when absent.
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Any encoder of the BERT family; BERT-base when absent.
        projection_dim (`int`, *optional*, defaults to 512):
            Width of the space that both towers share.
        text_pooling (`str`, *optional*, defaults to `"cls"`):
            How the last hidden states become one vector: `"max"`, `"mean"` (both over the words, never the padding)
            or `"cls"` (first position).
        loss_type (`str`, *optional*, defaults to `"info_nce"`):
            `"info_nce"` (CLIP: which of the batch's reports belongs to this image) or `"sigmoid"` (SigLIP: does this
            report belong to this image, for every pair on its own).
        logit_scale_init_value (`float`, *optional*):
            Logarithm of the first factor of the cosines. When absent `log(1 / 0.07)` for `"info_nce"` and `log(10)`
            for `"sigmoid"`, as published.
        logit_bias_init_value (`float`, *optional*, defaults to -10.0):
            First bias of the sigmoid; unused with `"info_nce"`.
    """

    model_type = "cxr_clip"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    vision_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    projection_dim: int = 512
    text_pooling: Literal["max", "mean", "cls"] = "cls"
    loss_type: Literal["info_nce", "sigmoid"] = "info_nce"
    logit_scale_init_value: float | None = None
    logit_bias_init_value: float = -10.0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.logit_scale_init_value is None:
            self.logit_scale_init_value = math.log(1 / 0.07) if self.loss_type == "info_nce" else math.log(10)
        super().__post_init__(**kwargs)

    @classmethod
    def tiny(cls, vocab_size: int, **kwargs: Any) -> "CxrClipConfig":
        """
        The embedded default: trains on two CPU cores at 128 pixels, one grey channel.

        Args:
            vocab_size (`int`):
                Entries of the tokenizer.
            kwargs (`dict`):
                Fields that differ.
        """
        return cls(**{**tiny_towers(vocab_size), "projection_dim": 128, "text_pooling": "mean", **kwargs})

    @classmethod
    def base(
        cls, vision: Literal["resnet", "vit"] = "resnet", *, vocab_size: int = 30522, **kwargs: Any
    ) -> "CxrClipConfig":
        """
        ResNet-50 or ViT-B/16 with BERT-base.

        Args:
            vision (`str`, *optional*, defaults to `"resnet"`):
                `"resnet"` or `"vit"`.
            vocab_size (`int`, *optional*, defaults to 30522):
                Entries of the tokenizer; by default those of the published BERT models.
            kwargs (`dict`):
                Fields that differ.
        """
        return cls(**{**base_towers(vision, vocab_size=vocab_size), **kwargs})


CxrClipConfig.register_for_auto_class()
