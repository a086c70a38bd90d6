"""Nearest neighbours against the full matrix of distances, and copies that are planted to be found."""

import numpy as np
import pytest
from datasets import Dataset, Features, Image
from PIL import Image as PILImage

from synthcxr.evaluation import nearest_images as module
from synthcxr.evaluation.nearest_images import measure_memorisation, nearest_images, thumbnails


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", 16)
    monkeypatch.setattr(module, "_BLOCK_COLUMNS", 24)


def cloud(num_rows, seed, dim=8):
    return np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_the_search_equals_the_full_matrix(k):
    queries, references = cloud(50, 0), cloud(100, 1)
    distances = np.linalg.norm(queries[:, None].astype(np.float64) - references[None], axis=-1)
    found = nearest_images(queries, references, k=k)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1)[:, :k])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :k], rtol=1e-12)


def test_a_copy_is_at_distance_zero_even_far_from_the_origin():
    references = cloud(100, 0) + 1e4
    found = nearest_images(references[[7, 93]], references)
    assert found.indices[:, 0].tolist() == [7, 93]
    assert found.distances[:, 0].tolist() == [0, 0]


def test_planted_copies_are_the_ones_that_are_near():
    training, held_out, generated = cloud(500, 0), cloud(300, 1), cloud(200, 2)
    honest = measure_memorisation(generated, training, held_out)
    assert honest.share_nearer <= 0.01
    assert honest.median_ratio == pytest.approx(1, abs=0.1)
    generated[:20] = training[100:120] + 0.01 * cloud(20, 3)
    caught = measure_memorisation(generated, training, held_out)
    assert caught.num_nearer == honest.num_nearer + 20 or caught.num_nearer == 20
    assert caught.neighbours.indices[:20, 0].tolist() == list(range(100, 120))


def test_the_threshold_is_a_distance_that_was_seen():
    training, held_out = cloud(50, 0), cloud(40, 1)
    seen = nearest_images(held_out, training).distances[:, 0]
    assert measure_memorisation(held_out, training, held_out).threshold == seen.min()
    found = measure_memorisation(held_out, training, held_out, quantile=0.25)
    assert found.threshold == np.sort(seen)[9]
    assert found.num_nearer == 9
    assert measure_memorisation(held_out, training, held_out).num_nearer == 0


def test_a_lack_of_rows_is_said():
    with pytest.raises(ValueError, match="expected 1 to 4"):
        nearest_images(cloud(3, 0), cloud(4, 1), k=5)
    with pytest.raises(ValueError, match="a row at least"):
        nearest_images(cloud(0, 0), cloud(4, 1))
    with pytest.raises(ValueError, match="quantile is 0"):
        measure_memorisation(cloud(3, 0), cloud(4, 1), cloud(4, 2), quantile=0)


def test_thumbnails_see_through_brightness_and_contrast():
    pixels = np.random.default_rng(0).integers(60, 120, (64, 48), dtype=np.uint8)
    brighter = (pixels.astype(int) * 2 - 20).astype(np.uint8)
    images = [PILImage.fromarray(values) for values in (pixels, brighter, pixels[::-1], np.zeros_like(pixels))]
    rows = Dataset.from_dict({"image": images}, features=Features({"image": Image(mode="L")}))
    small = thumbnails(rows, size=8, batch_size=3)
    assert small.shape == (4, 64)
    np.testing.assert_allclose(small[0], small[1], atol=1e-4)
    assert np.abs(small[0] - small[2]).max() > 1
    assert np.abs(small[3]).max() == 0
