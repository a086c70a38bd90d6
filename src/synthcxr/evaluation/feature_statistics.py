"""
Distances between two sets of images in the space of an encoder: FID, KID, precision, recall, density and coverage.

Everything is computed in blocks, so memory does not grow with the square of the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .nearest_images import check_features, distance_blocks, nearest_images


_BLOCK_ROWS = 2048


@dataclass(frozen=True)
class KernelDistance:
    """
    KID with its uncertainty.

    Args:
        value (`float`): The unbiased estimate; below 0 by chance where the two sets are alike.
        standard_error (`float`): Of the value, by a jackknife over blocks of images.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class ManifoldOverlap:
    """
    How two sets of images lie in each other, with balls around every image that reach its k-th neighbour.

    Args:
        precision (`float`): Share of generated images within the ball of a reference image.
        recall (`float`): Share of reference images within the ball of a generated image.
        density (`float`): Reference balls around a generated image over `k`; above 1 where they crowd.
        coverage (`float`): Share of reference images with a generated image in their ball.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """
    Frechet distance of the normal distributions fitted to two sets of features (FID; Heusel et al., 2017).

    The trace of the square root of the product of the covariances is the sum of the roots of the eigenvalues of a
    symmetric matrix: no `sqrtm`, no imaginary part, and singular covariances (fewer images than features) are fine. It
    is biased upwards, the more the fewer the images: compare only values of equal numbers.

    Args:
        first (`np.ndarray` of shape `(num_first, dim)`): Features, two rows or more.
        second (`np.ndarray` of shape `(num_second, dim)`): Features, two rows or more.

    Returns:
        `float`: 0 or more.

    Example:

    ```python
    >>> import numpy as np
    >>> from synthcxr.evaluation.feature_statistics import frechet_distance

    >>> cloud = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(frechet_distance(cloud, cloud + [3.0, 0.0, 4.0]), 6)
    25.0

    ```
    """
    check_features(first, second)
    if min(len(first), len(second)) < 2:
        raise ValueError(f"{len(first)} and {len(second)} images; a covariance needs two of each.")
    first_mean, first_covariance = _moments(first)
    second_mean, second_covariance = _moments(second)
    values, vectors = np.linalg.eigh(first_covariance)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second_covariance @ root).clip(min=0)).sum()
    trace = np.trace(first_covariance) + np.trace(second_covariance)
    return float(max(0.0, ((first_mean - second_mean) ** 2).sum() + trace - 2 * shared))


def kernel_distance(first: np.ndarray, second: np.ndarray, *, num_blocks: int = 20, seed: int = 0) -> KernelDistance:
    """
    Squared maximum mean discrepancy with the kernel `(x . y / dim + 1) ** 3` (KID; Binkowski et al., 2018).

    All pairs count, once: the estimate is unbiased and steadier than the usual mean over random subsets. The error
    comes from leaving out one block of images after the other, so that every estimate behind it is of a proper subset.

    Args:
        first (`np.ndarray` of shape `(num_first, dim)`): Features.
        second (`np.ndarray` of shape `(num_second, dim)`): Features.
        num_blocks (`int`, *optional*, defaults to 20): Blocks of the jackknife; both sets have two images per block or
            more.
        seed (`int`, *optional*, defaults to 0): Of what is in which block.

    Returns:
        `KernelDistance`
    """
    check_features(first, second)
    if num_blocks < 2 or 2 * num_blocks > min(len(first), len(second)):
        raise ValueError(
            f"num_blocks is {num_blocks} for {len(first)} and {len(second)} images; expected 2 to half as many."
        )
    rng = np.random.default_rng(seed)
    first, second = (np.array_split(rng.permutation(features), num_blocks) for features in (first, second))
    within_first, within_second = _kernel_sums(first, first), _kernel_sums(second, second)
    between = _kernel_sums(first, second)
    # An image is no pair with itself.
    within_first[np.diag_indices(num_blocks)] -= [_self_sum(block) for block in first]
    within_second[np.diag_indices(num_blocks)] -= [_self_sum(block) for block in second]
    num_first, num_second = np.array([len(block) for block in first]), np.array([len(block) for block in second])

    def estimate(kept: np.ndarray) -> float:
        pairs = np.ix_(kept, kept)
        m, n = num_first[kept].sum(), num_second[kept].sum()
        alike = within_first[pairs].sum() / (m * (m - 1)) + within_second[pairs].sum() / (n * (n - 1))
        return alike - 2 * between[pairs].sum() / (m * n)

    everything = np.arange(num_blocks)
    left_out = np.array([estimate(np.delete(everything, block)) for block in everything])
    variance = (num_blocks - 1) / num_blocks * ((left_out - left_out.mean()) ** 2).sum()
    return KernelDistance(float(estimate(everything)), float(np.sqrt(variance)))


def manifold_overlap(reference: np.ndarray, generated: np.ndarray, *, k: int = 5) -> ManifoldOverlap:
    """
    Improved precision and recall (Kynkaanniemi et al., 2019), density and coverage (Naeem et al., 2020).

    A ball holds its rim: of two equal sets each covers the other.

    Args:
        reference (`np.ndarray` of shape `(num_reference, dim)`): Features.
        generated (`np.ndarray` of shape `(num_generated, dim)`): Features.
        k (`int`, *optional*, defaults to 5): The neighbour, not counting the image itself, that a ball reaches.

    Returns:
        `ManifoldOverlap`
    """
    check_features(reference, generated)
    if not 1 <= k < min(len(reference), len(generated)):
        raise ValueError(f"k is {k}; expected 1 or more and fewer than {min(len(reference), len(generated))} images.")
    reference_reach, generated_reach = (_squared_radii(features, k) for features in (reference, generated))
    balls = torch.zeros(len(generated), dtype=torch.int64)  # reference balls around each generated image
    held = torch.zeros(len(reference), dtype=torch.bool)  # in the ball of a generated image
    covered = torch.zeros(len(reference), dtype=torch.bool)
    for start, first, squares in distance_blocks(reference, generated, reference.mean(axis=0, dtype=np.float64)):
        rows, columns = slice(start, start + len(squares)), slice(first, first + squares.shape[1])
        inside = squares <= reference_reach[rows, None]
        balls[columns] += inside.sum(dim=0)
        covered[rows] |= inside.any(dim=1)
        held[rows] |= (squares <= generated_reach[columns]).any(dim=1)
    return ManifoldOverlap(
        precision=(balls > 0).double().mean().item(),
        recall=held.double().mean().item(),
        density=balls.double().mean().item() / k,
        coverage=covered.double().mean().item(),
    )


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance, in double precision whatever the features have."""
    mean = features.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), _BLOCK_ROWS):
        centred = features[start : start + _BLOCK_ROWS] - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(features) - 1)


