"""Between radiographs and what the UNet sees: the latents of an autoencoder, or pixels folded into channels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def encode_images(
    pixel_values: torch.Tensor,
    *,
    vae: Any = None,
    pixel_fold: int = 1,
    pixel_mean: float = 0.0,
    pixel_std: float = 1.0,
) -> torch.Tensor:
    """
    Grey images to what a generator learns to draw.

    Args:
        pixel_values (`torch.Tensor` of shape `(batch_size, 1, height, width)`): Grey values, -1 to 1.
        vae (`AutoencoderKL`, *optional*): Its latents, the mode of each, are drawn; the next three count without one.
        pixel_fold (`int`, *optional*, defaults to 1): Squares of so many pixels become the channels of one place.
        pixel_mean (`float`, *optional*, defaults to 0.0): Mean grey value of the training images.
        pixel_std (`float`, *optional*, defaults to 1.0): Their standard deviation.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_channels, latent_height, latent_width)`.
    """
    if vae is None:
        return (F.pixel_unshuffle(pixel_values, pixel_fold) - pixel_mean) / pixel_std
    images = pixel_values.expand(-1, vae.config.in_channels, -1, -1).to(vae.dtype)
    return (vae.encode(images).latent_dist.mode() - _shift(vae)) * vae.config.scaling_factor


def decode_latents(
    latents: torch.Tensor,
    *,
    vae: Any = None,
    pixel_fold: int = 1,
    pixel_mean: float = 0.0,
    pixel_std: float = 1.0,
) -> torch.Tensor:
    """
    The inverse of [`encode_images`]; the colours of an autoencoder of photographs are averaged to grey.

    Args:
        latents (`torch.Tensor` of shape `(batch_size, num_channels, latent_height, latent_width)`): Drawn.
        vae, pixel_fold, pixel_mean, pixel_std: As they were encoded.

    Returns:
        `torch.Tensor` of shape `(batch_size, 1, height, width)`, `torch.float32`: Grey values, -1 to 1 or, of
        pixels, little beyond.
    """
    if vae is None:
        return F.pixel_shuffle(latents.float() * pixel_std + pixel_mean, pixel_fold)
    latents = latents / vae.config.scaling_factor + _shift(vae)
    colours = vae.decode(latents.to(vae.dtype)).sample.float()
    return colours.clamp(-1, 1).mean(dim=1, keepdim=True)


def _shift(vae: Any) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0
