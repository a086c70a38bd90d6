"""Grey images in and out of a pipeline: PIL images, arrays and tensors of 8 or 16 bits."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from PIL import Image


OutputType = Literal["pil", "np", "pt", "latent"]


def read_grey(images: Any, *, name: str) -> torch.Tensor:
    """
    One image or several as grey values.

    Args:
        images (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor`, or a list of them):
            An array of two dimensions is an image, of three a batch, of four `(batch_size, 1, height, width)` or
            `(batch_size, height, width, 1)`. Integers are divided by the largest value of their type (PIL's `I` counts
            as 16 bits); floats must lie in 0 to 1.
        name (`str`): What errors call them.

    Returns:
        `torch.Tensor` of shape `(batch_size, 1, height, width)`, `torch.float32`: Grey values, 0 to 1.

    Raises:
        ValueError: On images of several sizes or with colours, and on values outside 0 to 1 or NaN.
    """
    parts = images if isinstance(images, list | tuple) else [images]
    if not parts:
        raise ValueError(f"{name} is an empty list; pass one image, or one per prompt.")
    batches = [_read_one(part, name) for part in parts]
    sizes = sorted({tuple(batch.shape[2:]) for batch in batches})
    if len(sizes) > 1:
        raise ValueError(f"{name} holds images of the sizes {sizes}; resize them to one.")
    return torch.cat(batches)


def write_grey(images: torch.Tensor, output_type: OutputType, *, bits: int) -> Any:
    """
    Grey values as the caller wants them.

    Args:
        images (`torch.Tensor` of shape `(batch_size, 1, height, width)`): Grey values, 0 to 1.
        output_type (`str`): `"pil"`, `"np"`, `"pt"`; `"latent"` passes latents through.
        bits (`int`): 8 or 16, of PIL images.

    Returns:
        `list[PIL.Image.Image]` of mode `L` or `I;16`, `np.ndarray` of shape `(batch_size, height, width, 1)`, or the
        tensor itself.
    """
    if output_type in ("pt", "latent"):
        return images
    images = images.cpu()
    if output_type == "np":
        return images.permute(0, 2, 3, 1).numpy()
    integers = np.uint8 if bits == 8 else np.uint16
    levels = (images.squeeze(1).double() * np.iinfo(integers).max).round().numpy().astype(integers)
    return [Image.fromarray(image) for image in levels]


def _read_one(image: Any, name: str) -> torch.Tensor:
    """An image or a batch as `(batch_size, 1, height, width)`."""
    if isinstance(image, Image.Image):
        image = _pil_to_array(image)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().float().numpy() if image.is_floating_point() else image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "buif":
        raise ValueError(f"{name} holds a {type(image).__name__}; expected a PIL image, an array or a tensor.")
    values = torch.from_numpy(_to_unit_range(image, name))
    if values.ndim == 4 and values.shape[1] != 1:
        values = values.movedim(-1, 1)
    if values.ndim == 4 and values.shape[1] != 1:
        raise ValueError(f"{name} has the shape {tuple(image.shape)}; expected grey images, with one channel.")
    if values.ndim not in (2, 3, 4) or values.numel() == 0:
        raise ValueError(f"{name} has the shape {tuple(image.shape)}; expected (height, width) or a batch of that.")
    return values.reshape(-1, 1, *values.shape[-2:])


def _pil_to_array(image: Image.Image) -> np.ndarray:
    if image.mode == "I":
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    if image.mode in ("1", "L", "F") or image.mode.startswith("I;16"):
        array = np.asarray(image)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return np.asarray(image.convert("L"))


def _to_unit_range(image: np.ndarray, name: str) -> np.ndarray:
    if image.dtype.kind == "b":
        return image.astype(np.float32)
    if image.dtype.kind in "ui":
        if image.dtype.itemsize > 2:
            raise ValueError(f"{name} has the type {image.dtype}; expected 8 or 16 bits, or floats of 0 to 1.")
        if image.dtype.kind == "i" and image.size and image.min() < 0:
            raise ValueError(f"{name} has values below 0; expected grey values.")
        return (image / np.iinfo(image.dtype).max).astype(np.float32)
    # Compared this way round, NaN is refused too.
    if not (image.size == 0 or (image.min() >= 0 and image.max() <= 1)):
        raise ValueError(f"{name} has values outside 0 to 1, or NaN; scale floats to 0 to 1, or pass integers.")
    return image.astype(np.float32)
