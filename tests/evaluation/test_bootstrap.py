"""Resampled patients: equal to the slow way, clustered, paired, and honest about resamples without a class."""

import logging

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from synthcxr.evaluation import (
    Estimate,
    PatientResamples,
    auroc,
    average_precision,
    bootstrap,
    delong_interval,
    paired_difference,
)


def problem(num_patients=150, images_per_patient=1, seed=0, shift=1.0):
    """Labels and scores that go with the patient: images of one patient are alike."""
    random = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), images_per_patient)
    labels = (random.random(num_patients) < 0.4)[patients]
    scores = random.normal(size=num_patients)[patients] + shift * labels
    return labels, scores, [f"patient-{number}" for number in patients]


def auroc_estimate(labels, scores, patients, *, num_resamples=400, seed=0):
    resamples = PatientResamples(patients, num_resamples, seed)
    return resamples.estimates(lambda weights: {"auroc": auroc(labels, scores, weights)})["auroc"]


def width(estimate):
    low, high = estimate.interval
    return high - low


def test_resampled_values_equal_scikit_learn_on_the_rows_drawn():
    labels, scores, patients = problem(60, 2)
    resamples = PatientResamples(patients, 30, seed=4)
    estimate = auroc_estimate(labels, scores, patients, num_resamples=30, seed=4)
    weights = np.concatenate(list(resamples.blocks()), axis=1)
    for column, value in zip(weights.T, estimate.samples, strict=True):
        rows = np.repeat(np.arange(len(labels)), column)
        assert value == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-12)


def test_a_patient_comes_as_a_whole_and_every_draw_has_as_many_patients():
    _, _, patients = problem(40, 3)
    weights = next(PatientResamples(patients, 25).blocks())
    assert (weights.reshape(40, 3, 25) == weights.reshape(40, 3, 25)[:, :1]).all()
    assert (weights.sum(0) == 120).all()


def test_draws_depend_on_neither_the_order_of_rows_nor_the_size_of_blocks(monkeypatch):
    labels, scores, patients = problem(80, 2)
    order = np.random.default_rng(1).permutation(len(labels))
    whole = auroc_estimate(labels, scores, patients)
    shuffled = auroc_estimate(labels[order], scores[order], [patients[row] for row in order])
    np.testing.assert_allclose(shuffled.samples, whole.samples, atol=1e-12)
    monkeypatch.setattr(bootstrap, "_BLOCK_ELEMENTS", 7 * len(labels))
    np.testing.assert_array_equal(auroc_estimate(labels, scores, patients).samples, whole.samples)


