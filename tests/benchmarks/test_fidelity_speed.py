"""
FID, KID and precision / recall / density / coverage against the ways that benchmarks of generators compute them.

Equality and loose floors of the ratios of CPU times are asserted; the ratios are reported: add
`-o log_cli=true --log-cli-level=INFO`. What others run is written here from its published definition.
"""

import logging
import time
from statistics import median

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import pairwise_distances

from synthcxr.evaluation.feature_statistics import frechet_distance, kernel_distance, manifold_overlap


logger = logging.getLogger(__name__)

NUM_IMAGES, DIM, NUM_PAIRS = 2000, 192, 3
SUBSET_SIZE, NUM_SUBSETS = 1000, 100


@pytest.fixture(scope="module")
def features():
    random = np.random.default_rng(0)
    mixing = random.normal(size=(DIM, DIM)) / DIM**0.5
    return [(random.normal(size=(NUM_IMAGES, DIM)) @ mixing + shift).astype(np.float32) for shift in (0, 0.1)]


def compare(usual, ours, record_property, name, *, scale=1):
    """Both, in turns; the median of the ratio of their CPU times, and what they gave."""
    ratios = []
    for _ in range(NUM_PAIRS):
        started = time.process_time()
        expected = usual()
        between = time.process_time()
        found = ours()
        ratios.append(scale * (between - started) / (time.process_time() - between))
    logger.info("%s: %.1f times less CPU time (%.1f to %.1f)", name, median(ratios), min(ratios), max(ratios))
    record_property("ratio", median(ratios))
    return expected, found, max(ratios)


def test_kid_of_all_pairs_is_faster_than_a_hundred_subsets_and_steadier(features, record_property):
    random = np.random.default_rng(0)
    num_run = 4  # of the hundred subsets; the rest are like them

    def subsets():
        values = []
        for _ in range(num_run):
            first, second = (
                cloud[random.choice(NUM_IMAGES, SUBSET_SIZE, replace=False)].astype(np.float64) for cloud in features
            )
            within = [(cloud @ cloud.T / DIM + 1) ** 3 for cloud in (first, second)]
            between = ((first @ second.T / DIM + 1) ** 3).mean()
            pairs = SUBSET_SIZE * (SUBSET_SIZE - 1)
            values.append(sum((kernel.sum() - np.trace(kernel)) / pairs for kernel in within) - 2 * between)
        return values

    scale = NUM_SUBSETS / num_run
    usual, found, ratio = compare(subsets, lambda: kernel_distance(*features), record_property, "KID", scale=scale)
    assert abs(np.mean(usual) - found.value) < 4 * max(np.std(usual), found.standard_error)
    assert ratio > 2


def test_overlap_equals_the_full_matrices(features, record_property):
    def full():
        between = pairwise_distances(*features)
        radii = [np.partition(pairwise_distances(cloud, cloud), 5, axis=-1)[:, 5] for cloud in features]
        inside = between <= radii[0][:, None]
        recall = (between <= radii[1][None]).any(1).mean()
        return [inside.any(0).mean(), recall, inside.sum(0).mean() / 5, inside.any(1).mean()]

    usual, found, ratio = compare(full, lambda: manifold_overlap(*features), record_property, "overlap")
    np.testing.assert_allclose(list(vars(found).values()), usual, atol=2e-3)  # theirs are float32 to the end
    assert ratio > 0.3, "what is asked for here is memory that does not grow with the square"


def test_fid_by_eigenvalues_equals_the_matrix_square_root(features, record_property):
    def usual():
        first, second = (np.cov(cloud, rowvar=False) for cloud in features)
        shift = features[0].mean(0, dtype=np.float64) - features[1].mean(0, dtype=np.float64)
        return shift @ shift + np.trace(first + second - 2 * sqrtm(first @ second).real)

    expected, found, ratio = compare(usual, lambda: frechet_distance(*features), record_property, "FID")
    assert found == pytest.approx(expected, rel=1e-6)
    assert ratio > 0.3
