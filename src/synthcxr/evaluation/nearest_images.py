"""Nearest neighbours, exact and in blocks: of manifolds their radii, of a generated image its training image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from PIL import Image

from .encoder import image_batches


# Of the squared distances that are in memory at a time.
_BLOCK_ROWS, _BLOCK_COLUMNS = 1024, 8192


@dataclass(frozen=True)
class Neighbours:
    """
    The nearest rows of another set.

    Args:
        distances (`np.ndarray` of shape `(num_rows, k)`): Euclidean, ascending, float64.
        indices (`np.ndarray` of shape `(num_rows, k)`): Rows of the other set.
    """

    distances: np.ndarray
    indices: np.ndarray


@dataclass(frozen=True)
class Memorisation:
    """
    How close generated images come to training images, against how close images do that were never trained on.

    Args:
        neighbours (`Neighbours`): Of every generated image the nearest training image.
        threshold (`float`): The quantile of the held-out images' distances to their nearest training image.
        quantile (`float`): Which one.
        num_nearer (`int`): Generated images that are nearer than the threshold.
        median_ratio (`float`): Median distance of the generated images over that of the held-out ones; far below 1 is
            a sign of copying, above 1 of images unlike the training's.
    """

    neighbours: Neighbours
    threshold: float
    quantile: float
    num_nearer: int
    median_ratio: float

    @property
    def share_nearer(self) -> float:
        """Of the generated images; about `quantile` where they are as new as held-out ones."""
        return self.num_nearer / len(self.neighbours.distances)


def nearest_images(queries: np.ndarray, references: np.ndarray, *, k: int = 1) -> Neighbours:
    """
    The `k` nearest rows of `references` of every row of `queries`, by exhaustive search in bounded memory.

    Candidates come from matrix products in float32; their distances are then taken again as differences in float64, so
    that a copy is at distance 0.

    Args:
        queries (`np.ndarray` of shape `(num_queries, dim)`): Features.
        references (`np.ndarray` of shape `(num_references, dim)`): Features, `k` rows or more.
        k (`int`, *optional*, defaults to 1): How many.

    Returns:
        `Neighbours`
    """
    check_features(queries, references)
    if not 1 <= k <= len(references):
        raise ValueError(f"k is {k}; expected 1 to {len(references)}, the number of rows to search.")
    centre = references.mean(axis=0, dtype=np.float64)
    num_candidates = min(len(references), k + 4)
    indices = np.empty((len(queries), k), dtype=np.int64)
    distances = np.empty((len(queries), k))
    blocks = distance_blocks(queries, references, centre)
    for start in range(0, len(queries), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        best = _smallest(blocks, len(queries[rows]), num_candidates, len(references))
        exact = queries[rows, None].astype(np.float64) - references[best]
        exact = np.sqrt(np.einsum("ijk,ijk->ij", exact, exact))
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        indices[rows] = np.take_along_axis(best, order, axis=1)
    return Neighbours(distances, indices)


def distance_blocks(
    queries: np.ndarray, references: np.ndarray, centre: np.ndarray
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """
    Squared distances of all queries to all references, block by block, rows before columns.

    Args:
        queries (`np.ndarray` of shape `(num_queries, dim)`): Features.
        references (`np.ndarray` of shape `(num_references, dim)`): Features.
        centre (`np.ndarray` of shape `(dim,)`): Subtracted from both: large common parts would eat up the digits.

    Yields:
        `tuple`: First row, first column and the block, float32.
    """
    for start in range(0, len(queries), _BLOCK_ROWS):
        rows = torch.from_numpy((queries[start : start + _BLOCK_ROWS] - centre).astype(np.float32))
        row_norms = rows.square().sum(dim=1, keepdim=True)
        for first in range(0, len(references), _BLOCK_COLUMNS):
            columns = torch.from_numpy((references[first : first + _BLOCK_COLUMNS] - centre).astype(np.float32))
            squares = torch.addmm(columns.square().sum(dim=1), rows, columns.T, alpha=-2).add_(row_norms)
            yield start, first, squares.clamp_(min=0)


def measure_memorisation(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, *, quantile: float = 0.001
) -> Memorisation:
    """
    Compare how near generated images are to training images with how near held-out images are to them.

    Args:
        generated (`np.ndarray` of shape `(num_generated, dim)`): Features.
        training (`np.ndarray` of shape `(num_training, dim)`): Features of what the generator was trained on.
        held_out (`np.ndarray` of shape `(num_held_out, dim)`): Features of images of the same kind that it was not.
        quantile (`float`, *optional*, defaults to 0.001): Of the held-out distances; nearer is suspicious.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile is {quantile}; expected a number between 0 and 1.")
    neighbours = nearest_images(generated, training)
    usual = nearest_images(held_out, training).distances[:, 0]
    nearest = neighbours.distances[:, 0]
    # An observed distance, not one between two: with few held-out images the smallest of them.
    threshold = float(np.quantile(usual, quantile, method="inverted_cdf"))
    ratio = float(np.median(nearest) / max(np.median(usual), np.finfo(np.float64).tiny))
    return Memorisation(neighbours, threshold, quantile, int((nearest < threshold).sum()), ratio)


def thumbnails(dataset: Dataset, *, size: int = 32, batch_size: int = 256, progress: bool = False) -> np.ndarray:
    """
    Images as small grey vectors, to compare pixels: `(num_rows, size * size)`, float32, mean 0 and deviation 1 each.

    A copy is found whatever its brightness and contrast, which features of a classifier may not see at all.

    Args:
        dataset (`Dataset`): Has `image`.
        size (`int`, *optional*, defaults to 32): Side in pixels.
        batch_size (`int`, *optional*, defaults to 256): Images decoded at a time.
        progress (`bool`, *optional*, defaults to `False`): Show a progress bar.
    """
    rows = []
    for images in image_batches(dataset, batch_size, progress=progress):
        small = [image.convert("F").resize((size, size), Image.Resampling.BOX) for image in images]
        rows.append(np.stack([np.asarray(image, dtype=np.float32).ravel() for image in small]))
    pixels = np.concatenate(rows)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(pixels.std(axis=1, keepdims=True), 1e-3)


def check_features(*features: np.ndarray) -> None:
    """
    Refuse features that cannot be compared.

    Raises:
        ValueError: Unless all have the shape `(num_rows, dim)` with one `dim`, rows and finite numbers.
    """
    shapes = [values.shape for values in features]
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or len({shape[1] for shape in shapes}) > 1:
        raise ValueError(f"features have the shapes {shapes}; expected (num_rows, dim), one dim, a row at least.")
    if not all(np.isfinite(values).all() for values in features):
        raise ValueError("Some features are not finite.")


def _smallest(
    blocks: Iterator[tuple[int, int, torch.Tensor]], num_rows: int, num_candidates: int, num_columns: int
) -> np.ndarray:
    """Columns of the smallest distances of the next rows of blocks: `(num_rows, num_candidates)`."""
    best = torch.full((num_rows, num_candidates), torch.inf)
    places = torch.zeros((num_rows, num_candidates), dtype=torch.int64)
    for _, first, squares in blocks:
        found, columns = squares.topk(min(num_candidates, squares.shape[1]), dim=1, largest=False)
        merged, order = torch.cat([best, found], dim=1).topk(num_candidates, dim=1, largest=False)
        places = torch.cat([places, columns + first], dim=1).gather(1, order)
        best = merged
        if first + squares.shape[1] == num_columns:
            break
    return places.numpy()
