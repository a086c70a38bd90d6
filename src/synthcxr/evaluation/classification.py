"""Scores of findings against the truth: AUROC and AUPRC per finding and macro, within strata, with intervals."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from datasets import Dataset

from ..ontology import ancestors
from .bootstrap import Estimate, PatientResamples
from .metrics import RankedClasses, class_areas, rank_classes, stratum_rows
from .results import Measured
from .rows import (
    Truth,
    brightness_quartiles,
    column_values,
    describe_images,
    patients,
    read_truth,
    single_origin,
)


logger = logging.getLogger(__name__)

Negatives = Literal["all", "no_finding", "abnormal"]


@dataclass(frozen=True)
class ClassificationProtocol:
    """
    Everything that decides a classification number but the scores.

    Args:
        stratify_by (`str`, *optional*): Column whose values must not tell positives from negatives: only pairs within
            one value count. On real images it is `"view"` unless another column is named: views are never pooled.
        match_brightness (`bool`, *optional*, defaults to `False`): Count only pairs within one quartile of the mean
            grey level, taken within the stratum (`"view"` when no other column is named).
        negatives (`str`, *optional*, defaults to `"all"`): `"all"` rows without the finding, only rows of
            `"no_finding"`, or only `"abnormal"` rows, that have another finding.
        min_positives (`int`, *optional*, defaults to 5): A finding with fewer positive or negative patients is
            left out.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients behind the intervals.
        seed (`int`, *optional*, defaults to 0): Of the resamples.
    """

    stratify_by: str | None = None
    match_brightness: bool = False
    negatives: Negatives = "all"
    min_positives: int = 5
    num_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.negatives not in get_args(Negatives):
            raise ValueError(f"negatives is {self.negatives!r}; expected one of {', '.join(get_args(Negatives))}.")
        if self.min_positives < 1:
            raise ValueError(f"min_positives is {self.min_positives}; expected 1 or more.")

    def for_dataset(self, dataset: Dataset) -> ClassificationProtocol:
        """The same with `stratify_by` decided: real images are measured within view."""
        real = single_origin(dataset) == "real"
        if self.stratify_by is None and (real or self.match_brightness):
            return ClassificationProtocol(**{**vars(self), "stratify_by": "view"})
        return self

    def describe(self) -> str:
        """The part of a result's `protocol` that this decides."""
        strata = "none" if self.stratify_by is None else self.stratify_by
        if self.match_brightness:
            strata += " x quartile of mean grey level within it"
        resampling = (
            f"{self.num_bootstrap} x patients, percentile (auprc: reflected)" if self.num_bootstrap else "none"
        )
        return (
            f"strata={strata}; negatives={self.negatives}; uncertain=excluded; min_positives={self.min_positives}; "
            f"bootstrap={resampling}"
        )


@dataclass(frozen=True)
class FindingTask:
    """
    One finding, ready to be resampled.

    Args:
        rows (`np.ndarray` of shape `(num_used,)`): Rows of the dataset that take part.
        labels (`np.ndarray` of shape `(num_used,)`): True where the finding is present.
        strata (`list`, *optional*): Stratum of each of these rows.
    """

    rows: np.ndarray
    labels: np.ndarray
    strata: list | None


def measure_classification(
    scores: Mapping[str, np.ndarray],
    dataset: Dataset,
    protocol: ClassificationProtocol,
    *,
    score_protocol: str,
    grey_levels: np.ndarray | None = None,
    mean_of: Sequence[str] | None = None,
) -> list[Measured]:
    """
    AUROC and AUPRC (not where brightness is matched) of every finding that has enough positives and negatives, and
    their means.

    `no_finding` says what the others say together, an umbrella term (lung opacity) what those below it say: they get
    their own lines and stay out of the means, where they would count the same images twice.

    Args:
        scores (`Mapping[str, np.ndarray]`): Per finding `(num_rows,)`; higher is more likely.
        dataset (`Dataset`): Has `labels`, and `uncertain`, `patient_id`, `view`, `origin` where they are known.
        protocol (`ClassificationProtocol`): What is compared with what.
        score_protocol (`str`): How the scores came about; opens the `protocol` of every result.
        grey_levels (`np.ndarray` of shape `(num_rows,)`, *optional*): Needed to match brightness.
        mean_of (sequence of `str`, *optional*): Findings of the means; by default all that are measured but
            `no_finding` and those with a more specific finding beside them.

    Returns:
        `list[Measured]`: Means first, with the mean AUPRC of chance. Empty when no finding can be measured (the log
        says why).
    """
    protocol = protocol.for_dataset(dataset)
    tasks = finding_tasks(dataset, list(scores), protocol, grey_levels=grey_levels)
    if not tasks:
        logger.warning("No finding has %d positive and negative patients to measure.", protocol.min_positives)
        return []
    ranked = {finding: _ranked(task, scores[finding]) for finding, task in tasks.items()}
    # Over many small strata average precision is too high by itself: it is left to the larger ones.
    names = ("auroc",) if protocol.match_brightness else ("auroc", "auprc")
    in_mean = most_specific(tasks) if mean_of is None else [finding for finding in mean_of if finding in tasks]

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = {}
        for finding, parts in ranked.items():
            areas = dict(zip(("auroc", "auprc"), _areas(parts, weights), strict=True))
            values |= {f"{name}/{finding}": areas[name] for name in names}
        # A resample that lacks a finding has no mean of the same findings: it stays NaN and is counted.
        means = {f"macro_{name}": [values[f"{name}/{finding}"] for finding in in_mean] for name in names}
        return {name: np.mean(columns, axis=0) for name, columns in means.items() if columns} | values

    resamples = PatientResamples(patients(dataset), protocol.num_bootstrap, protocol.seed)
    description = f"{score_protocol}; {protocol.describe()}{describe_images(dataset)}"
    measured = []
    for metric, estimate in resamples.estimates(statistic, reflected=("auprc", "macro_auprc")).items():
        if metric.startswith("macro_"):
            used = len(np.unique(np.concatenate([tasks[finding].rows for finding in in_mean])))
            measured.append(Measured(metric, estimate, used, f"{description}; mean of {', '.join(in_mean)}"))
            if metric == "macro_auprc":
                chance = float(np.mean([_prevalence(tasks[finding]) for finding in in_mean]))
                estimate = Estimate(chance, np.empty(0), resamples.digest)
                measured.append(Measured("macro_auprc/chance", estimate, used, measured[-1].protocol))
        else:
            measured.append(Measured(metric, estimate, len(tasks[metric.partition("/")[2]].rows), description))
    return measured


