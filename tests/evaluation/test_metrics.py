"""Metrics against scikit-learn and against loops over pairs."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from synthcxr.evaluation import (
    auroc,
    average_precision,
    median_rank,
    recall_at_k,
    roc_curve,
    stratified_auroc,
    stratified_average_precision,
)


def tied_problem(num_rows=300, seed=0, decimals=1):
    random = np.random.default_rng(seed)
    labels = random.random(num_rows) < 0.3
    scores = np.round(random.normal(size=num_rows) + labels, decimals)
    return labels, scores, random


def share_of_pairs_won(labels, scores, strata=None):
    """The definition, pair by pair."""
    won = pairs = 0
    for i in np.flatnonzero(labels):
        for j in np.flatnonzero(~labels):
            if strata is None or strata[i] == strata[j]:
                pairs += 1
                won += 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
    return won / pairs


@pytest.mark.parametrize("decimals", [0, 1, 9], ids=["many ties", "ties", "no ties"])
@pytest.mark.parametrize("kind", ["none", "integer", "real"])
def test_areas_equal_scikit_learn(decimals, kind):
    labels, scores, random = tied_problem(decimals=decimals)
    weights = {"none": None, "integer": random.poisson(1, 300), "real": random.random(300)}[kind]
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    assert auroc(labels, scores, weights) == pytest.approx(expected, abs=1e-12)
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_every_column_of_weights_is_one_resample(kind):
    labels, scores, random = tied_problem()
    weights = random.poisson(1, (300, 7)).astype(kind)
    for metric in (auroc, average_precision):
        together = metric(labels, scores, weights)
        apart = [metric(np.repeat(labels, column), np.repeat(scores, column)) for column in weights.T.astype(int)]
        np.testing.assert_allclose(together, apart, atol=1e-12)


def test_stratified_auroc_equals_the_loop_over_pairs_within_strata():
    labels, scores, random = tied_problem(120)
    strata = [("AP", "PA", None)[number] for number in random.integers(3, size=120)]
    assert stratified_auroc(labels, scores, strata) == pytest.approx(share_of_pairs_won(labels, scores, strata))
    assert stratified_auroc(labels, scores, None) == pytest.approx(share_of_pairs_won(labels, scores))


def test_stratified_auroc_with_weights_equals_repeated_rows():
    labels, scores, random = tied_problem(90)
    strata = random.integers(3, size=90)
    counts = random.poisson(1, 90)
    repeated = [np.repeat(values, counts) for values in (labels, scores, strata)]
    weighted = stratified_auroc(labels, scores, strata, weights=counts)
    assert weighted == pytest.approx(share_of_pairs_won(*repeated))


def test_what_only_tells_strata_apart_earns_nothing():
    labels, _, random = tied_problem(400)
    view = np.where(random.random(400) < np.where(labels, 0.9, 0.1), "PA", "AP")
    scores = (view == "PA").astype(float)
    assert auroc(labels, scores) > 0.8
    assert stratified_auroc(labels, scores, view) == 0.5


def test_a_stratum_with_one_class_counts_for_nothing():
    labels, scores, _ = tied_problem(60)
    strata = np.zeros(60, dtype=int)
    longer = np.r_[labels, True, True], np.r_[scores, -9.0, -9.0], np.r_[strata, 1, 1]
    assert stratified_auroc(*longer) == stratified_auroc(labels, scores, strata)
    assert stratified_average_precision(*longer) == stratified_average_precision(labels, scores, strata)


def test_stratified_average_precision_is_the_mean_over_strata_by_positives():
    labels, scores, random = tied_problem(200)
    strata = random.integers(2, size=200)
    parts = [(labels[strata == part], scores[strata == part]) for part in range(2)]
    expected = sum(average_precision_score(*part) * part[0].sum() for part in parts) / labels.sum()
    assert stratified_average_precision(labels, scores, strata) == pytest.approx(expected, abs=1e-12)


def test_a_missing_class_gives_nan_and_not_a_number():
    assert np.isnan(auroc(np.array([1, 1]), np.array([0.1, 0.2])))
    assert np.isnan(average_precision(np.array([0, 0]), np.array([0.1, 0.2])))
    weights = np.array([[1, 0], [1, 1]])
    assert np.isnan(auroc(np.array([1, 0]), np.array([0.1, 0.2]), weights)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.array([0, 1, 2]), np.zeros(3), "expected 0 or 1"),
        (np.array([0, 1]), np.array([0.0, np.nan]), "not finite"),
        (np.array([0, 1]), np.zeros(3), "one length"),
    ],
)
def test_bad_input_is_named(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        auroc(labels, scores)


def test_recall_counts_ranks_up_to_k():
    ranks = np.array([1, 2, 5, 6, 1.5])
    assert [recall_at_k(ranks, k) for k in (1, 2, 5)] == [0.2, 0.6, 0.8]
    assert recall_at_k(ranks, 1, np.array([3, 1, 0, 0, 0])) == 0.75


def test_the_median_rank_of_resamples_is_that_of_repeated_ranks():
    random = np.random.default_rng(0)
    ranks = random.integers(1, 40, size=51).astype(float)
    counts = random.poisson(1, (51, 20))
    expected = [np.median(np.repeat(ranks, column)) for column in counts.T]
    np.testing.assert_array_equal(median_rank(ranks, counts), expected)
    assert median_rank(ranks) == np.median(ranks)


def test_the_area_under_the_stratified_curve_is_the_stratified_auroc():
    labels, scores, random = tied_problem(400, decimals=9)
    strata = random.integers(3, size=400)
    false_rate, true_rate = roc_curve(labels, scores, strata, num_points=20001)
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(stratified_auroc(labels, scores, strata), abs=1e-3)
    assert (np.diff(true_rate) >= -1e-12).all()
