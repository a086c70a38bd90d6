"""Augmentation of radiographs, batched: what a positioning and a processing differ by, and never a mirror image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


_NUM_DRAWS = 12  # per image before its noise; fixed, so that a part that is switched off moves no other
_PIXELS_AT_ONCE = 2**18
_MASK_64 = 2**64 - 1
_BYTES_MEAN = 510  # of the sum of four uniform bytes
_BYTES_DEVIATION = math.sqrt(4 * (256**2 - 1) / 12)


@dataclass(frozen=True)
class RadiographAugmentation:
    """
    Small changes that another positioning, exposure or processing would make; labels and words stay true.

    Rotation, shift, zoom and stretch, then a tone curve, contrast, brightness, softness or sharpness, then noise.
    There is no flip, not even as an option: in a mirrored study the heart is on the wrong side and the report's "left"
    is false. Shifts are small enough that costophrenic angles and apices usually stay in view.

    Every image has its own random stream, named by its seed, and only arithmetic that does not depend on the batch:
    equal `(image, seed)` gives an equal result in any batch, worker or number of threads.

    Args:
        strength (`float`, *optional*, defaults to 1.0): Scales every range below; 0 changes nothing.
        rotation_degrees (`float`, *optional*, defaults to 8.0): Largest turn, either way.
        shift (`float`, *optional*, defaults to 0.06): Largest shift, as a share of the image's side.
        zoom (`float`, *optional*, defaults to 0.12): Largest relative change of size; half of it may stretch one
            axis.
        tone (`float`, *optional*, defaults to 0.35): Largest bend of the tone curve (0.35 is a gamma of about 0.5 to
            2).
        contrast (`float`, *optional*, defaults to 0.25): Largest relative change of the spread about mid-grey.
        brightness (`float`, *optional*, defaults to 0.12): Largest change of all values, on the scale of 0 to 1.
        blur (`float`, *optional*, defaults to 0.8): Largest share of a 5x5 binomial blur that is mixed in; half as
            much may be taken out, which sharpens.
        noise (`float`, *optional*, defaults to 0.03): Largest standard deviation of the noise; half of the
            images get none.

    Raises:
        ValueError: On a negative strength or range.
    """

    strength: float = 1.0
    rotation_degrees: float = 8.0
    shift: float = 0.06
    zoom: float = 0.12
    tone: float = 0.35
    contrast: float = 0.25
    brightness: float = 0.12
    blur: float = 0.8
    noise: float = 0.03

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} is {value}; expected 0 or more.")

    def __call__(self, images: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        """
        Augment a batch.

        Args:
            images (`torch.Tensor` of shape `(batch_size, channels, height, width)`): Grey values from 0 to 1, before
                normalisation with mean and standard deviation. Channels are taken as copies of one grey image.
            seeds (`torch.Tensor` of shape `(batch_size,)` and dtype int64): One stream per image.

        Returns:
            `torch.Tensor` of the same shape, values from 0 to 1.

        Raises:
            ValueError: On another shape.
        """
        if images.ndim != 4 or seeds.shape != images.shape[:1]:
            raise ValueError(
                f"images and seeds have shapes {tuple(images.shape)} and {tuple(seeds.shape)}; "
                "expected (batch_size, channels, height, width) and (batch_size,)."
            )
        if self.strength == 0 or len(images) == 0:
            return images
        # Few images at a time, so that the dozen passes over them stay in the processor's cache.
        size = max(1, _PIXELS_AT_ONCE // images[0].numel())
        parts = zip(images.split(size), seeds.split(size), strict=True)
        return torch.cat([self._augment(part, part_seeds.tolist()) for part, part_seeds in parts])

    def move(self, masks: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        """
        Move masks as the images of these seeds are moved; their values stay.

        Args:
            masks (`torch.Tensor` of shape `(batch_size, channels, height, width)`): Of the images' proportions.
            seeds (`torch.Tensor` of shape `(batch_size,)` and dtype int64): Those of the images.

        Returns:
            `torch.Tensor` of the same shape; 0 beyond the border.
        """
        if self.strength == 0 or len(masks) == 0:
            return masks
        seeds, places = seeds.unique(return_inverse=True)  # an image has several masks
        return self._move(masks, _draw(_streams(seeds.tolist()), masks)[places, 0:5])

    def _augment(self, images: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        streams = _streams(seeds)
        draws = _draw(streams, images)
        images = self._move(images, draws[:, 0:5])
        images = self._change_tone(images, draws[:, 5:8])
        images = self._change_sharpness(images, draws[:, 8])
        return self._add_noise(images, draws[:, 9], streams).clamp_(0, 1)

    def _move(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        turn, shift_x, shift_y, zoom, stretch = (2 * draws - 1).view(-1, 5, 1, 1).unbind(1)
        angle = turn * (self.strength * self.rotation_degrees * math.pi / 180)
        # Angles are small: these series are exact to float precision and, unlike sin, equal for every vector width.
        square = angle * angle
        sine = angle * (1 - square / 6 * (1 - square / 20))
        cosine = 1 - square / 2 * (1 - square / 12)
        scale_x = 1 + zoom * (self.strength * self.zoom)
        scale_y = scale_x * (1 + stretch * (self.strength * self.zoom / 2))
        reach = 2 * self.strength * self.shift

        height, width = images.shape[-2:]
        x = _pixel_centres(width, images).view(1, 1, -1)
        y = _pixel_centres(height, images).view(1, -1, 1)
        # A turn happens in the plane of square pixels, whatever the image's proportions.
        grid = images.new_empty(len(images), height, width, 2)
        torch.sub(scale_x * cosine * x + reach * shift_x, scale_x * sine * (height / width) * y, out=grid[..., 0])
        torch.add(scale_y * sine * (width / height) * x + reach * shift_y, scale_y * cosine * y, out=grid[..., 1])
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _change_tone(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        bend, contrast, brightness = (2 * draws - 1).view(-1, 3, 1, 1, 1).unbind(1)
        # Schlick's bias curve: like a gamma, of arithmetic alone.
        bias = 0.5 + min(self.strength * self.tone, 0.95) / 2 * bend
        pull = 1 / bias - 2
        images = images / (1 + pull - pull * images)
        gain = 1 + self.strength * self.contrast * contrast
        return images.mul_(gain).add_((1 - gain) / 2 + self.strength * self.brightness * brightness)

    def _change_sharpness(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        share = (self.strength * self.blur * (1.5 * draws - 0.5)).view(-1, 1, 1, 1)  # a third is sharpened
        return (_binomial_blur(images) * share).add_(images * (1 - share))

    def _add_noise(self, images: torch.Tensor, draws: torch.Tensor, streams: list[np.random.SFC64]) -> torch.Tensor:
        deviations = self.strength * self.noise * (2 * draws - 1).clamp(min=0)
        for image, deviation, stream in zip(images, deviations, streams, strict=True):
            if deviation > 0:
                image += deviation * torch.from_numpy(_bell_noise(stream, image.shape[-2:])).to(image)
        return images


def _streams(seeds: list[int]) -> list[np.random.SFC64]:
    return [np.random.SFC64(seed & _MASK_64) for seed in seeds]


def _draw(streams: list[np.random.SFC64], like: torch.Tensor) -> torch.Tensor:
    """`(batch_size, _NUM_DRAWS)`, uniform on [0, 1)."""
    draws = [np.random.Generator(stream).random(_NUM_DRAWS, dtype=np.float32) for stream in streams]
    return torch.from_numpy(np.stack(draws)).to(like)


def _pixel_centres(size: int, images: torch.Tensor) -> torch.Tensor:
    return (2 * torch.arange(size, dtype=images.dtype, device=images.device) + 1) / size - 1


def _binomial_blur(images: torch.Tensor) -> torch.Tensor:
    """Weights 1 4 6 4 1 along both axes, by sums: a convolution's order of summation depends on the batch."""
    for axis, padding in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        padded = F.pad(images, padding, mode="replicate")
        far, near, middle, near_after, far_after = (padded.narrow(axis, i, images.shape[axis]) for i in range(5))
        images = (near + near_after).mul_(4).add_(far).add_(far_after).add_(middle * 6).mul_(1 / 16)
    return images


def _bell_noise(stream: np.random.SFC64, shape: tuple[int, int]) -> np.ndarray:
    """Mean 0 and deviation 1, as the sum of four random bytes: several times as fast as a true normal draw."""
    count = shape[0] * shape[1]
    values = stream.random_raw(-(-count // 2)).view(np.uint8)
    total = values[:count].astype(np.int16)
    for index in range(1, 4):
        total += values[index * count : (index + 1) * count]
    return ((total - _BYTES_MEAN) * np.float32(1 / _BYTES_DEVIATION)).astype(np.float32).reshape(shape)