def test_another_seed_draws_otherwise_and_the_same_seed_alike():
    problem_rows = problem()
    first, again, other = (auroc_estimate(*problem_rows, seed=seed).samples for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_copies_of_images_do_not_narrow_the_interval():
    once = auroc_estimate(*problem(150, 1))
    labels, scores, patients = problem(150, 4)
    clustered = auroc_estimate(labels, scores, patients)
    naive = auroc_estimate(labels, scores, [f"image-{row}" for row in range(len(labels))])
    assert width(clustered) == pytest.approx(width(once), rel=0.15)
    assert width(naive) < 0.65 * width(clustered)


def test_the_interval_agrees_with_delong():
    labels, scores, patients = problem(400)
    low, high = delong_interval(labels, scores)
    interval = auroc_estimate(labels, scores, patients, num_resamples=1000).interval
    assert interval == pytest.approx((low, high), abs=0.01)
    assert low < roc_auc_score(labels, scores) < high


def test_delong_matches_its_definition():
    labels, scores, _ = problem(50)
    scores = np.round(scores, 1)
    wins = np.array([[1.0 * (x > y) + 0.5 * (x == y) for y in scores[~labels]] for x in scores[labels]])
    variance = wins.mean(1).var(ddof=1) / labels.sum() + wins.mean(0).var(ddof=1) / (~labels).sum()
    low, high = delong_interval(labels, scores)
    assert high - low == pytest.approx(2 * 1.959963985 * np.sqrt(variance))
    assert (low + high) / 2 == pytest.approx(wins.mean())


def test_resamples_without_a_class_are_counted_and_told(caplog):
    labels, scores, patients = problem(40)
    labels = np.arange(40) < 2
    with caplog.at_level(logging.INFO, logger="synthcxr"):
        estimate = auroc_estimate(labels, scores, patients)
    # Two of forty patients: a resample misses both with probability (38 / 40) ** 40 = 0.13.
    assert estimate.num_degenerate == np.isnan(estimate.samples).sum()
    assert 20 < estimate.num_degenerate < 90
    assert f"{estimate.num_degenerate} of 400 resamples" in caplog.text
    assert None not in estimate.interval


def test_no_interval_where_most_resamples_have_no_value():
    assert Estimate(0.5, np.array([0.5, np.nan, np.nan]), "x").interval == (None, None)
    assert Estimate(0.5, np.empty(0), "x").interval == (None, None)


def test_a_metric_that_does_not_exist_is_left_out(caplog):
    labels, scores, patients = problem(40)
    resamples = PatientResamples(patients, 10)
    estimates = resamples.estimates(lambda weights: {"auroc/hernia": auroc(np.zeros(40), scores, weights)})
    assert estimates == {}
    assert "auroc/hernia is left out" in caplog.text


def test_a_small_steady_difference_shows_in_pairs_only():
    labels, scores, patients = problem(200)
    better = scores + 0.15 * labels
    first, second = (auroc_estimate(labels, values, patients) for values in (better, scores))
    difference = paired_difference(first, second)
    assert first.interval[0] < second.interval[1], "the two intervals overlap"
    assert 0 < difference.ci_low <= difference.difference <= difference.ci_high
    assert difference.p_value < 0.02
    assert difference.ci_high - difference.ci_low < 0.3 * width(first)


def test_a_model_does_not_differ_from_itself():
    estimate = auroc_estimate(*problem())
    difference = paired_difference(estimate, estimate)
    assert (difference.difference, difference.ci_low, difference.ci_high, difference.p_value) == (0, 0, 0, 1)


def test_estimates_of_other_resamples_are_not_paired():
    rows = problem()
    with pytest.raises(ValueError, match="different resamples"):
        paired_difference(auroc_estimate(*rows, seed=0), auroc_estimate(*rows, seed=1))


def test_intervals_of_two_equally_good_models_cover_zero_as_often_as_promised():
    covered = 0
    for seed in range(60):
        labels, scores, patients = problem(120, seed=seed)
        noise = np.random.default_rng(1000 + seed).normal(size=(2, len(labels)))
        first, second = (auroc_estimate(labels, scores + part, patients, num_resamples=200) for part in noise)
        difference = paired_difference(first, second)
        covered += difference.ci_low <= 0 <= difference.ci_high
    # 57 of 60 are expected; fewer than 51 would come once in about a hundred times.
    assert covered >= 51


def test_the_reflected_interval_of_mean_average_precision_covers_what_the_plain_one_misses():
    num_rows, num_findings, prevalence = 300, 10, 0.05
    covered = {True: 0, False: 0}
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels = random.permuted(np.arange(num_rows) < prevalence * num_rows, axis=0)
        columns = [(random.permutation(labels), random.normal(size=num_rows)) for _ in range(num_findings)]

        def statistic(weights, columns=columns):
            return {"auprc": np.mean([average_precision(*column, weights) for column in columns], axis=0)}

        resamples = PatientResamples([str(row) for row in range(num_rows)], 100, seed)
        for reflected in covered:
            estimate = resamples.estimates(statistic, reflected=["auprc"] * reflected)["auprc"]
            low, high = estimate.interval
            covered[reflected] += low <= prevalence <= high
    assert covered[True] >= 34
    assert covered[False] <= 20


@pytest.mark.parametrize(("patients", "num_resamples"), [([], 10), (["a"], -1)])
def test_impossible_resamples_are_refused(patients, num_resamples):
    with pytest.raises(ValueError, match="row to resample|num_resamples is -1"):
        PatientResamples(patients, num_resamples)
