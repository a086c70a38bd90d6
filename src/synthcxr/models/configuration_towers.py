"""Sizes of the two towers that every dual encoder can start from: plain `transformers` configurations."""

from typing import Any, Literal

from transformers import BertConfig, PreTrainedConfig, ResNetConfig, ViTConfig


def tiny_towers(vocab_size: int) -> dict[str, PreTrainedConfig]:
    """
    A one-channel ResNet and a one-layer BERT that train on a CPU.

    Args:
        vocab_size (`int`):
            Entries of the tokenizer.

    Returns:
        `dict`: `vision_config` and `text_config`.
    """
    # Powers of two: a CPU's matrix units are a third slower on 24 or 160 channels. Three stages, not four: a map of
    # 8 x 8 at 128 pixels, as accurate as one of 4 x 4 for the same time.
    vision_config = ResNetConfig(
        num_channels=1,
        embedding_size=32,
        hidden_sizes=[32, 64, 128],
        depths=[1, 2, 2],
        layer_type="basic",
    )
    text_config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=256,
        # So small a tower underfits; drawing the masks would take a third of its time.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return {"vision_config": vision_config, "text_config": text_config}


def base_towers(
    vision: Literal["resnet", "vit"], *, vocab_size: int, **text_kwargs: Any
) -> dict[str, PreTrainedConfig]:
    """
    ResNet-50 or ViT-B/16, and a BERT-base.

    Args:
        vision (`str`):
            `"resnet"` or `"vit"`.
        vocab_size (`int`):
            Entries of the tokenizer.
        text_kwargs (`dict`):
            Fields of `BertConfig` that differ from BERT-base.

    Returns:
        `dict`: `vision_config` and `text_config`.
    """
    if vision not in ("resnet", "vit"):
        raise ValueError(f'vision={vision!r} is not a tower of `base`; expected "resnet" or "vit".')
    vision_config = ResNetConfig() if vision == "resnet" else ViTConfig()
    return {"vision_config": vision_config, "text_config": BertConfig(vocab_size=vocab_size, **text_kwargs)}
