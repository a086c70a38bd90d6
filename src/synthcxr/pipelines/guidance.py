"""Classifier-free guidance: conditions side by side, and the step away from the unconditional image."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def repeat_condition(
    embeds: torch.Tensor, mask: torch.Tensor | None, num_images: int, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    One row per image, of one per prompt: images of a prompt follow each other.

    Args:
        embeds (`torch.Tensor` of shape `(num_prompts, length, dim)`): What the UNet reads.
        mask (`torch.Tensor` of shape `(num_prompts, length)`, *optional*): 1 for tokens.
        num_images (`int`): A multiple of `num_prompts`.
        device (`torch.device` or `str`): Where they go.

    Returns:
        `tuple`: Both, of `num_images` rows.

    Raises:
        ValueError: If no image is asked for.
    """
    times = num_images // len(embeds)
    if times < 1:
        raise ValueError(f"num_images_per_prompt is {times}; expected 1 or more.")
    mask = None if mask is None else mask.to(device).repeat_interleave(times, dim=0)
    return embeds.to(device).repeat_interleave(times, dim=0), mask


def join_conditions(
    negative_embeds: torch.Tensor,
    prompt_embeds: torch.Tensor,
    negative_mask: torch.Tensor | None = None,
    prompt_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    Negative prompts and prompts as one batch; the shorter ones are padded and masked.

    Args:
        negative_embeds (`torch.Tensor` of shape `(batch_size, negative_length, dim)`): Of the negative prompts.
        prompt_embeds (`torch.Tensor` of shape `(batch_size, length, dim)`): Of the prompts.
        negative_mask (`torch.Tensor` of shape `(batch_size, negative_length)`, *optional*): 1 for tokens.
        prompt_mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*): 1 for tokens.

    Returns:
        `tuple`: Embeddings of shape `(2 * batch_size, longest, dim)`, and a mask of shape `(2 * batch_size, longest)`
        or `None` where there is nothing to mask.
    """
    longest = max(negative_embeds.shape[1], prompt_embeds.shape[1])
    embeds = [F.pad(item, (0, 0, 0, longest - item.shape[1])) for item in (negative_embeds, prompt_embeds)]
    if negative_mask is None and prompt_mask is None and negative_embeds.shape[1] == prompt_embeds.shape[1]:
        return torch.cat(embeds), None
    masks = []
    for item, mask in ((negative_embeds, negative_mask), (prompt_embeds, prompt_mask)):
        mask = item.new_ones(item.shape[:2], dtype=torch.long) if mask is None else mask
        masks.append(F.pad(mask, (0, longest - mask.shape[1])))
    return torch.cat(embeds), torch.cat(masks)


def guide(predictions: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """
    Away from what is drawn without the prompt ([Ho and Salimans, 2022](https://huggingface.co/papers/2207.12598)).

    Args:
        predictions (`torch.Tensor` of shape `(2 * batch_size, num_channels, height, width)`): Unconditional first.
        guidance_scale (`float`): 1 is the conditional prediction.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_channels, height, width)`.
    """
    unconditional, conditional = predictions.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)
