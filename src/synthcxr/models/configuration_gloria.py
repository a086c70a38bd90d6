"""Configuration of GLoRIA (Huang et al., ICCV 2021)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_towers import base_towers, tiny_towers


@strict
class GloriaConfig(PreTrainedConfig):
    r"""
    Two towers and two losses: images against reports as wholes, and the regions of an image against words.

    Temperatures, weights and layers default to those of the authors' code, and so does the attention: a softmax over
    the words, then one over the regions. No variant carries the paper's name, because this package has been compared
    with the code alone. The authors also enlarge images of 224 pixels to 299 before the ResNet; here an image has the
    size that its processor gives it. All four temperatures multiply, as they do there: where other models of this
    package divide a cosine by 0.1, this one multiplies it by 10.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any image encoder of `AutoModel`; a ResNet-50 when absent.
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Any encoder of the BERT family; BERT-base when absent.
        projection_dim (`int`, *optional*, defaults to 768):
            Width of the space that images, regions, reports and words share. Words and reports enter it as they are
            when the text tower is as wide, as published; a linear map takes them there otherwise.
        local_stage (`int`, *optional*, defaults to -2):
            Stage of a hierarchical vision tower that the regions come from, counted from its end: the last but one of
            a ResNet has a grid of 14 x 14 at 224 pixels and of 19 x 19 at 299. Transformers of one grid give their
            last patches.
        num_text_layers_summed (`int`, *optional*, defaults to 4):
            So many last hidden states of the text tower are summed. The embeddings below the first layer count as
            one, and all are summed in a shallower tower.
        text_pooling (`str`, *optional*, defaults to `"mean"`):
            How the states of a text become one vector: `"max"`, `"mean"` (both never over padding) or `"cls"`.
        attention_temperature (`float`, *optional*, defaults to 4.0):
            Multiplies what regions and words have in common before the softmax over the regions. Higher is sharper.
        score_temperature (`float`, *optional*, defaults to 5.0):
            Multiplies the cosine of a word with the regions that it attends to, before the words are joined.
        loss_temperature (`float`, *optional*, defaults to 10.0):
            Multiplies the local scores in their cross-entropy.
        global_temperature (`float`, *optional*, defaults to 10.0):
            Multiplies the cosines of images and reports in theirs.
        local_weight (`float`, *optional*, defaults to 1.0):
            Weight of the local loss, the sum of both directions; 0 leaves it out.
        global_weight (`float`, *optional*, defaults to 1.0):
            Weight of the global loss, the sum of both directions.
    """

    model_type = "gloria"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    vision_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    projection_dim: int = 768
    local_stage: int = -2
    num_text_layers_summed: int = 4
    text_pooling: Literal["max", "mean", "cls"] = "mean"
    attention_temperature: float = 4.0
    score_temperature: float = 5.0
    loss_temperature: float = 10.0
    global_temperature: float = 10.0
    local_weight: float = 1.0
    global_weight: float = 1.0

    def validate_temperatures(self) -> None:
        """A temperature of 0 would make all alike, and one below 0 turn the order round."""
        for name in ("attention_temperature", "score_temperature", "loss_temperature", "global_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} multiplies similarities; expected a number above 0.")

    def validate_weights(self) -> None:
        """No part of the loss is maximised; 0 leaves the local one out."""
        for name in ("global_weight", "local_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} weighs a loss; expected 0 or more.")

    def validate_layers(self) -> None:
        """At least one state of the text tower, and a stage that exists."""
        if self.num_text_layers_summed < 1:
            raise ValueError(f"num_text_layers_summed={self.num_text_layers_summed}; expected 1 or more.")
        if self.local_stage >= 0:
            raise ValueError(f"local_stage={self.local_stage} counts from the end; expected -1 or less.")

    @classmethod
    def tiny(cls, vocab_size: int, **kwargs: Any) -> "GloriaConfig":
        """
        The embedded default: trains on two CPU cores; 8 x 8 regions of an image of 64 pixels, one grey channel.

        Args:
            vocab_size (`int`):
                Entries of the tokenizer.
            kwargs (`dict`):
                Fields that differ.
        """
        return cls(**{**tiny_towers(vocab_size), "projection_dim": 128, "num_text_layers_summed": 1, **kwargs})

    @classmethod
    def base(
        cls, vision: Literal["resnet", "vit"] = "resnet", *, vocab_size: int = 30522, **kwargs: Any
    ) -> "GloriaConfig":
        """
        ResNet-50, as published, or ViT-B/16, with BERT-base.

        Args:
            vision (`str`, *optional*, defaults to `"resnet"`):
                `"resnet"` or `"vit"`.
            vocab_size (`int`, *optional*, defaults to 30522):
                Entries of the tokenizer; by default those of the published BERT models.
            kwargs (`dict`):
                Fields that differ.
        """
        return cls(**{**base_towers(vision, vocab_size=vocab_size), **kwargs})


GloriaConfig.register_for_auto_class()
