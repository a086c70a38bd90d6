import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthcxr.simulation.resampling import (
    apply_table,
    block_mean,
    blur,
    enlarge,
    smooth_coarsely,
    turn_image,
    turn_mask,
)


@pytest.fixture
def image():
    return gaussian_filter(np.random.default_rng(0).standard_normal((96, 96)), 2).astype(np.float32)


def test_blur_agrees_with_scipy(image):
    assert np.allclose(blur(image, 1.3), gaussian_filter(image, 1.3, mode="nearest"), atol=2e-3)


@pytest.mark.parametrize("sigma", [3.0, 8.0, 15.0])
def test_coarse_blur_is_close_to_the_true_one(image, sigma):
    true = gaussian_filter(image, sigma, mode="nearest")
    assert np.abs(smooth_coarsely(image, sigma) - true)[24:-24, 24:-24].max() < 0.15 * image.std()


def test_block_mean_and_enlarge_keep_a_ramp():
    ramp = np.tile(np.arange(60, dtype=np.float32), (60, 1))
    again = enlarge(block_mean(ramp, 4), 4, 60)
    assert np.allclose(again[:, 4:-4], ramp[:, 4:-4], atol=1e-4)
    assert block_mean(ramp, 7).shape == (9, 9)


def test_images_and_masks_turn_together():
    disc = (np.hypot(*np.meshgrid(np.arange(80) - 20, np.arange(80) - 50)) < 9).astype(np.float32)
    for angle in (-0.1, 0.05):
        turned = np.empty_like(disc)
        turn_image(disc, angle, turned)
        mask = (disc > 0.5).ravel()[turn_mask(80, angle)].reshape(80, 80)
        assert ((turned > 0.5) != mask).mean() < 0.01
        assert not np.allclose(turned, disc)


def test_a_table_is_read_between_its_entries():
    levels = np.linspace(-0.5, 1.75, 1126).astype(np.float32)
    source = np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32)
    out = np.empty_like(source)
    apply_table(source, 2.0, -0.3, levels, out)
    assert np.allclose(out, np.clip(2 * source - 0.3, -0.5, 1.75), atol=1e-3)
