"""Each distance against the slow, obvious way and against what is known in closed form."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from synthcxr.evaluation import feature_statistics
from synthcxr.evaluation.feature_statistics import frechet_distance, kernel_distance, manifold_overlap


@pytest.fixture
def clouds():
    random = np.random.default_rng(0)
    mixing = random.normal(size=(6, 6))
    return random.normal(size=(90, 6)) @ mixing + 1, random.normal(size=(70, 6)) * 1.3


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that even small sets take several blocks."""
    monkeypatch.setattr(feature_statistics, "_BLOCK_ROWS", 32)
    monkeypatch.setattr("synthcxr.evaluation.nearest_images._BLOCK_ROWS", 32)
    monkeypatch.setattr("synthcxr.evaluation.nearest_images._BLOCK_COLUMNS", 20)


def test_fid_equals_the_formula_with_a_matrix_square_root(clouds):
    means = [cloud.mean(0) for cloud in clouds]
    covariances = [np.cov(cloud, rowvar=False) for cloud in clouds]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(*clouds) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(*reversed(clouds)) == pytest.approx(expected, rel=1e-9)


def test_fid_of_normal_distributions_is_the_closed_form():
    """Of commuting covariances: the squared distance of the means and of the deviations."""
    random = np.random.default_rng(0)
    deviations = np.array([1.0, 2.0, 0.5]), np.array([1.5, 1.0, 0.1])
    first, second = (random.normal(size=(400_000, 3)) * deviation for deviation in deviations)
    expected = 3**2 + ((deviations[0] - deviations[1]) ** 2).sum()
    assert frechet_distance(first + [0, 3, 0], second) == pytest.approx(expected, rel=0.01)


def test_fid_of_fewer_images_than_features_is_fine():
    cloud = np.random.default_rng(0).normal(size=(10, 50))
    assert frechet_distance(cloud, cloud) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(cloud.astype(np.float32), cloud + 1) == pytest.approx(50, rel=1e-5)


def test_fid_keeps_its_digits_far_from_the_origin(clouds):
    far = [cloud.astype(np.float32) + np.float32(1000) for cloud in clouds]
    assert frechet_distance(*far) == pytest.approx(frechet_distance(*clouds), rel=1e-3)


def naive_kid(first, second):
    def kernel(one, other):
        return (one @ other / len(one) + 1) ** 3

    within = [
        np.mean([kernel(one, other) for i, one in enumerate(cloud) for j, other in enumerate(cloud) if i != j])
        for cloud in (first, second)
    ]
    return sum(within) - 2 * np.mean([kernel(one, other) for one in first for other in second])


def test_kid_equals_the_loop_over_all_pairs(clouds):
    first, second = clouds[0][:40], clouds[1][:30]
    for num_blocks in (2, 7, 15):
        found = kernel_distance(first, second, num_blocks=num_blocks)
        assert found.value == pytest.approx(naive_kid(first, second), rel=1e-9)
        assert found.standard_error > 0


def test_kid_is_unbiased_and_its_error_is_honest():
    random = np.random.default_rng(0)
    found = [
        kernel_distance(random.normal(size=(60, 4)), random.normal(size=(60, 4)), num_blocks=10, seed=seed)
        for seed in range(150)
    ]
    values = np.array([item.value for item in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    typical = np.sqrt(np.mean([item.standard_error**2 for item in found]))
    assert 0.8 < typical / values.std() < 2, "the jackknife may err on the large side only"


def test_kid_of_shifted_clouds_is_far_from_zero():
    random = np.random.default_rng(0)
    found = kernel_distance(random.normal(size=(200, 4)) + 1, random.normal(size=(200, 4)))
    assert found.value > 5 * found.standard_error


def test_kid_needs_proper_subsets(clouds):
    for num_blocks in (1, 36):
        with pytest.raises(ValueError, match="expected 2 to half as many"):
            kernel_distance(*clouds, num_blocks=num_blocks)


def naive_overlap(reference, generated, k):
    def distances(one, other):
        return np.linalg.norm(one[:, None] - other[None], axis=-1)

    radii = np.sort(distances(reference, reference))[:, k]
    generated_radii = np.sort(distances(generated, generated))[:, k]
    between = distances(reference, generated)
    inside = between <= radii[:, None]
    return {
        "precision": inside.any(0).mean(),
        "recall": (between <= generated_radii[None]).any(1).mean(),
        "density": inside.sum(0).mean() / k,
        "coverage": inside.any(1).mean(),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_overlap_equals_the_full_matrices(clouds, k):
    for reference, generated in (clouds, clouds[::-1]):
        assert vars(manifold_overlap(reference, generated, k=k)) == pytest.approx(
            naive_overlap(reference, generated, k)
        )


def test_a_set_covers_itself(clouds):
    overlap = manifold_overlap(clouds[0], clouds[0].copy())
    assert (overlap.precision, overlap.recall, overlap.coverage) == (1, 1, 1)
    assert overlap.density == pytest.approx((5 + 1) / 5), "every image is in its own ball and on five rims"


def test_a_collapsed_generator_is_precise_and_covers_nothing(clouds):
    reference = clouds[0]
    collapsed = np.repeat(reference[:1], 80, axis=0)
    overlap = manifold_overlap(reference, collapsed)
    assert overlap.precision == 1
    assert overlap.coverage < 0.2
    assert overlap.recall < 0.1


def test_a_far_set_overlaps_nothing(clouds):
    overlap = manifold_overlap(clouds[0], clouds[1] + 1000)
    assert vars(overlap) == dict.fromkeys(("precision", "recall", "density", "coverage"), 0)


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, manifold_overlap])
def test_features_that_cannot_be_compared_are_refused(measure, clouds):
    with pytest.raises(ValueError, match="one dim"):
        measure(clouds[0], clouds[1][:, :3])
    with pytest.raises(ValueError, match="not finite"):
        measure(clouds[0], np.full_like(clouds[1], np.nan))
    with pytest.raises(ValueError, match="and 1 images|expected 2 to half|fewer than 1 images"):
        measure(clouds[0], clouds[1][:1])
