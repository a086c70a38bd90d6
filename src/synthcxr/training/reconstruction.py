"""How far a reconstructed radiograph is from its original: what an autoencoder learns from, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..evaluation.structural_similarity import num_scales, similarity_terms


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


def _structures(images: torch.Tensor, others: torch.Tensor) -> Iterator[torch.Tensor]:
    """Contrast-structure maps, as of SSIM, of each scale that holds a window, finest first."""
    for _ in range(num_scales(*images.shape[-2:])):
        yield similarity_terms(images, others)[1]
        images, others = F.avg_pool2d(images, 2), F.avg_pool2d(others, 2)
