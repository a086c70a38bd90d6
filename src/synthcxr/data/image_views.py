"""Images of rows to the values that a model sees: decoded, processed and remembered once, augmented in every draw."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from datasets import Image

from .transforms import RadiographAugmentation


# Cached pixels have 16 bits: all 256 levels of 8 bits are exact in them, and what resizing gives is within 1e-5.
_FULL = 65535


class ImageViews:
    """
    Images to `pixel_values`, in one or more augmentations.

    Args:
        image_processor (`BaseImageProcessor`): Resizes, rescales and normalises.
        augmentation (`RadiographAugmentation`, *optional*): Applied between the image processor's rescaling and its
            normalisation.
        cache_images (`bool`, *optional*, defaults to `False`): Keep the processed images in memory.
        cache_bytes (`int`, *optional*, defaults to 2 GiB): Images beyond it are processed anew in every epoch.

    Raises:
        ValueError: At a call, on pixels beyond 0 to 1.
    """

    def __init__(
        self,
        image_processor: Any,
        *,
        augmentation: RadiographAugmentation | None = None,
        cache_images: bool = False,
        cache_bytes: int = 2 * 1024**3,
    ) -> None:
        self.image_processor = image_processor
        self.augmentation = augmentation
        self.cache_images = cache_images
        self.cache_bytes = cache_bytes
        self._cache: dict[bytes, np.ndarray] = {}
        self._cached_bytes = 0

    def __call__(self, images: list[Any], seeds: torch.Tensor) -> torch.Tensor:
        """
        One stream of augmentation per view and image.

        Args:
            images (`list`): As `datasets` gives them, decoded or not.
            seeds (`torch.Tensor` of shape `(num_views, batch_size)` and dtype int64): Names the streams.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_views, channels, height, width)`; of one view, without its
            dimension.
        """
        return by_row(self._pixel_values(images, seeds), len(seeds))

    def _pixel_values(self, images: list[Any], seeds: torch.Tensor) -> torch.Tensor:
        """`(num_views * batch_size, channels, height, width)`, view by view."""
        image_processor = self.image_processor
        if self.augmentation is None and not self.cache_images:
            decoded = [_decode(image) for image in images]
            return image_processor(images=decoded, return_tensors="pt")["pixel_values"]

        pixels = np.stack(self._processed(images))
        num_channels = pixels.shape[1]
        # Copies of one grey image are augmented once.
        pixels = pixels if (pixels != pixels[:, :1]).any() else pixels[:, :1]
        values = torch.from_numpy(pixels.astype(np.float32)) / _FULL
        if self.augmentation is not None:
            values = torch.cat([self.augmentation(values, view_seeds) for view_seeds in seeds])
        values = values.expand(-1, num_channels, -1, -1)
        if image_processor.do_normalize:
            mean = torch.tensor(image_processor.image_mean).view(1, -1, 1, 1)
            deviation = torch.tensor(image_processor.image_std).view(1, -1, 1, 1)
            values = (values - mean) / deviation
        return values.contiguous()

    def _processed(self, images: list[Any]) -> list[np.ndarray]:
        """Everything that the image processor does but normalise, in 16 bits: `(channels, height, width)` each."""
        keys = [_content_key(image) if self.cache_images else None for image in images]
        found = [self._cache.get(key) for key in keys]
        missing = [index for index, values in enumerate(found) if values is None]
        if not missing:
            return found
        decoded = [_decode(images[index]) for index in missing]
        batch = self.image_processor(images=decoded, do_normalize=False, return_tensors="np")
        values = np.asarray(batch["pixel_values"], dtype=np.float32)
        if not -1e-4 < values.min() <= values.max() < 1 + 1e-4:
            raise ValueError(f"The image processor gives {values.min()} to {values.max()}; expected 0 to 1.")
        values = np.rint(values.clip(0, 1) * _FULL).astype(np.uint16)
        for index, image in zip(missing, values, strict=True):
            found[index] = self._remember(keys[index], image)
        return found

    def _remember(self, key: bytes | None, values: np.ndarray) -> np.ndarray:
        # Copies of one channel are stored once; a view repeats them.
        stored = values if (values != values[:1]).any() else values[:1]
        if key is not None and self._cached_bytes + stored.nbytes <= self.cache_bytes:
            stored = stored.copy()  # a view would keep the whole batch alive
            self._cache[key] = np.broadcast_to(stored, values.shape)
            self._cached_bytes += stored.nbytes
        return values


def by_row(values: torch.Tensor, num_views: int) -> torch.Tensor:
    """`(num_views * batch_size, ...)` to `(batch_size, num_views, ...)`; one view stays as it is."""
    return values if num_views == 1 else values.unflatten(0, (num_views, -1)).transpose(0, 1).contiguous()


def _decode(image: Any) -> Any:
    """A PIL image from what `datasets` gives, decoded or not."""
    return Image(mode="L").decode_example(image) if isinstance(image, Mapping) else image


def _content_key(image: Any) -> bytes | None:
    """Names the pixels, whatever row or dataset they are in; nothing for an image that is already decoded."""
    if not isinstance(image, Mapping):
        return None
    return hashlib.blake2b(image["bytes"] or str(image["path"]).encode(), digest_size=16).digest()
