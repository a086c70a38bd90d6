"""Decisions: the threshold never sees the rows that are measured."""

import numpy as np
import pytest
from evaluation.known_encoders import make_dataset, make_rows
from sklearn.metrics import balanced_accuracy_score, f1_score

from synthcxr.evaluation.classification import ClassificationProtocol
from synthcxr.evaluation.thresholds import best_threshold, measure_thresholds


def split(seed, name):
    rows = make_rows(150, seed=seed)
    for row in rows:
        row["patient_id"] = f"{name}-{row['id']}"
    dataset = make_dataset(rows)
    labels = np.array(["cardiomegaly" in row["labels"] for row in rows])
    return dataset, labels, np.random.default_rng(seed).normal(size=150) + labels


@pytest.mark.parametrize(("metric", "reference"), [("f1", f1_score), ("balanced_accuracy", balanced_accuracy_score)])
def test_the_best_threshold_is_found_among_all(metric, reference):
    _, labels, scores = split(0, "test")
    scores = np.round(scores, 1)
    values = {cut: reference(labels, scores >= cut) for cut in np.unique(scores)}
    assert values[best_threshold(labels, scores, metric=metric)] == pytest.approx(max(values.values()))


def test_thresholds_of_validation_are_applied_to_the_test_rows():
    dataset, labels, scores = split(0, "test")
    validation, validation_labels, validation_scores = split(1, "validation")
    measured = measure_thresholds(
        {"cardiomegaly": scores},
        dataset,
        {"cardiomegaly": validation_scores},
        validation,
        ClassificationProtocol(num_bootstrap=50),
        score_protocol="score=test",
    )
    values = {item.metric: item.estimate.value for item in measured}
    for name, reference in (("f1", f1_score), ("balanced_accuracy", balanced_accuracy_score)):
        threshold = best_threshold(validation_labels, validation_scores, metric=name)
        assert values[f"{name}/cardiomegaly"] == pytest.approx(reference(labels, scores >= threshold))
    assert all("threshold=best on validation" in item.protocol for item in measured)
    assert all(item.estimate.interval[0] < item.estimate.value < item.estimate.interval[1] for item in measured)


def test_splits_that_share_a_patient_are_refused():
    dataset, _, scores = split(0, "test")
    arguments = {"cardiomegaly": scores}, dataset, {"cardiomegaly": scores}, dataset
    with pytest.raises(ValueError, match="150 patients are in both splits"):
        measure_thresholds(*arguments, ClassificationProtocol(), score_protocol="x")
    with pytest.raises(ValueError, match="stratify_by='view'"):
        measure_thresholds(*arguments, ClassificationProtocol(stratify_by="view"), score_protocol="x")
