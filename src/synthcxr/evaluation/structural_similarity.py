"""Multi-scale structural similarity (Wang et al., 2003): how alike images are to the eye, for want of variety."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset


# The weights of the paper's five scales, and its window.
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _DEVIATION = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def num_scales(height: int, width: int) -> int:
    """Scales, up to five, whose images still hold the window: 3 at 64 pixels, 5 from 176."""
    scales = [scale for scale in range(len(_WEIGHTS)) if min(height, width) >> scale >= _WINDOW]
    if not scales:
        raise ValueError(f"An image is {width}x{height}; expected {_WINDOW} pixels a side at least.")
    return len(scales)


def ms_ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """
    MS-SSIM of every image with the image of the same row.

    Small images have fewer scales, see [`num_scales`]; the weights of those that are left are made to sum to 1 again,
    so values of different image sizes do not compare. Contrast terms below 0 count as 0.

    Args:
        first (`torch.Tensor` of shape `(batch_size, height, width)`):
            Grey values of 0 to 1; integers, whose differences would wrap, are refused.
        second (`torch.Tensor` of shape `(batch_size, height, width)`):
            The others.

    Returns:
        `torch.Tensor` of shape `(batch_size,)`: 0 to 1; 1 for equal images.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.evaluation.structural_similarity import ms_ssim

    >>> image = torch.linspace(0, 1, 64 * 64).view(1, 64, 64)
    >>> ms_ssim(image, image)
    tensor([1.])

    ```
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(
            f"Images have the shapes {tuple(first.shape)} and {tuple(second.shape)}; "
            "expected (batch_size, height, width) of both."
        )
    if not (first.is_floating_point() and second.is_floating_point()):
        raise ValueError(f"Images are of type {first.dtype} and {second.dtype}; expected floats of 0 to 1.")
    scales = num_scales(*first.shape[1:])
    weights = torch.tensor(_WEIGHTS[:scales], dtype=first.dtype, device=first.device)
    weights /= weights.sum()
    both = torch.stack([first, second]).to(first.dtype)  # (2, batch_size, height, width)
    result = torch.ones(len(first), dtype=first.dtype, device=first.device)
    for scale, weight in enumerate(weights):
        luminance, contrast = similarity_terms(*both)
        term = contrast if scale < scales - 1 else luminance * contrast
        result *= term.mean(dim=(1, 2)).clamp(min=0) ** weight
        both = F.avg_pool2d(both, 2)
    return result


def similarity_terms(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The two terms of SSIM at every place where the window fits.

    Args:
        first, second (`torch.Tensor` of shape `(..., height, width)`): Grey values of 0 to 1.

    Returns:
        `tuple`: Luminance, and contrast times structure, of shape `(..., height - 10, width - 10)`.
    """
    means = _blur(torch.stack([first, second, first * first, second * second, first * second]))
    first_mean, second_mean, first_square, second_square, product = means
    covariance = product - first_mean * second_mean
    variances = first_square - first_mean**2 + second_square - second_mean**2
    luminance = (2 * first_mean * second_mean + _C1) / (first_mean**2 + second_mean**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


def mean_similarity(dataset: Dataset, pairs: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """
    MS-SSIM of pairs of rows.

    Args:
        dataset (`Dataset`): Has `image`, all of one size.
        pairs (`np.ndarray` of shape `(num_pairs, 2)`): Rows.
        batch_size (`int`, *optional*, defaults to 64): Pairs decoded at a time.

    Returns:
        `np.ndarray` of shape `(num_pairs,)`: One value per pair.
    """
    images = dataset.select_columns(["image"])
    values = []
    for start in range(0, len(pairs), batch_size):
        some = pairs[start : start + batch_size]
        first, second = (_grey(images[rows.tolist()]["image"]) for rows in some.T)
        values.append(ms_ssim(first, second).numpy())
    return np.concatenate(values) if values else np.empty(0)


def draw_pairs(groups: Sequence[Hashable], *, within: bool, num_pairs: int, seed: int) -> np.ndarray:
    """
    Random pairs of rows of one group, or of different groups.

    Args:
        groups (sequence of `num_rows` values): The prompt of each row.
        within (`bool`): Both rows of a pair have the same prompt; otherwise they differ.
        num_pairs (`int`): At most so many; there are fewer where fewer exist.
        seed (`int`): Of the draw.

    Returns:
        `np.ndarray` of shape `(up to num_pairs, 2)`: Pairs that differ; empty where there is none.
    """
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.array([str(value) for value in groups]), return_inverse=True)
    if within:
        order = rng.permutation(len(group))
        order = order[np.argsort(group[order], kind="stable")]
        # Neighbours in an order by group: every prompt gives as many pairs as it has images, less one.
        pairs = np.stack([order[:-1], order[1:]], axis=1)
        pairs = pairs[group[pairs[:, 0]] == group[pairs[:, 1]]]
        return rng.permutation(pairs)[:num_pairs]
    pairs = np.sort(rng.integers(len(group), size=(4 * num_pairs, 2)), axis=1)
    pairs = np.unique(pairs[group[pairs[:, 0]] != group[pairs[:, 1]]], axis=0)
    return rng.permutation(pairs)[:num_pairs]


def _blur(images: torch.Tensor) -> torch.Tensor:
    """A Gaussian window, where it fits: `(..., height, width)` to ten rows and columns fewer."""
    offsets = torch.arange(_WINDOW, dtype=images.dtype, device=images.device) - _WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * _DEVIATION**2))
    window /= window.sum()
    flat = images.flatten(0, -3).unsqueeze(1)
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.view(*images.shape[:-2], *flat.shape[-2:])


def _grey(images: Sequence) -> torch.Tensor:
    """PIL images to `(num_images, height, width)`, 0 to 1, from 8 or 16 bits."""
    if len({image.size for image in images}) > 1:
        raise ValueError("The images differ in size; MS-SSIM compares images of one size.")
    arrays = [
        np.asarray(image, dtype=np.float32) / 65535
        if image.mode.startswith("I")
        else np.asarray(image.convert("L"), dtype=np.float32) / 255
        for image in images
    ]
    return torch.from_numpy(np.stack(arrays))