def _kernel_sums(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """The kernel summed over the pairs of every two blocks: `(num_blocks, num_blocks)`."""
    if first is second:
        sums = np.zeros((len(first), len(first)))
        for row, block in enumerate(first):
            for column in range(row, len(first)):
                sums[row, column] = sums[column, row] = _kernel_sum(block, first[column])
        return sums
    return np.array([[_kernel_sum(block, other) for other in second] for block in first])


def _kernel_sum(first: np.ndarray, second: np.ndarray) -> float:
    total = 0.0
    for start in range(0, len(first), _BLOCK_ROWS):
        for begin in range(0, len(second), _BLOCK_ROWS):
            rows, columns = first[start : start + _BLOCK_ROWS], second[begin : begin + _BLOCK_ROWS]
            products = rows.astype(np.float64) @ columns.astype(np.float64).T
            kernel = products / rows.shape[1] + 1
            total += float((kernel * kernel * kernel).sum())
    return total


def _self_sum(block: np.ndarray) -> float:
    squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
    return float(((squares / block.shape[1] + 1) ** 3).sum())


def _squared_radii(features: np.ndarray, k: int) -> torch.Tensor:
    # Among its neighbours an image finds itself, or its equal, first.
    radii = nearest_images(features, features, k=k + 1).distances[:, k]
    # What is exactly on the rim must not fall out of it by the rounding of the blocks.
    return torch.from_numpy(radii**2 * (1 + 1e-5)).float()
