"""How far a reconstructed radiograph is from its original: what an autoencoder learns from, and what is said of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F


_WINDOW_SIZE = 11
_WINDOW_DEVIATION = 1.5
_NUM_SCALES = 5
_CONTRAST_FLOOR = 0.03**2


def structure_loss(images: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
    """
    What two images differ by in contrast and structure, averaged over scales: 0 (nothing) to 2.

    Local covariance is divided by local contrast, so that faint lung markings count as much as the edge of a rib. L1
    alone gives them up first. After the loss of Zhao et al. (IEEE TCI 2017, arXiv 1511.08861), with a mean over the
    scales in place of a product, whose gradient vanishes where one scale has nothing in common yet.

    Args:
        images (`torch.Tensor` of shape `(batch_size, channels, height, width)`):
            Values of 0 to 1; at least 11 pixels high and wide.
        reconstructions (`torch.Tensor` of the same shape):
            Values of about 0 to 1.

    Returns:
        `torch.Tensor` of shape `(batch_size,)`.

    Raises:
        ValueError: On images smaller than the window of 11 pixels.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.training.reconstruction import structure_loss

    >>> images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool((structure_loss(images, images).abs() < 1e-6).all())
    True
    >>> bool((structure_loss(images, 1 - images) > 1.5).all())
    True

    ```
    """
    scales = [structure.flatten(1).mean(dim=1) for structure in _structures(images, reconstructions)]
    return 1 - torch.stack(scales).mean(dim=0)


def peak_signal_to_noise(images: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
    """
    PSNR in decibels, per image; 100 at most, for equal images.

    Args:
        images (`torch.Tensor` of shape `(batch_size, channels, height, width)`):
            Values of 0 to 1.
        reconstructions (`torch.Tensor` of the same shape):
            Values of 0 to 1.

    Returns:
        `torch.Tensor` of shape `(batch_size,)`.
    """
    errors = (images - reconstructions).square().flatten(1).mean(dim=1)
    return -10 * errors.clamp(min=1e-10).log10()


def _structures(images: torch.Tensor, others: torch.Tensor) -> list[torch.Tensor]:
    """Contrast-structure maps, as of SSIM, of each scale that holds a window, finest first."""
    if min(images.shape[-2:]) < _WINDOW_SIZE:
        size = "x".join(str(side) for side in images.shape[-2:])
        raise ValueError(f"images are {size} pixels; expected at least {_WINDOW_SIZE} each way.")
    maps = []
    for _ in range(_NUM_SCALES):
        mean, other_mean = _blur(images), _blur(others)
        variances = _blur(images.square() + others.square()) - mean.square() - other_mean.square()
        covariance = _blur(images * others) - mean * other_mean
        maps.append((2 * covariance + _CONTRAST_FLOOR) / (variances + _CONTRAST_FLOOR))
        images, others = F.avg_pool2d(images, 2), F.avg_pool2d(others, 2)
        if min(images.shape[-2:]) < _WINDOW_SIZE:
            break
    return maps


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Mean under a Gaussian window, where the whole window lies in the image."""
    places = torch.arange(_WINDOW_SIZE, dtype=images.dtype, device=images.device) - _WINDOW_SIZE // 2
    window = torch.exp(-places.square() / (2 * _WINDOW_DEVIATION**2))
    window = window / window.sum()
    shape = images.shape
    images = images.flatten(0, 1).unsqueeze(1)
    images = F.conv2d(F.conv2d(images, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return images.view(*shape[:2], *images.shape[-2:])
