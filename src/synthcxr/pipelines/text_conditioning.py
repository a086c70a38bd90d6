"""Prompts to what the UNet's cross-attention reads, for the text encoders that generators come with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def tokenize_prompts(texts: Sequence[str], tokenizer: Any, text_encoder: Any) -> dict[str, torch.Tensor]:
    """
    Texts to the text encoder's inputs.

    CLIP reads its whole window without a mask, padding included, because Stable Diffusion was trained so. Others are
    padded to the longest text, and the mask keeps the padding out of everything.

    Args:
        texts (`Sequence[str]`): Prompts; the empty one stands for no condition.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        text_encoder (`PreTrainedModel`): Of the generator.

    Returns:
        `dict`: `input_ids` of shape `(batch_size, length)`, and `attention_mask` alike but for CLIP.
    """
    whole_window = reads_whole_window(text_encoder)
    tokens = tokenizer(
        list(texts),
        padding="max_length" if whole_window else "longest",
        truncation=True,
        max_length=token_window(tokenizer, text_encoder),
        return_tensors="pt",
    )
    return {name: tokens[name] for name in (("input_ids",) if whole_window else ("input_ids", "attention_mask"))}


def encode_tokens(
    input_ids: torch.Tensor, text_encoder: Any, *, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """
    The last hidden states of a text encoder.

    Args:
        input_ids (`torch.Tensor` of shape `(batch_size, length)`): As [`tokenize_prompts`] gives them.
        text_encoder (`PreTrainedModel`): CLIP's, or one of the BERT family.
        attention_mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*): 1 for tokens, 0 for padding.

    Returns:
        `torch.Tensor` of shape `(batch_size, length, dim)`.
    """
    return text_encoder(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state


def encode_prompts(
    texts: Sequence[str], tokenizer: Any, text_encoder: Any, *, device: torch.device | str | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    Texts to what the UNet reads.

    Args:
        texts (`Sequence[str]`): Prompts; the empty one stands for no condition.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        text_encoder (`PreTrainedModel`): Of the generator.
        device (`torch.device` or `str`, *optional*): Where it computes; where its weights are if not given, which is
            no place at all while they are offloaded.

    Returns:
        `tuple`: Embeddings of shape `(batch_size, length, dim)` and a mask of shape `(batch_size, length)`, `None` for
        CLIP.
    """
    tokens = {
        name: values.to(text_encoder.device if device is None else device)
        for name, values in tokenize_prompts(texts, tokenizer, text_encoder).items()
    }
    mask = tokens.get("attention_mask")
    return encode_tokens(tokens["input_ids"], text_encoder, attention_mask=mask), mask


def unet_conditions(unet: Any, embeds: torch.Tensor, mask: torch.Tensor | None) -> dict[str, torch.Tensor | None]:
    """
    What a UNet is told of the prompts, as arguments of its `forward`.

    One with `class_embed_type="projection"` is also told the mean of the tokens: it joins the time, so that all layers
    at all places know at once what is asked for, and cross-attention adds what a mean cannot say.

    Args:
        unet (`UNet2DConditionModel`): Its configuration says what it takes.
        embeds (`torch.Tensor` of shape `(batch_size, length, dim)`): Of [`encode_prompts`].
        mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*): 1 for tokens, 0 for padding.

    Returns:
        `dict`: `encoder_hidden_states`, `encoder_attention_mask`, and `class_labels` of shape `(batch_size, dim)`
            where the UNet takes them.
    """
    conditions = {"encoder_hidden_states": embeds, "encoder_attention_mask": mask}
    if unet.config.class_embed_type == "projection":
        conditions["class_labels"] = mean_token(embeds, mask)
    return conditions


def mean_token(embeds: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """
    The mean of the tokens of a text.

    Args:
        embeds (`torch.Tensor` of shape `(batch_size, length, dim)`): Of [`encode_prompts`].
        mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*): 1 for tokens, 0 for padding.

    Returns:
        `torch.Tensor` of shape `(batch_size, dim)`.
    """
    if mask is None:
        return embeds.mean(dim=1)
    weights = (mask / mask.sum(dim=1, keepdim=True).clamp(min=1)).to(embeds.dtype)
    return torch.einsum("bl,bld->bd", weights, embeds)


def token_window(tokenizer: Any, text_encoder: Any) -> int:
    """Tokens of a prompt that are read, special ones included."""
    config = text_encoder.config
    positions = getattr(config, "max_position_embeddings", tokenizer.model_max_length)  # not all encoders have a limit
    # RoBERTa's family counts its positions from the padding token's number on.
    offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    return min(tokenizer.model_max_length, positions - offset)


def reads_whole_window(text_encoder: Any) -> bool:
    """Whether padding takes part, as in CLIP."""
    return text_encoder.config.model_type.startswith("clip")


def load_text_encoder(path: str) -> Any:
    """
    The encoder of a text model, CLIP's text half included.

    Args:
        path (`str`): Folder or id on the Hub.
    """
    from transformers import AutoConfig, AutoModel, CLIPTextModel

    is_clip = AutoConfig.from_pretrained(path).model_type.startswith("clip")
    return (CLIPTextModel if is_clip else AutoModel).from_pretrained(path)
