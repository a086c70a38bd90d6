"""Radiographs to model inputs: one grey path for PIL images, arrays and tensors of 8 or 16 bits. No torchvision."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs, Unpack


_INTERPOLATION = {PILImageResampling.BILINEAR: "bilinear", PILImageResampling.BICUBIC: "bicubic"}


class CxrImageProcessorKwargs(ImagesKwargs, total=False):
    """
    What a call may change, beside the arguments of every image processor.

    Args:
        num_channels (`int`):
            Channels of the vision tower: grey is repeated.
        histogram_equalisation (`str`):
            `"none"` or `"global"`.
    """

    num_channels: int
    histogram_equalisation: Literal["none", "global"]


class CxrImageProcessor(PilBackend):
    """
    Prepares radiographs: grey, 0 to 1, resized with antialiasing, optionally equalised, normalised.

    PIL images (`1`, `L`, `LA`, `P`, `RGB`, `RGBA`, `I;16`, `I`, `F`), NumPy arrays and torch tensors, alone, in lists
    or as one batch, take the same path, so they give the same numbers. Integers of more than 8 bits are divided by
    the largest value of the smallest bit depth that holds their maximum (12-bit files in 16-bit containers are
    common); floats must lie in 0 to 1. A tensor stays on its device.

    Args:
        size (`dict` or `int`, *optional*, defaults to `{"height": 224, "width": 224}`):
            What images are resized to; `{"shortest_edge": n}` keeps the aspect ratio and needs a centre crop.
        do_pad (`bool`, *optional*, defaults to `True`):
            Keep the aspect ratio and fill up with black; otherwise images are stretched to `size`.
        do_center_crop (`bool`, *optional*, defaults to `False`):
            Cut `crop_size` out of the middle after resizing.
        crop_size (`dict` or `int`, *optional*, defaults to `{"height": 224, "width": 224}`):
            What the centre crop keeps.
        resample (`PILImageResampling`, *optional*, defaults to `PILImageResampling.BILINEAR`):
            Bilinear or bicubic.
        histogram_equalisation (`str`, *optional*, defaults to `"none"`):
            `"global"` flattens the histogram of the resized image (256 levels); black padding is left out.
        image_mean (`float` or `list[float]`, *optional*, defaults to 0.5):
            Subtracted, per channel if a list.
        image_std (`float` or `list[float]`, *optional*, defaults to 0.5):
            Divides, per channel if a list.
        num_channels (`int`, *optional*, defaults to 1):
            Channels of the vision tower: grey is repeated.
        kwargs (`dict`):
            `do_resize`, `do_rescale`, `rescale_factor` (for 8 bits), `do_normalize`: as everywhere in `transformers`.

    Example:

    ```python
    >>> import numpy as np
    >>> from synthcxr.models import CxrImageProcessor

    >>> processor = CxrImageProcessor(size=128)
    >>> processor(np.zeros((200, 100), dtype=np.uint8), return_tensors="pt").pixel_values.shape
    torch.Size([1, 1, 128, 128])

    ```
    """

    valid_kwargs = CxrImageProcessorKwargs
    model_input_names = ["pixel_values"]

    do_resize = True
    size = {"height": 224, "width": 224}
    resample = PILImageResampling.BILINEAR
    do_pad = True
    do_center_crop = False
    crop_size = {"height": 224, "width": 224}
    do_rescale = True
    do_normalize = True
    image_mean = 0.5
    image_std = 0.5
    num_channels = 1
    histogram_equalisation = "none"

    def __init__(self, **kwargs: Unpack[CxrImageProcessorKwargs]) -> None:
        super().__init__(**kwargs)

    def process_image(self, image: Any, **kwargs: Any) -> torch.Tensor:
        """
        One image of any kind as a grey tensor of its own bit depth.

        Args:
            image (`PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
                `(height, width)`, `(channels, height, width)` or `(height, width, channels)`.
            kwargs (`dict`):
                The arguments of the call; `input_data_format` is not needed.

        Returns:
            `torch.Tensor` of shape `(height, width)`: Grey values as stored.
        """
        if isinstance(image, Image.Image):
            if image.mode not in ("L", "I", "F") and not image.mode.startswith("I;16"):
                image = image.convert("L")
            image = np.array(image)
        if isinstance(image, np.ndarray):
            if image.dtype.kind not in "buif":
                raise ValueError(f"An image of type {image.dtype} cannot be read; expected integers or floats.")
            image = torch.from_numpy(np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("=")))
        if not isinstance(image, torch.Tensor):
            raise ValueError(f"An image is a {type(image).__name__}; expected a PIL image, an array or a tensor.")
        image = _to_grey(image)
        if image.numel() == 0:
            raise ValueError(f"An image has shape {tuple(image.shape)}; expected at least one pixel.")
        return image

    def _prepare_images_structure(self, images: Any, expected_ndims: int = 3) -> list[Any]:
        """A flat list: lists and four-dimensional batches are taken apart."""
        images = self.fetch_images(images) if isinstance(images, str) else images
        if isinstance(images, (list, tuple)):
            return [image for element in images for image in self._prepare_images_structure(element)]
        return list(images) if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4 else [images]

    def _preprocess(
        self,
        images: Sequence[torch.Tensor],
        *,
        do_resize: bool,
        size: SizeDict,
        resample: PILImageResampling,
        do_pad: bool,
        do_center_crop: bool,
        crop_size: SizeDict,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: float | Sequence[float],
        image_std: float | Sequence[float],
        num_channels: int,
        histogram_equalisation: str,
        return_tensors: str | None,
        **kwargs: Any,
    ) -> BatchFeature:
        if len(images) == 0:
            raise ValueError("There is no image; expected at least one.")
        if histogram_equalisation not in ("none", "global"):
            raise ValueError(f'histogram_equalisation={histogram_equalisation!r}; expected "none" or "global".')
        prepared = []
        for image in images:
            image = _scale(image, rescale_factor) if do_rescale else image.to(torch.float32)
            image = _resize(image, size, resample, keep_ratio=do_pad) if do_resize else image
            prepared.append(_center(image, (crop_size.height, crop_size.width)) if do_center_crop else image)
        shapes = {tuple(image.shape) for image in prepared}
        if len(shapes) > 1:
            raise ValueError(f"Images have the sizes {sorted(shapes)}; expected one. Resize them to height and width.")

        pixel_values = torch.stack(prepared)
        if histogram_equalisation == "global":
            pixel_values = equalise_histograms(pixel_values)
        pixel_values = pixel_values.unsqueeze(1).expand(-1, num_channels, -1, -1)
        if do_normalize:
            mean, std = (_per_channel(values, num_channels, pixel_values.device) for values in (image_mean, image_std))
            pixel_values = (pixel_values - mean) / std
        return BatchFeature({"pixel_values": pixel_values.contiguous()}, tensor_type=return_tensors)


def equalise_histograms(images: torch.Tensor) -> torch.Tensor:
    """
    Global histogram equalisation, every image of a batch on its own, all at once.

    Args:
        images (`torch.Tensor` of shape `(batch_size, height, width)`):
            Values of 0 to 1.

    Returns:
        `torch.Tensor` of shape `(batch_size, height, width)`: Values of 0 to 1 in 256 levels. An image's darkest level
        stays 0 whatever its share, so black padding does not change the rest.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.image_processing_cxr import equalise_histograms

    >>> equalise_histograms(torch.tensor([[[0.0, 0.1], [0.2, 0.3]]]))
    tensor([[[0.0000, 0.3333],
             [0.6667, 1.0000]]])

    ```
    """
    levels = (images.clamp(0, 1) * 255).round().long().flatten(1)  # (batch_size, num_pixels)
    batch_size, num_pixels = levels.shape
    offsets = 256 * torch.arange(batch_size, device=images.device).unsqueeze(1)
    counts = torch.bincount((levels + offsets).flatten(), minlength=256 * batch_size).view(batch_size, 256)
    cumulative = counts.cumsum(dim=1)
    darkest = cumulative.gather(1, levels.amin(dim=1, keepdim=True))
    mapping = (cumulative - darkest) / (num_pixels - darkest).clamp(min=1)
    return mapping.to(images.dtype).gather(1, levels).view_as(images)


def _to_grey(image: torch.Tensor) -> torch.Tensor:
    """Drop or mix channels, with PIL's own integer weights, so that both give the same grey."""
    if image.dim() == 2:
        return image
    if image.dim() != 3 or not {1, 3, 4} & {image.shape[0], image.shape[-1]}:
        raise ValueError(
            f"An image has shape {tuple(image.shape)}; expected (height, width) or 1, 3 or 4 channels first or last."
        )
    if image.shape[0] not in (1, 3, 4):
        image = image.movedim(-1, 0)
    if len(image) == 1:
        return image[0]
    red, green, blue = image[:3]
    if image.dtype.is_floating_point:
        return 0.299 * red + 0.587 * green + 0.114 * blue
    red, green, blue = (channel.to(torch.int64) for channel in (red, green, blue))
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(image.dtype)


def _scale(image: torch.Tensor, rescale_factor: float) -> torch.Tensor:
    """Stored values to 0 ... 1; `rescale_factor` is what 8-bit values are multiplied with."""
    if image.dtype in (torch.uint8, torch.bool):
        return image.to(torch.float32) * (rescale_factor if image.dtype == torch.uint8 else 1.0)
    is_float = image.dtype.is_floating_point
    image = image.to(torch.float32)
    low, high = (value.item() for value in image.aminmax())
    largest = 1 if is_float else 65535
    if not (low >= 0 and high <= largest):  # also false for NaN
        raise ValueError(f"An image holds values from {low:g} to {high:g}; expected 0 to {largest}, all finite.")
    if is_float:
        return image
    num_bits = max(8, int(high).bit_length())
    return image * (rescale_factor * 255 / (2**num_bits - 1))


def _resize(image: torch.Tensor, size: SizeDict, resample: int, *, keep_ratio: bool) -> torch.Tensor:
    """`(height, width)` to `size`: stretched, or with its aspect ratio and black around it."""
    height, width = image.shape
    if size.shortest_edge:
        scale = size.shortest_edge / min(height, width)
        target = inner = (round(height * scale), round(width * scale))
    elif size.height and size.width:
        target = inner = (size.height, size.width)
        if keep_ratio:
            scale = min(size.height / height, size.width / width)
            inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    else:
        raise ValueError(f"size={dict(size)}; expected height and width, or shortest_edge.")
    if inner != (height, width):
        if resample not in _INTERPOLATION:
            raise ValueError(f"resample={resample!r}; expected bilinear (2) or bicubic (3).")
        mode = _INTERPOLATION[PILImageResampling(resample)]
        # The same filter as PIL's, to 1e-5, but 2-4 times as fast in floats.
        resized = F.interpolate(image.to(torch.float32)[None, None], inner, mode=mode, antialias=True)[0, 0]
        image = resized if mode == "bilinear" else resized.clamp(image.min(), image.max())
    return _center(image, target)


def _center(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut the middle out, or put black around it."""
    left, top = (size[1] - image.shape[1]) // 2, (size[0] - image.shape[0]) // 2
    right, bottom = size[1] - image.shape[1] - left, size[0] - image.shape[0] - top
    return image if left == right == top == bottom == 0 else F.pad(image, (left, right, top, bottom))


def _per_channel(values: float | Sequence[float], num_channels: int, device: torch.device) -> torch.Tensor:
    """`(num_channels or 1, 1, 1)`."""
    values = torch.as_tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)
    if len(values) not in (1, num_channels):
        raise ValueError(f"image_mean or image_std has {len(values)} values; expected 1 or {num_channels}.")
    return values


CxrImageProcessor.register_for_auto_class()
