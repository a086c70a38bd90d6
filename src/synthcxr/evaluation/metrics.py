"""
Metrics with bootstrap weights: every resample in one pass over the sorted scores.

`weights` is `None` (every row counts once), `(n,)`, or `(n, num_resamples)`: how often each row counts in each
resample. The result is then a number, a number, or `(num_resamples,)`; NaN marks a resample in which the metric does
not exist (a class is missing), so that the caller can count it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class RankedClasses(NamedTuple):
    """
    Where the positives stand among the negatives and among themselves; reused for every block of resamples.

    Args:
        positives (`np.ndarray` of shape `(num_positives,)`): Row indices, by ascending score.
        negatives (`np.ndarray` of shape `(num_negatives,)`): Row indices, by ascending score.
        negatives_below (`np.ndarray` of shape `(num_positives,)`): Negatives with a lower score than the positive.
        negatives_tied (`np.ndarray` of shape `(num_positives,)`): Negatives with a lower or equal score.
        positives_below (`np.ndarray` of shape `(num_positives,)`): Positives with a lower score.
    """

    positives: np.ndarray
    negatives: np.ndarray
    negatives_below: np.ndarray
    negatives_tied: np.ndarray
    positives_below: np.ndarray


class ClassAreas(NamedTuple):
    """
    Sums over the rows of one stratum, each of shape `(num_resamples,)`.

    Args:
        pairs_won (`np.ndarray`): (positive, negative) pairs in the right order, a tie counting one half.
        pairs (`np.ndarray`): All such pairs.
        precision (`np.ndarray`): Over positives, the precision at their score.
        positives (`np.ndarray`): Positives.
    """

    pairs_won: np.ndarray
    pairs: np.ndarray
    precision: np.ndarray
    positives: np.ndarray


def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """
    Area under the ROC curve: the share of (positive, negative) pairs in the right order, a tie counting one half.

    Args:
        labels (`np.ndarray` of shape `(n,)`): True for a positive row.
        scores (`np.ndarray` of shape `(n,)`): Higher means more positive.
        weights (`np.ndarray` of shape `(n,)` or `(n, num_resamples)`, *optional*): See the module.

    Returns:
        `float` or `np.ndarray` of shape `(num_resamples,)`: In 0 to 1; NaN without a positive or a negative.

    Example:

    ```python
    >>> auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875

    ```
    """
    return stratified_auroc(labels, scores, None, weights=weights)


def stratified_auroc(
    labels: np.ndarray,
    scores: np.ndarray,
    strata: Sequence | np.ndarray | None,
    *,
    weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """
    AUROC over the pairs that lie within one stratum, so that what tells strata apart (view, brightness) earns nothing.

    Every stratum's AUROC counts by its number of pairs; a stratum with only one class has none.

    Args:
        labels (`np.ndarray` of shape `(n,)`): True for a positive row.
        scores (`np.ndarray` of shape `(n,)`): Higher means more positive.
        strata (sequence of `n` hashable values, *optional*): The stratum of each row; `None` puts all in one.
        weights (`np.ndarray` of shape `(n,)` or `(n, num_resamples)`, *optional*): See the module.

    Returns:
        `float` or `np.ndarray` of shape `(num_resamples,)`: In 0 to 1; NaN when no stratum has a pair.

    Example:

    ```python
    >>> labels, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    >>> auroc(labels, scores), stratified_auroc(labels, scores, ["AP", "AP", "PA", "PA"])
    (0.75, 1.0)

    ```
    """
    labels, scores = _checked(labels, scores)
    columns = _weight_columns(weights, len(labels))
    won = np.zeros(columns.shape[1])
    pairs = np.zeros(columns.shape[1])
    for rows in stratum_rows(strata, len(labels)):
        areas = class_areas(rank_classes(labels[rows], scores[rows]), columns[rows])
        won += areas.pairs_won
        pairs += areas.pairs
    return _as_given(_ratio(won, pairs), weights)


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """
    Area under the precision-recall curve as a step function (average precision); tied scores are one threshold.

    Args:
        labels (`np.ndarray` of shape `(n,)`): True for a positive row.
        scores (`np.ndarray` of shape `(n,)`): Higher means more positive.
        weights (`np.ndarray` of shape `(n,)` or `(n, num_resamples)`, *optional*): See the module.

    Returns:
        `float` or `np.ndarray` of shape `(num_resamples,)`: In 0 to 1, the prevalence by chance; NaN without a
        positive.
    """
    return stratified_average_precision(labels, scores, None, weights=weights)


def stratified_average_precision(
    labels: np.ndarray,
    scores: np.ndarray,
    strata: Sequence | np.ndarray | None,
    *,
    weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """
    Average precision of each stratum that has both classes, weighted by its number of positives.

    Args and shapes are those of [`stratified_auroc`]. With `strata=None` negatives are not required.
    """
    labels, scores = _checked(labels, scores)
    columns = _weight_columns(weights, len(labels))
    total = np.zeros(columns.shape[1])
    positives = np.zeros(columns.shape[1])
    for rows in stratum_rows(strata, len(labels)):
        ranked = rank_classes(labels[rows], scores[rows])
        if len(ranked.positives) == 0 or (strata is not None and len(ranked.negatives) == 0):
            continue
        areas = class_areas(ranked, columns[rows])
        total += areas.precision
        positives += areas.positives
    return _as_given(_ratio(total, positives), weights)


def rank_classes(labels: np.ndarray, scores: np.ndarray) -> RankedClasses:
    """Sort once; every resample of these rows then costs two cumulative sums."""
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)
    positives = positives[np.argsort(scores[positives], kind="stable")]
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    positive_scores, negative_scores = scores[positives], scores[negatives]
    return RankedClasses(
        positives,
        negatives,
        np.searchsorted(negative_scores, positive_scores, side="left"),
        np.searchsorted(negative_scores, positive_scores, side="right"),
        np.searchsorted(positive_scores, positive_scores, side="left"),
    )


def class_areas(ranked: RankedClasses, weights: np.ndarray) -> ClassAreas:
    """
    The sums that AUROC and average precision are ratios of, for every resample at once.

    Args:
        ranked (`RankedClasses`): Of these rows.
        weights (`np.ndarray` of shape `(n, num_resamples)`): Multiplicities.

    Returns:
        `ClassAreas`
    """
    negatives = _cumulative(weights, ranked.negatives)  # (num_negatives + 1, num_resamples)
    positives = _cumulative(weights, ranked.positives)  # (num_positives + 1, num_resamples)
    positive_weights = weights[ranked.positives]
    below = negatives[ranked.negatives_below]
    won = np.einsum("ij,ij->j", positive_weights, below + negatives[ranked.negatives_tied], dtype=np.float64) / 2
    # Precision at the threshold that lets a positive through: all rows of its score or higher.
    true_positives = positives[-1] - positives[ranked.positives_below]
    precision = _ratio(true_positives, true_positives + (negatives[-1] - below), empty=0.0)
    num_positives = positives[-1].astype(np.float64)
    return ClassAreas(
        won,
        num_positives * negatives[-1],
        np.einsum("ij,ij->j", positive_weights, precision, dtype=np.float64),
        num_positives,
    )


def stratum_rows(strata: Sequence | np.ndarray | None, num_rows: int) -> list[np.ndarray]:
    """Row indices of each stratum; one stratum with everything when there are none."""
    if strata is None:
        return [np.arange(num_rows)]
    if len(strata) != num_rows:
        raise ValueError(f"strata has {len(strata)} values; expected {num_rows}, one per row.")
    # Numbered by hand: `np.unique` cannot sort None beside text, and would turn a tuple into two columns.
    numbers: dict = {}
    codes = np.array([numbers.setdefault(stratum, len(numbers)) for stratum in strata], dtype=np.int64)
    return [np.flatnonzero(codes == code) for code in range(len(numbers))]


def recall_at_k(ranks: np.ndarray, k: int, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Share of queries whose first relevant item has rank `k` or better (ranks start at 1)."""
    columns = _weight_columns(weights, len(ranks))
    hits = (np.asarray(ranks) <= k).astype(np.float64)
    return _as_given(_ratio(hits @ columns, columns.sum(0, dtype=np.float64)), weights)


