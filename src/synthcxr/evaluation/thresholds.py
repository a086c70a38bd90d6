"""Metrics that need a decision. The threshold comes from another split: chosen on the test rows it flatters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from datasets import Dataset

from .bootstrap import PatientResamples
from .classification import ClassificationProtocol, finding_tasks
from .results import Measured
from .rows import describe_images, patients


def measure_thresholds(
    scores: Mapping[str, np.ndarray],
    dataset: Dataset,
    validation_scores: Mapping[str, np.ndarray],
    validation: Dataset,
    protocol: ClassificationProtocol,
    *,
    score_protocol: str,
) -> list[Measured]:
    """
    F1 and balanced accuracy, each at the threshold that is best for it on the validation rows.

    Args:
        scores (`Mapping[str, np.ndarray]`): Per finding `(num_rows,)`.
        dataset (`Dataset`): Rows to measure on.
        validation_scores (`Mapping[str, np.ndarray]`): Per finding `(num_validation_rows,)`.
        validation (`Dataset`): Rows to choose thresholds on; share no patient with `dataset`.
        protocol (`ClassificationProtocol`): Without strata: a threshold holds for all rows.
        score_protocol (`str`): How the scores came about.

    Returns:
        `list[Measured]`: `f1/<finding>` and `balanced_accuracy/<finding>`.
    """
    if protocol.stratify_by is not None:
        raise ValueError(f"Thresholds do not go with stratify_by={protocol.stratify_by!r}; leave validation out.")
    if shared := set(patients(dataset)) & set(patients(validation)):
        raise ValueError(f"{len(shared)} patients are in both splits, such as {min(shared)!r}; expected none.")
    tasks = finding_tasks(dataset, list(scores), protocol)
    references = finding_tasks(validation, list(tasks), protocol)
    decided = {}
    for finding, reference in references.items():
        rows = tasks[finding].rows
        for name, metric in _METRICS.items():
            threshold = best_threshold(reference.labels, validation_scores[finding][reference.rows], metric=name)
            decided[f"{name}/{finding}"] = (rows, tasks[finding].labels, scores[finding][rows] >= threshold, metric)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: metric(*_confusion(labels, positive, weights[rows]))
            for name, (rows, labels, positive, metric) in decided.items()
        }

    description = f"{score_protocol}; {protocol.describe()}{describe_images(dataset)}; threshold=best on validation"
    estimates = PatientResamples(patients(dataset), protocol.num_bootstrap, protocol.seed).estimates(statistic)
    return [Measured(name, estimate, len(decided[name][0]), description) for name, estimate in estimates.items()]


def best_threshold(labels: np.ndarray, scores: np.ndarray, *, metric: str) -> float:
    """
    The score at or above which a row is called positive, such that `metric` is highest on these rows.

    Args:
        labels (`np.ndarray` of shape `(n,)`): True for a positive row.
        scores (`np.ndarray` of shape `(n,)`): Higher means more positive.
        metric (`str`): `"f1"` or `"balanced_accuracy"`.
    """
    if metric not in _METRICS:
        raise ValueError(f"metric is {metric!r}; expected one of {', '.join(_METRICS)}.")
    candidates = np.unique(scores)
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    true_positives = len(positive) - np.searchsorted(positive, candidates, side="left")
    false_positives = len(negative) - np.searchsorted(negative, candidates, side="left")
    values = _METRICS[metric](
        true_positives, false_positives, len(positive) - true_positives, len(negative) - false_positives
    )
    return float(candidates[np.nanargmax(values)])


def _confusion(labels: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """True and false positives, false and true negatives, each of shape `(num_resamples,)`."""
    masks = np.stack([labels & positive, ~labels & positive, labels & ~positive, ~labels & ~positive])
    return tuple(masks.astype(np.float64) @ weights)


def _f1(true_positives: np.ndarray, false_positives: np.ndarray, missed: np.ndarray, _: np.ndarray) -> np.ndarray:
    # Without a positive row F1 says nothing about the model.
    exists = (true_positives + missed) > 0
    whole = 2 * true_positives + false_positives + missed
    return np.where(exists, 2 * true_positives / np.maximum(whole, 1), np.nan)


def _balanced_accuracy(
    true_positives: np.ndarray, false_positives: np.ndarray, missed: np.ndarray, true_negatives: np.ndarray
) -> np.ndarray:
    positives, negatives = true_positives + missed, false_positives + true_negatives
    sensitivity = true_positives / np.maximum(positives, 1)
    specificity = true_negatives / np.maximum(negatives, 1)
    return np.where((positives > 0) & (negatives > 0), (sensitivity + specificity) / 2, np.nan)


_METRICS = {"f1": _f1, "balanced_accuracy": _balanced_accuracy}
