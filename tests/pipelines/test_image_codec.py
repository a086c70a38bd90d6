import pytest
import torch
import torch.nn.functional as F

from synthcxr.pipelines.image_codec import decode_latents, encode_images


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_folded_pixels_come_back(images):
    settings = {"pixel_fold": 4, "pixel_mean": -0.2, "pixel_std": 0.4}
    latents = encode_images(images, **settings)
    assert latents.shape == (2, 16, 8, 8)
    torch.testing.assert_close(decode_latents(latents, **settings), images)


def test_folding_keeps_neighbours_in_one_place(images):
    latents = encode_images(images, pixel_fold=4, pixel_mean=-0.2, pixel_std=0.4)
    torch.testing.assert_close(latents[0, :, 1, 2] * 0.4 - 0.2, images[0, 0, 4:8, 8:12].flatten())


def test_an_autoencoder_is_used_as_stable_diffusion_does(images, stable_diffusion):
    vae = stable_diffusion[1].vae
    with torch.no_grad():
        latents = encode_images(images, vae=vae)
        expected = vae.encode(images.expand(-1, 3, -1, -1)).latent_dist.mode() * vae.config.scaling_factor
        decoded = decode_latents(latents, vae=vae)
        colours = vae.decode(latents / vae.config.scaling_factor).sample
    torch.testing.assert_close(latents, expected)
    assert decoded.shape == images.shape
    torch.testing.assert_close(decoded[:, 0], colours.clamp(-1, 1).mean(dim=1))


def test_a_grey_autoencoder_with_a_shift_is_inverted_by_its_own_numbers(images):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    sizes = {"block_out_channels": (4,), "norm_num_groups": 4, "latent_channels": 2, "in_channels": 1}
    vae = AutoencoderKL(out_channels=1, scaling_factor=0.5, shift_factor=0.3, **sizes).eval()
    with torch.no_grad():
        latents = encode_images(images, vae=vae)
        mode = vae.encode(images).latent_dist.mode()
        decoded = decode_latents(latents, vae=vae)
        direct = vae.decode(mode).sample
    torch.testing.assert_close(latents, (mode - 0.3) * 0.5)
    torch.testing.assert_close(decoded, direct.clamp(-1, 1))


def test_half_precision_latents_decode_to_single(images):
    latents = encode_images(images, pixel_fold=2).to(torch.bfloat16)
    decoded = decode_latents(latents, pixel_fold=2)
    assert decoded.dtype == torch.float32
    assert F.mse_loss(decoded, images) < 1e-4
