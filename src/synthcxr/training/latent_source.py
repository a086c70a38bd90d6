"""Where training takes its latents from: folded pixels at every draw, or an autoencoder that sees each image once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from ..data.collators import DrawnDataset
from ..data.image_views import ImageViews
from ..models import CxrImageProcessor
from ..pipelines.image_codec import encode_images


_IMAGES_FOR_STATISTICS = 2048


class PixelLatents:
    """
    Images to normalised folded pixels.

    Args:
        image_size (`int`): Side of the square images.
        pixel_fold (`int`): Pixels a side that become channels.
        pixel_mean, pixel_std (`float`): Grey values' statistics, on the scale of -1 to 1.
    """

    def __init__(self, *, image_size: int, pixel_fold: int, pixel_mean: float, pixel_std: float) -> None:
        self.images = grey_images(image_size)
        self.codec = {"pixel_fold": pixel_fold, "pixel_mean": pixel_mean, "pixel_std": pixel_std}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        """`(batch_size, pixel_fold ** 2, height, width)` of rows with an `image`."""
        return encode_images(_pixels(self.images, rows), **self.codec)


class CachedLatents:
    """
    The latents of an autoencoder, each image encoded once and kept on disk as 16-bit numbers.

    Args:
        rows (`datasets.Dataset`): Pairs.
        vae (`AutoencoderKL`): On the device that encodes.
        image_size (`int`): Side of the square images.
        path (`Path`): File of the cache; it is written under another name until it is whole.
        batch_size (`int`): Images encoded at once.
        progress (`bool`): Show a progress bar.
    """

    def __init__(
        self, rows: Dataset, vae: Any, *, image_size: int, path: Path, batch_size: int, progress: bool = True
    ) -> None:
        if not path.exists():
            _encode_all(rows, vae, grey_images(image_size), path, batch_size=batch_size, progress=progress)
        self.latents = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(self.latents) != len(rows):
            raise ValueError(f"{path} holds {len(self.latents)} latents for {len(rows)} pairs; delete it.")

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        """`(batch_size, num_channels, height, width)` of rows with an `index`."""
        return torch.from_numpy(self.latents[[row["index"] for row in rows]]).float()


class EncodedLatents:
    """
    The latents of an autoencoder, encoded at every draw.

    Args:
        vae (`AutoencoderKL`): On the device that encodes.
        image_size (`int`): Side of the square images.
    """

    def __init__(self, vae: Any, *, image_size: int) -> None:
        self.vae = vae
        self.images = grey_images(image_size)

    @torch.no_grad()
    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        """`(batch_size, num_channels, height, width)` of rows with an `image`."""
        return encode_images(_pixels(self.images, rows).to(self.vae.device), vae=self.vae).float().cpu()


def grey_images(image_size: int) -> ImageViews:
    """Images of rows to grey values of -1 to 1 and the shape `(batch_size, 1, image_size, image_size)`."""
    return ImageViews(CxrImageProcessor(size=image_size), cache_images=True)


def pixel_statistics(rows: Dataset, *, image_size: int) -> tuple[float, float]:
    """
    Mean and standard deviation of the grey values, on the scale of -1 to 1, of images spread over the rows.

    Args:
        rows (`datasets.Dataset`): Pairs.
        image_size (`int`): Side of the square images.
    """
    indices = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _IMAGES_FOR_STATISTICS)).astype(int))
    pixels = _pixels(grey_images(image_size), DrawnDataset(rows).__getitems__(indices.tolist()))
    return round(float(pixels.mean()), 4), round(float(pixels.std()), 4)


def _pixels(images: ImageViews, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    return images([row["image"] for row in rows], torch.zeros(1, len(rows), dtype=torch.int64))


@torch.no_grad()
def _encode_all(rows: Dataset, vae: Any, images: ImageViews, path: Path, *, batch_size: int, progress: bool) -> None:
    draws = DrawnDataset(rows)
    temporary = path.with_name(f".{path.name}.tmp.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    images.cache_images = False
    store = None
    for start in tqdm(range(0, len(rows), batch_size), desc="latents", disable=not progress):
        batch = draws.__getitems__(list(range(start, min(start + batch_size, len(rows)))))
        latents = encode_images(_pixels(images, batch).to(vae.device), vae=vae).half().cpu().numpy()
        if store is None:
            shape = (len(rows), *latents.shape[1:])
            store = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        store[start : start + len(latents)] = latents
    store.flush()
    temporary.replace(path)
