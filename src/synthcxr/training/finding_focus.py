"""More of the loss where the masks say that a finding is: a nodule is a thousandth of its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..data.image_views import ImageViews
from ..models import CxrImageProcessor


# Findings below a hundredth of the image weigh as if they had one: where a nodule will be is not known while there is
# little but noise, and the more it weighs, the more a denoiser hedges with several faint ones.
_SMALLEST_SHARE = 0.01


class FindingFocus:
    """
    How much every pixel weighs in the loss: `1 + strength / sqrt(share)` inside a finding that covers this share of
    the image, one pixel of its surroundings included, and 1 elsewhere; the largest where findings overlap.

    A finding's part of the loss then grows with the root of its size and not with its size. Simulated pairs come with
    exact masks; a pair without masks weighs 1 everywhere.

    Args:
        strength (`float`): 0 for 1 everywhere.
        image_size (`int`): Side of the square images.
        pixel_fold (`int`, *optional*): As of the latents; an autoencoder's latents without it.
    """

    def __init__(self, strength: float, *, image_size: int, pixel_fold: int | None) -> None:
        self.strength = strength
        self.image_size = image_size
        self.pixel_fold = pixel_fold
        self.masks = ImageViews(CxrImageProcessor(size=image_size))  # moves masks as it moves images

    def __call__(self, rows: Sequence[Mapping[str, Any]], latents: torch.Tensor) -> torch.Tensor:
        """
        Weights of a batch.

        Args:
            rows (`Sequence[Mapping]`): With `objects`, as [`~synthcxr.data.DrawnDataset`] gives them with masks.
            latents (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`): Of these rows.

        Returns:
            `torch.Tensor` that broadcasts to the latents.
        """
        weights = 1 + self.strength * self._densities(rows)
        if self.pixel_fold is not None:
            return F.pixel_unshuffle(weights, self.pixel_fold)
        return F.adaptive_max_pool2d(weights, latents.shape[-2:])

    def _densities(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        """`(batch_size, 1, image_size, image_size)`."""
        found = ((place, mask) for place, row in enumerate(rows) for mask in (row["objects"] or {}).get("mask") or ())
        masks = [(place, mask) for place, mask in found if mask is not None]  # boxes may come without
        densities = torch.zeros(len(rows), 1, self.image_size, self.image_size)
        if not masks:
            return densities
        places, images = zip(*masks, strict=True)
        inside = (self.masks(list(images), torch.zeros(1, len(images), dtype=torch.int64)) + 1) / 2
        inside = F.max_pool2d(inside, kernel_size=3, stride=1, padding=1)
        shares = inside.mean(dim=(1, 2, 3), keepdim=True).clamp(min=_SMALLEST_SHARE)
        weights = inside * shares.rsqrt()
        return densities.scatter_reduce_(0, torch.tensor(places).view(-1, 1, 1, 1).expand_as(weights), weights, "amax")
