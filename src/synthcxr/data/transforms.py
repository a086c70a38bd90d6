"""Augmentation of radiographs, batched: what a positioning and a processing differ by, and never a mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


_NUM_DRAWS = 12  # numbers drawn per image before its noise; fixed, so that a switched-off part moves no other


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
        contrast (`float`, *optional*, defaults to 0.25): Largest relative change of the spread about the image's mean.
        brightness (`float`, *optional*, defaults to 0.12): Largest change of all values, on the scale of 0 to 1.
        blur (`float`, *optional*, defaults to 0.8): Largest share of a 5x5 binomial blur that is mixed in; half as much
            may be taken out, which sharpens.
        noise (`float`, *optional*, defaults to 0.03): Largest standard deviation of the noise; half of the images get
            none.

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
        streams = [np.random.Generator(np.random.Philox(key=seed & (2**64 - 1))) for seed in seeds.tolist()]
        draws = torch.from_numpy(np.stack([stream.random(_NUM_DRAWS, dtype=np.float32) for stream in streams]))
        draws = draws.to(images)  # (batch_size, _NUM_DRAWS), uniform on [0, 1)

        images = self._move(images, draws[:, 0:5])
        images = self._change_tone(images, draws[:, 5:8])
        images = self._change_sharpness(images, draws[:, 8])
        images = self._add_noise(images, draws[:, 9], streams)
        return images.clamp(0, 1)

    def _move(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        turn, shift_x, shift_y, zoom, stretch = (2 * draws - 1).unbind(1)
        angle = torch.deg2rad(self._scaled(self.rotation_degrees) * turn)
        scale = 1 + self._scaled(self.zoom) * zoom
        stretch = 1 + self._scaled(self.zoom) / 2 * stretch
        # Angles are small: their series are exact to float precision and, unlike sin, equal for every vector width.
        square = angle * angle
        sine = angle * (1 - square / 6 * (1 - square / 20))
        cosine = 1 - square / 2 * (1 - square / 12)

        height, width = images.shape[-2:]
        y, x = (_pixel_centres(size, images) for size in (height, width))
        x, y = x.view(1, 1, -1), y.view(1, -1, 1)
        column = (-1, 1, 1)
        sine, cosine = sine.view(column), cosine.view(column)
        # The plane of pixels is square even where the image is not, or a turn would shear it.
        source_x = (cosine * x - sine * y * (height / width)) * scale.view(column)
        source_y = (sine * x * (width / height) + cosine * y) * (scale * stretch).view(column)
        reach = 2 * self._scaled(self.shift)
        grid = torch.stack([source_x + reach * shift_x.view(column), source_y + reach * shift_y.view(column)], dim=-1)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _change_tone(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        bend, contrast, brightness = (2 * draws - 1).view(-1, 3, 1, 1, 1).unbind(1)
        # Schlick's bias curve: like a gamma, of arithmetic alone.
        bias = 0.5 + min(self._scaled(self.tone), 0.95) / 2 * bend
        images = images / ((1 / bias - 2) * (1 - images) + 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (1 + self._scaled(self.contrast) * contrast)
        return images + self._scaled(self.brightness) * brightness

    def _change_sharpness(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        share = self._scaled(self.blur) * (1.5 * draws - 0.5)  # a third of the images is sharpened
        return images + share.view(-1, 1, 1, 1) * (_binomial_blur(images) - images)

    def _add_noise(
        self, images: torch.Tensor, draws: torch.Tensor, streams: list[np.random.Generator]
    ) -> torch.Tensor:
        deviation = self._scaled(self.noise) * (2 * draws - 1).clamp(min=0)
        fields = torch.zeros(len(images), 1, *images.shape[-2:], dtype=torch.float32)
        for index, stream in enumerate(streams):
            if deviation[index] > 0:
                stream.standard_normal(dtype=np.float32, out=fields[index].numpy())
        return images + deviation.view(-1, 1, 1, 1) * fields.to(images)

    def _scaled(self, reach: float) -> float:
        return self.strength * reach


def _pixel_centres(size: int, images: torch.Tensor) -> torch.Tensor:
    return (2 * torch.arange(size, dtype=images.dtype, device=images.device) + 1) / size - 1


def _binomial_blur(images: torch.Tensor) -> torch.Tensor:
    """Weights 1 4 6 4 1 along both axes, by sums: a convolution's order of summation depends on the batch."""
    for axis, padding in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        padded = F.pad(images, padding, mode="replicate")
        size = images.shape[axis]
        near = padded.narrow(axis, 1, size) + padded.narrow(axis, 3, size)
        far = padded.narrow(axis, 0, size) + padded.narrow(axis, 4, size)
        images = images * 0.375 + near * 0.25 + far * 0.0625
    return images
