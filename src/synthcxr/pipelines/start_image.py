"""The image that a call starts from, and the region of it that may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from .grey_images import read_grey
from .noise_schedule import noised


@dataclass(frozen=True)
class StartImage:
    """
    Images to change, one per image drawn.

    Args:
        images (`torch.Tensor` of shape `(num_images, 1, height, width)`): Grey values, 0 to 1.
        redraw (`torch.Tensor` of shape `(num_images, 1, height, width)`, *optional*):
            True where pixels may change; everywhere if not given.
        latents (`torch.Tensor` of shape `(num_images, num_channels, latent_height, latent_width)`, *optional*):
            The images as the UNet sees them, once they are encoded.
        is_folded (`bool`, *optional*, defaults to `False`):
            Every channel of `latents` is a pixel of the square that a place stands for, not an autoencoder's.
    """

    images: torch.Tensor
    redraw: torch.Tensor | None
    latents: torch.Tensor | None = None
    is_folded: bool = False

    def keep_latents(
        self, latents: torch.Tensor, scheduler: Any, noise: torch.Tensor, timestep: torch.Tensor | None
    ) -> torch.Tensor:
        """
        Put the known image back around the region, with the noise of the coming step.

        Args:
            latents (`torch.Tensor` of shape `(num_images, num_channels, latent_height, latent_width)`): After a step.
            scheduler (`SchedulerMixin`): Of the pipeline.
            noise (`torch.Tensor` of the same shape): What the drawing started from.
            timestep (`torch.Tensor`, *optional*): Of the coming step; none after the last.

        Returns:
            `torch.Tensor` of the same shape.
        """
        if self.redraw is None:
            return latents
        known = self.latents if timestep is None else noised(scheduler, self.latents, noise, timestep)
        return torch.where(self._redrawn_latents(), latents, known)

    def keep_pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Drawn images `(num_images, 1, height, width)`, with the pixels of the known ones around the region."""
        return images if self.redraw is None else torch.where(self.redraw, images, self.images)

    def _redrawn_latents(self) -> torch.Tensor:
        """Which places, and channels of folded pixels, hold a pixel that may change."""
        fold = self.redraw.shape[-1] // self.latents.shape[-1]
        redraw = self.redraw.float()
        if self.is_folded:
            return F.pixel_unshuffle(redraw, fold) > 0
        return F.max_pool2d(redraw, fold) > 0


def read_start_image(
    image: Any, mask_image: Any, num_images: int, num_images_per_prompt: int, device: torch.device | str
) -> StartImage | None:
    """
    Read `image` and `mask_image` of a call.

    Args:
        image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor`, or a list, *optional*): See [`read_grey`].
        mask_image (like `image`, *optional*): White where the image may change.
        num_images (`int`): Images that will be drawn; one for all or one per prompt are repeated.
        num_images_per_prompt (`int`): Images of one prompt follow each other.
        device (`torch.device` or `str`): Where they go.

    Returns:
        `StartImage`, or `None` when there is no image.

    Raises:
        ValueError: When images and masks do not fit each other or the number of images, or nothing may change.
    """
    if image is None:
        if mask_image is not None:
            raise ValueError("mask_image is given without image; pass the image to redraw, too.")
        return None
    images = _per_image(read_grey(image, name="image"), num_images, num_images_per_prompt, "image")
    if mask_image is None:
        return StartImage(images.to(device), None)
    masks = _per_image(read_grey(mask_image, name="mask_image"), num_images, num_images_per_prompt, "mask_image")
    if masks.shape != images.shape:
        raise ValueError(f"mask_image is {_size(masks)} pixels and image {_size(images)}; resize the mask.")
    redraw = masks >= 0.5
    if not redraw.flatten(1).any(dim=1).all():
        raise ValueError("mask_image is black everywhere; make it white (255, or True) where to redraw.")
    return StartImage(images.to(device), redraw.to(device))


def image_size(
    unet: Any, multiple_of: int, height: int | None, width: int | None, start: StartImage | None
) -> tuple[int, int]:
    """
    Height and width of what is drawn: as asked, as the image has them, or as the UNet was trained.

    Args:
        unet (`UNet2DConditionModel`): Of the pipeline.
        multiple_of (`int`): Pixels along one place of the UNet.
        height (`int`, *optional*): As asked.
        width (`int`, *optional*): As asked.
        start (`StartImage`, *optional*): The image that is changed.

    Returns:
        `tuple[int, int]`: In pixels.

    Raises:
        ValueError: When they do not fit the image, or do not come out even.
    """
    trained = unet.config.sample_size
    sizes = [side * multiple_of for side in ([trained, trained] if isinstance(trained, int) else trained)]
    if start is not None:
        sizes = list(start.images.shape[-2:])
    for index, (name, asked) in enumerate((("height", height), ("width", width))):
        if start is not None and asked not in (None, sizes[index]):
            raise ValueError(f"{name} is {asked}, but that of image is {sizes[index]}; resize the image.")
        sizes[index] = sizes[index] if asked is None else asked
        if sizes[index] < multiple_of or sizes[index] % multiple_of:
            raise ValueError(f"{name} is {sizes[index]} pixels; expected a multiple of {multiple_of}.")
    return sizes[0], sizes[1]


def _per_image(images: torch.Tensor, num_images: int, num_images_per_prompt: int, name: str) -> torch.Tensor:
    if len(images) == num_images:
        return images
    if len(images) == 1:
        return images.expand(num_images, -1, -1, -1)
    if len(images) * num_images_per_prompt == num_images:
        return images.repeat_interleave(num_images_per_prompt, dim=0)
    raise ValueError(f"{name} holds {len(images)} images for {num_images} to draw; pass one, or one per prompt.")


def _size(images: torch.Tensor) -> str:
    return f"{images.shape[-1]}x{images.shape[-2]}"
