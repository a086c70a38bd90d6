from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from synthcxr.pipelines.image_codec import encode_images
from synthcxr.pipelines.start_image import StartImage, image_size, read_start_image


def unet(sample_size):
    return SimpleNamespace(config=SimpleNamespace(sample_size=sample_size))


def test_the_size_is_as_asked_or_the_images_or_as_trained():
    assert image_size(unet(16), 4, None, None, None) == (64, 64)
    assert image_size(unet([16, 8]), 4, None, None, None) == (64, 32)
    assert image_size(unet(16), 4, 32, None, None) == (32, 64)
    start = StartImage(torch.zeros(1, 1, 8, 12), None)
    assert image_size(unet(16), 4, None, None, start) == (8, 12)
    assert image_size(unet(16), 4, 8, 12, start) == (8, 12)


@pytest.mark.parametrize(("height", "width"), [(30, None), (None, 65), (0, None), (-4, None)])
def test_a_size_that_does_not_come_out_even_is_refused(height, width):
    with pytest.raises(ValueError, match="multiple of 4"):
        image_size(unet(16), 4, height, width, None)


def test_a_size_other_than_the_images_is_refused():
    with pytest.raises(ValueError, match="width is 16, but that of image is 12"):
        image_size(unet(16), 4, None, 16, StartImage(torch.zeros(1, 1, 8, 12), None))


def test_images_are_one_for_all_or_one_per_prompt_or_one_per_image():
    images = np.stack([np.full((4, 4), level, np.uint8) for level in (0, 255)])
    assert read_start_image(images[1], None, 3, 1, "cpu").images.mean(dim=(1, 2, 3)).tolist() == [1, 1, 1]
    assert read_start_image(images, None, 2, 1, "cpu").images.mean(dim=(1, 2, 3)).tolist() == [0, 1]
    assert read_start_image(images, None, 4, 2, "cpu").images.mean(dim=(1, 2, 3)).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="2 images for 3 to draw"):
        read_start_image(images, None, 3, 1, "cpu")
    assert read_start_image(None, None, 3, 1, "cpu") is None


def test_masks_that_do_not_fit_are_refused():
    image = np.zeros((4, 8), np.uint8)
    with pytest.raises(ValueError, match="mask_image is 8x8 pixels and image 8x4"):
        read_start_image(image, np.ones((8, 8), bool), 1, 1, "cpu")
    with pytest.raises(ValueError, match="black everywhere"):
        read_start_image(image, np.ones((4, 8), np.uint8), 1, 1, "cpu")
    with pytest.raises(ValueError, match="without image"):
        read_start_image(None, np.ones((4, 8), bool), 1, 1, "cpu")


def test_pixels_around_the_region_stay():
    images = torch.rand(2, 1, 4, 4)
    redraw = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    redraw[:, :, 1, 2] = True
    kept = StartImage(images, redraw).keep_pixels(torch.full_like(images, 7.0))
    assert kept[redraw].eq(7).all()
    assert torch.equal(kept[~redraw], images[~redraw])


def test_folded_pixels_are_kept_one_by_one_and_latents_by_the_square():
    redraw = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    redraw[0, 0, 0, 1] = True
    images = torch.zeros(1, 1, 4, 4)
    scheduler, noise = FlowMatchEulerDiscreteScheduler(), None
    folded = StartImage(images, redraw, latents=encode_images(images, pixel_fold=2), is_folded=True)
    kept = folded.keep_latents(torch.ones(1, 4, 2, 2), scheduler, noise, None)
    assert kept.nonzero().tolist() == [[0, 1, 0, 0]]
    latent = StartImage(images, redraw, latents=torch.zeros(1, 4, 2, 2))
    kept = latent.keep_latents(torch.ones(1, 4, 2, 2), scheduler, noise, None)
    assert kept.nonzero().tolist() == [[0, channel, 0, 0] for channel in range(4)]


def test_kept_latents_carry_the_noise_of_the_coming_step():
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    redraw = torch.tensor([[[[True, False]]]])
    start = StartImage(torch.zeros(1, 1, 1, 2), redraw, latents=torch.full((1, 1, 1, 2), 2.0))
    timestep = scheduler.timesteps[2]
    kept = start.keep_latents(torch.full((1, 1, 1, 2), 9.0), scheduler, torch.ones(1, 1, 1, 2), timestep)
    sigma = timestep / 1000
    torch.testing.assert_close(kept.flatten(), torch.stack([torch.tensor(9.0), (1 - sigma) * 2 + sigma]))