def most_specific(findings: Iterable[str]) -> list[str]:
    """The findings that a mean is taken over: without `no_finding` and without the parents of others."""
    findings = list(findings)
    umbrellas = {"no_finding"}.union(*(ancestors(finding) for finding in findings))
    return [finding for finding in findings if finding not in umbrellas]


def finding_tasks(
    dataset: Dataset,
    findings: Sequence[str],
    protocol: ClassificationProtocol,
    *,
    grey_levels: np.ndarray | None = None,
) -> dict[str, FindingTask]:
    """The rows, labels and strata of each finding that can be measured; the log names those that cannot and why."""
    truth = read_truth(dataset)
    protocol = protocol.for_dataset(dataset)
    strata = _strata(dataset, protocol, grey_levels)
    patient_of_row = np.asarray(patients(dataset))
    tasks = {}
    for finding in findings:
        task = _finding_task(finding, truth, strata, protocol.negatives)
        counts = [len(np.unique(patient_of_row[task.rows[task.labels == present]])) for present in (True, False)]
        if min(counts) >= protocol.min_positives:
            tasks[finding] = task
        elif truth.of(finding)[0].any():
            logger.info("%s is left out: %d positive and %d negative patients that can be compared.", finding, *counts)
    return tasks


def _strata(dataset: Dataset, protocol: ClassificationProtocol, grey_levels: np.ndarray | None) -> list | None:
    if protocol.stratify_by is None:
        return None
    strata = column_values(dataset, protocol.stratify_by)
    if not protocol.match_brightness:
        return strata
    if grey_levels is None:
        raise ValueError("match_brightness needs the images' grey levels; pass embeddings that have grey_levels.")
    return list(zip(strata, brightness_quartiles(grey_levels, strata).tolist(), strict=True))


def _finding_task(finding: str, truth: Truth, strata: list | None, negatives: Negatives) -> FindingTask:
    present, uncertain = truth.of(finding)
    usable = ~uncertain
    if negatives != "all" and finding != "no_finding":
        healthy = truth.of("no_finding")[0]
        # A row without any sure finding is neither healthy nor abnormal.
        usable &= present | (healthy if negatives == "no_finding" else truth.present.any(1) & ~healthy)
    # A stratum with one class has no pair to offer: its rows are not part of the number, so they are not counted.
    rows = np.flatnonzero(usable)
    parts = stratum_rows(None if strata is None else [strata[row] for row in rows], len(rows))
    kept = [rows[part] for part in parts if 0 < present[rows[part]].sum() < len(part)]
    rows = np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)
    return FindingTask(rows, present[rows], None if strata is None else [strata[row] for row in rows])


def _ranked(task: FindingTask, scores: np.ndarray) -> list[tuple[np.ndarray, RankedClasses]]:
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores[task.rows]).all():
        raise ValueError("Some scores are not finite; the model gives NaN or infinite embeddings.")
    parts = [task.rows[part] for part in stratum_rows(task.strata, len(task.rows))]
    present = np.zeros(len(scores), dtype=bool)
    present[task.rows] = task.labels
    return [(part, rank_classes(present[part], scores[part])) for part in parts]


def _prevalence(task: FindingTask) -> float:
    """What AUPRC is by chance: the share of positives, over strata averaged as AUPRC itself is."""
    parts = [task.labels[part] for part in stratum_rows(task.strata, len(task.rows))]
    return sum(part.mean() * part.sum() for part in parts) / task.labels.sum()


def _areas(parts: list[tuple[np.ndarray, RankedClasses]], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC over pairs within strata, AUPRC averaged over strata by positives; NaN where a class is missing."""
    won, pairs, precision, positives = np.zeros((4, weights.shape[1]))
    for rows, ranked in parts:
        areas = class_areas(ranked, weights[rows])
        # In a resample a stratum can lose a class; its precision would then be 1 or 0 for nothing.
        both = areas.pairs > 0
        won, pairs = won + areas.pairs_won, pairs + areas.pairs
        precision, positives = precision + areas.precision * both, positives + areas.positives * both
    exists = pairs > 0
    return tuple(
        np.divide(total, count, out=np.full(len(exists), np.nan), where=exists)
        for total, count in ((won, pairs), (precision, positives))
    )