def median_rank(ranks: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Median of the ranks; the mean of the two middle ones when their number is even."""
    columns = _weight_columns(weights, len(ranks))
    order = np.argsort(ranks, kind="stable")
    ordered = np.asarray(ranks, dtype=np.float64)[order]
    cumulative = np.cumsum(columns[order], axis=0, dtype=np.float64)
    half = cumulative[-1] / 2
    last = len(ordered) - 1
    lower = np.minimum((cumulative < half).sum(0), last)
    upper = np.minimum((cumulative <= half).sum(0), last)
    return _as_given(np.where(cumulative[-1] > 0, (ordered[lower] + ordered[upper]) / 2, np.nan), weights)


def roc_curve(
    labels: np.ndarray, scores: np.ndarray, strata: Sequence | np.ndarray | None = None, *, num_points: int = 501
) -> tuple[np.ndarray, np.ndarray]:
    """
    ROC curve on an even grid of false positive rates; over strata, their mean weighted by pairs.

    The area under the stratified curve is the stratified AUROC (up to the grid).

    Returns:
        `(false_positive_rate, true_positive_rate)`, each of shape `(num_points,)`.
    """
    labels, scores = _checked(labels, scores)
    grid = np.linspace(0, 1, num_points)
    curve, pairs = np.zeros(num_points), 0
    for rows in stratum_rows(strata, len(labels)):
        positive, negative = np.sort(scores[rows][labels[rows]]), np.sort(scores[rows][~labels[rows]])
        if not len(positive) or not len(negative):
            continue
        thresholds = np.unique(scores[rows])[::-1]
        true_rate = 1 - np.searchsorted(positive, thresholds, side="left") / len(positive)
        false_rate = 1 - np.searchsorted(negative, thresholds, side="left") / len(negative)
        step = np.interp(grid, np.r_[0, false_rate, 1], np.r_[0, true_rate, 1])
        curve += step * len(positive) * len(negative)
        pairs += len(positive) * len(negative)
    if not pairs:
        raise ValueError("No stratum has a positive and a negative row; a ROC curve needs both.")
    return grid, curve / pairs


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape}; expected two vectors of one length.")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels hold {np.setdiff1d(labels, (0, 1))[0]!r}; expected 0 or 1.")
    return labels.astype(bool), scores


def _weight_columns(weights: np.ndarray | None, num_rows: int) -> np.ndarray:
    if weights is None:
        return np.ones((num_rows, 1))
    weights = np.asarray(weights)
    if weights.ndim not in (1, 2) or len(weights) != num_rows:
        raise ValueError(f"weights has shape {weights.shape}; expected ({num_rows},) or ({num_rows}, num_resamples).")
    return weights.reshape(num_rows, -1)


def _cumulative(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    # Multiplicities are small integers: 32 bits halve the memory traffic, and stay exact.
    kind = np.int32 if weights.dtype.kind in "ui" else np.float64
    cumulative = np.zeros((len(rows) + 1, weights.shape[1]), dtype=kind)
    np.cumsum(weights[rows], axis=0, dtype=kind, out=cumulative[1:])
    return cumulative


def _ratio(numerator: np.ndarray, denominator: np.ndarray, *, empty: float = np.nan) -> np.ndarray:
    filled = np.full(np.shape(numerator), empty, dtype=np.float64)
    return np.divide(numerator, denominator, out=filled, where=denominator > 0)


def _as_given(values: np.ndarray, weights: np.ndarray | None) -> float | np.ndarray:
    return values if weights is not None and np.ndim(weights) == 2 else float(values[0])
