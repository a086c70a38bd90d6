"""MS-SSIM against the slow, obvious way; pairs of rows that are what they are called."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image
from PIL import Image as PILImage
from scipy.ndimage import correlate

from synthcxr.evaluation.structural_similarity import draw_pairs, mean_similarity, ms_ssim, num_scales


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    first = random.random((3, 64, 48))
    return first, np.clip(first + 0.2 * random.normal(size=first.shape), 0, 1)


def naive(first, second, scales):
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(image):
        return correlate(image, window)[5:-5, 5:-5]

    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    product = 1.0
    for scale, weight in enumerate(weights / weights.sum()):
        means = blur(first), blur(second)
        variances = [blur(image**2) - mean**2 for image, mean in zip((first, second), means, strict=True)]
        covariance = blur(first * second) - means[0] * means[1]
        term = (2 * covariance + 0.03**2) / (sum(variances) + 0.03**2)
        if scale == scales - 1:
            term = term * (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
        product *= max(0, term.mean()) ** weight
        first, second = (
            image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean((1, 3)) for image in (first, second)
        )
    return product


def test_it_equals_the_formula_written_out(images):
    first, second = (torch.from_numpy(values) for values in images)
    expected = [naive(one, other, num_scales(64, 48)) for one, other in zip(*images, strict=True)]
    np.testing.assert_allclose(ms_ssim(first, second).numpy(), expected, rtol=1e-9)
    torch.testing.assert_close(ms_ssim(first, second), ms_ssim(second, first))


def test_equal_images_have_one_and_strangers_little(images):
    first = torch.from_numpy(images[0])
    torch.testing.assert_close(ms_ssim(first, first), torch.ones(3, dtype=torch.float64))
    assert (ms_ssim(first, first.roll(1, dims=0)) < 0.3).all()
    assert (ms_ssim(first, 1 - first) == 0).all(), "a negative has no positive contrast term"


def test_small_images_have_fewer_scales():
    assert [num_scales(side, side) for side in (11, 64, 175, 176, 512)] == [1, 3, 4, 5, 5]
    with pytest.raises(ValueError, match="expected 11 pixels"):
        num_scales(64, 10)


def test_integers_that_would_wrap_are_refused():
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    with pytest.raises(ValueError, match="expected floats"):
        ms_ssim(image, image + 1)
    with pytest.raises(ValueError, match="expected .batch_size, height, width. of both"):
        ms_ssim(torch.zeros(1, 64, 64), torch.zeros(2, 64, 64))


def test_rows_of_any_bit_depth_are_compared_as_grey():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    deep = PILImage.fromarray(pixels.astype(np.uint16) * 257)
    rows = Dataset.from_dict(
        {"image": [PILImage.fromarray(pixels), deep, PILImage.fromarray(255 - pixels)]},
        features=Features({"image": Image()}),
    )
    values = mean_similarity(rows, np.array([[0, 1], [0, 2], [1, 0]]), batch_size=2)
    assert values == pytest.approx([1, 0, 1], abs=1e-6)
    assert len(mean_similarity(rows, np.empty((0, 2), dtype=int))) == 0


def test_pairs_are_within_or_across_prompts():
    groups = ["a"] * 5 + ["b"] * 3 + ["c"]
    within = draw_pairs(groups, within=True, num_pairs=100, seed=0)
    assert len(within) == 4 + 2
    assert all(groups[one] == groups[other] and one != other for one, other in within)
    across = draw_pairs(groups, within=False, num_pairs=20, seed=0)
    assert 0 < len(across) <= 20
    assert all(groups[one] != groups[other] for one, other in across)
    assert len({tuple(pair) for pair in across}) == len(across)
    assert len(draw_pairs(groups, within=True, num_pairs=2, seed=0)) == 2
    np.testing.assert_array_equal(across, draw_pairs(groups, within=False, num_pairs=20, seed=0))


def test_where_every_prompt_differs_there_is_no_pair_within():
    assert draw_pairs(["a", "b", "c"], within=True, num_pairs=9, seed=0).shape == (0, 2)
    assert draw_pairs(["a", "a"], within=False, num_pairs=9, seed=0).shape == (0, 2)
