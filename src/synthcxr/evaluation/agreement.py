"""Do images show what was asked for? A classifier's scores against the findings, and their sides, of the reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ..ontology import FINDING_IDS
from .bootstrap import PatientResamples
from .classification import most_specific
from .encoder import Encoder, embed_dataset
from .finding_targets import ABSENT, PRESENT, UNKNOWN, sided_labels
from .metrics import RankedClasses, class_areas, rank_classes
from .results import Measured
from .rows import column_values, describe_images, patients


logger = logging.getLogger(__name__)

_ABOUT_SIDES = {
    "side_accuracy": "; higher of the two sides, which weigh the same, chance=0.5",
    "side_auroc": "; left less right score",
}


def measure_agreement(
    scores: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    dataset: Dataset,
    *,
    scored_by: str = "classifier",
    min_positives: int = 5,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> list[Measured]:
    """
    AUROC of every finding, and whether a finding that is asked for on one side is seen on that side.

    `side_accuracy` is how often that side scores higher. Both sides weigh the same, so chance is 0.5 even for a
    classifier that always says left; but one that leans to the usual side is marked down for it. `side_auroc` is how
    well the difference of the two scores tells the sides apart wherever the line is drawn. Umbrella terms and
    `no_finding` have lines of their own and stay out of the means.

    Args:
        scores (`Mapping[str, np.ndarray]`): Per label `(num_rows,)`; higher is more likely.
        targets (`Mapping[str, np.ndarray]`): Per label `(num_rows,)`: 1 asked for, 0 not, -1 unknown, as
            [`read_targets`] gives them.
        dataset (`Dataset`): The rows; names their patients and origin.
        scored_by (`str`, *optional*, defaults to `"classifier"`): For the protocol.
        min_positives (`int`, *optional*, defaults to 5): A finding with fewer positive or negative rows, or fewer rows
            of either side, is left out.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients; 0 for no intervals.
        seed (`int`, *optional*, defaults to 0): Of the resamples.

    Returns:
        `list[Measured]`: `macro_auroc`, `macro_side_accuracy`, `macro_side_auroc`, then the same of every finding
        (`auroc/<finding>` ...).
    """
    ranked = _ranked_findings(scores, targets, min_positives)
    sides = _decided_sides(scores, targets, min_positives)
    in_mean = {"auroc": most_specific(ranked)} | dict.fromkeys(("side_accuracy", "side_auroc"), most_specific(sides))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = {f"auroc/{finding}": _area(*parts, weights) for finding, parts in ranked.items()}
        values |= {f"side_accuracy/{finding}": _side_accuracy(item, weights) for finding, item in sides.items()}
        values |= {f"side_auroc/{finding}": _area(item.rows, item.ranked, weights) for finding, item in sides.items()}
        means = {f"macro_{name}": [values[f"{name}/{item}"] for item in items] for name, items in in_mean.items()}
        return {name: np.mean(columns, axis=0) for name, columns in means.items() if columns} | values

    if not ranked and not sides:
        logger.warning("No finding is asked for, and not asked for, in %d images or more each.", min_positives)
        return []
    protocol = f"score=logit of {scored_by}; uncertain=excluded; min_positives={min_positives}; "
    protocol += _resampling(num_bootstrap)
    protocol += describe_images(dataset)
    measured = []
    for metric, estimate in PatientResamples(patients(dataset), num_bootstrap, seed).estimates(statistic).items():
        name, _, finding = metric.partition("/")
        name = name.removeprefix("macro_")
        members = [finding] if finding else in_mean[name]
        of_rows = [ranked[member][0] if name == "auroc" else sides[member].rows for member in members]
        rows = np.unique(np.concatenate(of_rows))
        mean_of = "" if finding else f"; mean of {', '.join(members)}"
        about = _ABOUT_SIDES.get(name, "")
        measured.append(Measured(metric, estimate, len(rows), protocol + about + mean_of))
    return measured


def measure_report_match(
    encoder: Encoder,
    dataset: Dataset,
    *,
    num_others: int = 20,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> list[Measured]:
    """
    How often a vision-language model finds an image nearer to its own report than to another image's.

    Unlike a mean cosine this has a scale: 0.5 is chance, 1 is every time. A tie, such as two equal reports, counts one
    half.

    Args:
        encoder (`Encoder`): Embeds images and texts.
        dataset (`Dataset`): Has `image` and `report`.
        num_others (`int`, *optional*, defaults to 20): Reports of other rows that each image is compared with.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients; 0 for no interval.
        seed (`int`, *optional*, defaults to 0): Of the reports and the resamples.

    Returns:
        `list[Measured]`: `report_match`; empty when fewer than two rows have a report.
    """
    reports = column_values(dataset, "report")
    rows = [row for row, report in enumerate(reports) if report and report.strip()]
    if len(rows) < 2:
        return []
    dataset, reports = dataset.select(rows), [reports[row] for row in rows]
    embeddings = embed_dataset(encoder, dataset)
    texts = embeddings.texts(reports)
    own = np.einsum("ij,ij->i", embeddings.image_embeds, texts)
    # Each image meets the reports a few random steps further on, never its own.
    steps = np.random.default_rng(seed).integers(1, len(rows), size=num_others)
    others = np.stack([np.einsum("ij,ij->i", embeddings.image_embeds, np.roll(texts, step, axis=0)) for step in steps])
    correct = ((own > others) + 0.5 * (own == others)).mean(axis=0)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"report_match": correct @ weights / weights.sum(axis=0)}

    estimates = PatientResamples(patients(dataset), num_bootstrap, seed).estimates(statistic)
    protocol = f"score=cosine; own report against {num_others} others, chance=0.5; {_resampling(num_bootstrap)}"
    return [Measured("report_match", estimates["report_match"], len(rows), protocol + describe_images(dataset))]


def _resampling(num_bootstrap: int) -> str:
    return f"bootstrap={num_bootstrap} x patients, percentile" if num_bootstrap else "bootstrap=none"


def _ranked_findings(
    scores: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], min_positives: int
) -> dict[str, tuple[np.ndarray, RankedClasses]]:
    """Per finding the rows of which it is known whether it was asked for, and their order."""
    ranked = {}
    for finding in FINDING_IDS:
        if finding not in scores or finding not in targets:
            continue
        rows = np.flatnonzero(targets[finding] != UNKNOWN)
        present = targets[finding][rows] == PRESENT
        if min(present.sum(), (~present).sum()) >= min_positives:
            ranked[finding] = (rows, rank_classes(present, _finite(scores[finding], finding)[rows]))
    return ranked


@dataclass(frozen=True)
class _Sides:
    """The rows that show a finding on one side only, and what the scores of the two sides say."""

    rows: np.ndarray
    is_left: np.ndarray
    correct: np.ndarray  # 1 where the side that is shown scores higher, a tie one half
    ranked: RankedClasses  # by how much more the left scores


def _decided_sides(
    scores: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], min_positives: int
) -> dict[str, _Sides]:
    sides = {}
    for finding in FINDING_IDS:
        labels = sided_labels(finding)
        if not labels or any(label not in scores or label not in targets for label in labels):
            continue
        left, right = (targets[label] for label in labels)
        is_left, is_right = (left == PRESENT) & (right == ABSENT), (right == PRESENT) & (left == ABSENT)
        if min(is_left.sum(), is_right.sum()) < min_positives:
            continue
        rows = np.flatnonzero(is_left | is_right)
        left_scores, right_scores = (_finite(scores[label], label)[rows] for label in labels)
        more_left, shown = left_scores - right_scores, is_left[rows]
        correct = (1 + np.sign(np.where(shown, more_left, -more_left))) / 2
        sides[finding] = _Sides(rows, shown, correct, rank_classes(shown, more_left))
    return sides


def _area(rows: np.ndarray, ranked: RankedClasses, weights: np.ndarray) -> np.ndarray:
    areas = class_areas(ranked, weights[rows])
    return _ratio(areas.pairs_won, areas.pairs)


def _side_accuracy(sides: _Sides, weights: np.ndarray) -> np.ndarray:
    shares = []
    for side in (sides.is_left, ~sides.is_left):
        counts = weights[sides.rows[side]].astype(np.float64)
        shares.append(_ratio(sides.correct[side] @ counts, counts.sum(axis=0)))
    return (shares[0] + shares[1]) / 2


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by: a resample that lacks a class."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _finite(scores: Sequence[float] | np.ndarray, label: str) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(f"Some scores of {label} are not finite.")
    return scores
