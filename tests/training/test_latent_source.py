import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from synthcxr.data.collators import DrawnDataset
from synthcxr.data.pairs import load_pairs
from synthcxr.pipelines.image_codec import decode_latents
from synthcxr.training.latent_source import CachedLatents, EncodedLatents, PixelLatents, pixel_statistics


@pytest.fixture(scope="module")
def pairs(pairs_folder):
    return load_pairs(pairs_folder).select(range(10))


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    sizes = {"block_out_channels": [8, 8], "latent_channels": 3, "norm_num_groups": 4, "scaling_factor": 0.7}
    return AutoencoderKL(in_channels=1, out_channels=1, **blocks, **sizes).eval()


def drawn(pairs, indices):
    return [
        row | {"index": index} for row, index in zip(DrawnDataset(pairs).__getitems__(indices), indices, strict=True)
    ]


def test_folded_pixels_have_the_statistics_that_were_measured_and_come_back(pairs):
    mean, deviation = pixel_statistics(pairs, image_size=64)
    source = PixelLatents(image_size=64, pixel_fold=4, pixel_mean=mean, pixel_std=deviation)
    latents = source(drawn(pairs, list(range(10))))
    assert latents.shape == (10, 16, 16, 16)
    assert abs(float(latents.mean())) < 1e-3
    assert float(latents.std()) == pytest.approx(1, abs=1e-3)
    pixels = decode_latents(latents, pixel_fold=4, pixel_mean=mean, pixel_std=deviation)
    grey = np.rint((pixels[3, 0].numpy() + 1) * 127.5)
    assert np.array_equal(grey, np.asarray(pairs[3]["image"], dtype=float))


def test_cached_latents_are_those_that_are_encoded_at_every_draw(pairs, vae, tmp_path):
    path = tmp_path / "latents.npy"
    options = {"image_size": 64, "path": path, "batch_size": 4, "progress": False}
    cached = CachedLatents(pairs, vae, **options)
    live = EncodedLatents(vae, image_size=64)
    rows = drawn(pairs, [7, 2])
    torch.testing.assert_close(cached(rows), live(rows), atol=2e-3, rtol=2e-3)
    written = path.stat().st_mtime_ns
    CachedLatents(pairs, vae, **options)
    assert path.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="holds 10 latents for 5 pairs"):
        CachedLatents(pairs.select(range(5)), vae, **options)
