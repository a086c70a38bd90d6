from dataclasses import replace

import numpy as np
import pytest

from synthcxr.ontology import Acquisition
from synthcxr.simulation.processing import (
    SCANNERS,
    Exposure,
    develop,
    expose,
    measure_window,
    sample_exposure,
    sample_rendition,
)


CLEAN = Exposure(quanta=1e15, scatter=0.0, scatter_cm=3.0, focus_cm=0.0, tilt=(0.0, 0.0))
PIXEL = 0.25


def test_a_slab_obeys_beer_and_lambert():
    slab = np.full((64, 64), 0.18 * 20, np.float32)
    density = expose(slab, CLEAN, np.random.default_rng(0), pixel_cm=PIXEL)
    assert np.allclose(density, 3.6, atol=1e-4)


def test_noise_follows_the_photons():
    slab = np.full((128, 128), 2.0, np.float32)
    spread = {}
    for quanta in (1e5, 4e5, 1.6e6):
        density = expose(slab, replace(CLEAN, quanta=quanta), np.random.default_rng(0), pixel_cm=PIXEL)
        spread[quanta] = density.std()
    assert spread[1e5] / spread[4e5] == pytest.approx(2, rel=0.05)
    assert spread[4e5] / spread[1.6e6] == pytest.approx(2, rel=0.05)
    expected = 1 / np.sqrt(4e5 * PIXEL**2 * np.exp(-2.0))  # of the logarithm
    assert spread[4e5] == pytest.approx(expected, rel=0.05)


def test_dose_multiplies_the_photons():
    low, high = (sample_exposure(Acquisition("PA", dose=dose), np.random.default_rng(0)).quanta for dose in (0.5, 2.0))
    assert high == pytest.approx(4 * low)


def test_scatter_lowers_contrast():
    step = np.full((64, 64), 4.0, np.float32)
    step[:, :32] = 2.0
    contrast = []
    for scatter in (0.0, 0.5, 1.2):
        density = expose(step, replace(CLEAN, scatter=scatter), np.random.default_rng(0), pixel_cm=PIXEL)
        contrast.append(density[:, 48].mean() - density[:, 16].mean())
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[0] == pytest.approx(2.0, abs=1e-3)


def test_the_window_puts_lung_and_mediastinum_at_their_levels():
    scene = np.full((128, 128), 4.0, np.float32)
    lungs = np.zeros((128, 128), bool)
    lungs[20:100, 10:50] = lungs[20:100, 78:118] = True
    scene[lungs] = 2.0
    for seed in range(4):
        rendition = replace(sample_rendition(Acquisition("PA"), np.random.default_rng(seed)), gamma=1.0)
        window = measure_window(scene, lungs, CLEAN, rendition, pixel_cm=PIXEL)
        grey = develop(
            expose(scene, CLEAN, np.random.default_rng(0), pixel_cm=PIXEL), rendition, window, pixel_cm=PIXEL
        )
        assert np.median(grey[lungs]) == pytest.approx(rendition.lung_level, abs=0.06)
        assert np.median(grey[40:90, 55:73]) == pytest.approx(rendition.dense_level, abs=0.08)
        assert grey.min() >= 0
        assert grey.max() <= 1


def test_scanners_differ():
    mean = {
        name: np.mean(
            [sample_rendition(Acquisition("PA", scanner=name), np.random.default_rng(k)).edge_gain for k in range(30)]
        )
        for name in SCANNERS
    }
    assert mean["soft"] < mean["standard"] < mean["sharp"]


def test_the_display_does_not_depend_on_the_number_of_photons():
    settings = [sample_rendition(Acquisition("PA", dose=dose), np.random.default_rng(0)) for dose in (0.5, 2.0)]
    assert settings[0] == settings[1]
