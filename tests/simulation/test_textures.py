import numpy as np

from synthcxr.simulation.textures import fractal_noise, lobed_distance, soft_blob


def grid(size):
    return (np.arange(size) + 0.5) * 30 / size - 15


def test_noise_has_unit_spread_and_no_mean():
    noise = np.stack([fractal_noise(grid(128), grid(128), seed=seed, scale_cm=2.0) for seed in range(8)])
    assert abs(noise.mean()) < 0.05
    assert 0.85 < noise.std() < 1.15


def test_noise_does_not_depend_on_the_window_or_the_pixels():
    whole = fractal_noise(grid(120), grid(120), seed=5, scale_cm=6.0, octaves=2)
    part = fractal_noise(grid(120)[40:70], grid(120)[10:50], seed=5, scale_cm=6.0, octaves=2)
    fine = fractal_noise(grid(360), grid(360), seed=5, scale_cm=6.0, octaves=2)
    assert np.allclose(whole[10:50, 40:70], part, atol=1e-5)
    assert np.allclose(whole, fine[1::3, 1::3], atol=1e-5)


def test_octaves_finer_than_a_pixel_vanish():
    assert fractal_noise(grid(32), grid(32), seed=1, scale_cm=0.5).std() == 0


def test_a_ridged_field_is_a_web_between_zero_and_one():
    web = fractal_noise(grid(256), grid(256), seed=3, scale_cm=2.0, octaves=2, ridged=True)
    assert web.min() >= -1e-6
    assert web.max() <= 1 + 1e-6
    assert np.median(web) < 0.5


def test_a_blob_is_full_inside_empty_outside_and_as_large_as_its_radii():
    blob = soft_blob(grid(256), grid(256), centre=(2.0, -1.0), radii=(4.0, 3.0), irregularity=0.15, seed=9)
    x, y = np.meshgrid(grid(256), grid(256))
    distance = np.hypot((x - 2) / 4, (y + 1) / 3)
    assert blob[distance < 0.2].min() == 1
    assert blob[distance > 2].max() == 0
    assert 0.8 < blob.sum() * (30 / 256) ** 2 / (np.pi * 12) < 1.25


def test_a_blob_outside_the_window_paints_nothing():
    assert not soft_blob(grid(64), grid(64), centre=(90.0, 0.0), radii=(2.0, 2.0)).any()


def test_a_rim_without_lobes_is_an_ellipse():
    flat = lobed_distance(
        *(grid(64), grid(64)), centre=(0, 0), radii=(5, 5), angle=0.3, amplitudes=np.zeros(3), phases=np.zeros(3)
    )
    x, y = np.meshgrid(grid(64), grid(64))
    assert np.allclose(flat, np.hypot(x, y) / 5, atol=1e-4)


def test_lobes_repeat_with_their_harmonic():
    one_lobe = lobed_distance(
        *(grid(64), grid(64)), centre=(0, 0), radii=(5, 5), angle=0, amplitudes=np.array([0.2]), phases=np.zeros(1)
    )
    assert np.allclose(one_lobe, one_lobe[::-1, ::-1], atol=1e-4)  # harmonic 2: the same after half a turn
    assert one_lobe[32, 50] < one_lobe[50, 32]
