"""
Image-report retrieval over the whole pool, in both directions.

Reports with the same text are one item (an image has found its report whichever copy comes up), so two normal
studies do not count as each other's mistakes. Ranks do not depend on batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import gammaln
from transformers import PreTrainedModel

from .bootstrap import PatientResamples
from .encoder import Embeddings, Encoder, as_embeddings
from .metrics import median_rank, recall_at_k
from .results import Measured, Result
from .rows import column_values, dataset_digest, dataset_title, describe_images, patients


logger = logging.getLogger(__name__)

TASK = "image_report_retrieval"
_BLOCK_ELEMENTS = 4_000_000


def image_report_retrieval(
    model: str | Path | PreTrainedModel | Encoder | Embeddings,
    dataset: Dataset,
    *,
    ks: Sequence[int] = (1, 5, 10),
    text_column: str = "report",
    num_bootstrap: int = 1000,
    seed: int = 0,
    dataset_name: str | None = None,
    dataset_revision: str | None = None,
    **encoder_options: Any,
) -> list[Result]:
    """
    Recall at `k` and median rank of an image's report among all reports, and of a report's image among all images.

    Args:
        model (`str`, `Path`, `PreTrainedModel`, `Encoder` or `Embeddings`): The model, or this dataset embedded.
        dataset (`Dataset`): Has `image` (unless embeddings are given) and the text column.
        ks (sequence of `int`, *optional*, defaults to `(1, 5, 10)`): Cut-offs.
        text_column (`str`, *optional*, defaults to `"report"`): Column of the texts; rows without one are left out.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of the patients whose images or reports ask; the
            pool stays as it is. 0 for no intervals.
        seed (`int`, *optional*, defaults to 0): Of the resamples.
        dataset_name (`str`, *optional*): Name in the results.
        dataset_revision (`str`, *optional*): Revision in the results; by default a digest of the rows.
        encoder_options: `processor`, `batch_size`, `device` of [`load_encoder`].

    Returns:
        `list[Result]`: `<direction>_recall_at_<k>` and `<direction>_median_rank` for `image_to_report` and
        `report_to_image`, each followed by what chance gives (`.../chance`, without interval).

    Raises:
        ValueError: When no row has a text.
    """
    measured = measure_retrieval(
        model, dataset, ks=ks, text_column=text_column, num_bootstrap=num_bootstrap, seed=seed, **encoder_options
    )
    name = dataset_title(dataset, dataset_name)
    revision = dataset_revision or dataset_digest(dataset)
    return [item.result(TASK, name, revision, seed) for item in measured]


def measure_retrieval(
    model: str | Path | PreTrainedModel | Encoder | Embeddings,
    dataset: Dataset,
    *,
    ks: Sequence[int] = (1, 5, 10),
    text_column: str = "report",
    num_bootstrap: int = 1000,
    seed: int = 0,
    **encoder_options: Any,
) -> list[Measured]:
    """The same with the resampled values, for paired comparisons."""
    if not ks or min(ks) < 1:
        raise ValueError(f"ks is {tuple(ks)}; expected whole numbers from 1.")
    texts = [text or "" for text in column_values(dataset, text_column)]
    rows = np.array([index for index, text in enumerate(texts) if text.strip()], dtype=np.int64)
    if not len(rows):
        raise ValueError(f"No row has a text in {text_column!r}; retrieval needs reports.")
    if len(rows) < len(texts):
        logger.warning("%d of %d rows have no text and are left out of retrieval.", len(texts) - len(rows), len(texts))
    embeddings = as_embeddings(model, dataset, **encoder_options)
    reports, report_of_image = merge_reports([texts[row] for row in rows])
    if embeddings.score_name == "cosine":
        embeds = embeddings.image_embeds[rows], embeddings.texts(reports)
        image_ranks, report_ranks = retrieval_ranks(*embeds, report_of_image)
    else:
        image_ranks, report_ranks = score_ranks(embeddings.similarity(reports)[rows], report_of_image)
    patient_of_row = patients(dataset)
    asking = [patient_of_row[row] for row in rows]
    copies = np.bincount(report_of_image)
    protocol = (
        f"pool={len(reports)} distinct reports, {len(rows)} images; text={text_column}; "
        f"score={embeddings.score_name}; ties=expected rank of the first relevant; bootstrap="
        + (f"{num_bootstrap} x patients that ask, percentile" if num_bootstrap else "none")
        + describe_images(dataset)
    )
    directions = {
        "image_to_report": (image_ranks, asking, np.ones(len(rows), dtype=np.int64), len(reports)),
        "report_to_image": (report_ranks, _owners(report_of_image, asking), copies, len(rows)),
    }
    measured = []
    for direction, (ranks, patient_of_query, num_relevant, pool) in directions.items():
        resamples = PatientResamples(patient_of_query, num_bootstrap, seed)
        estimates = resamples.estimates(lambda weights, ranks=ranks: _summary(ranks, ks, weights))
        for metric, chance in _chance(num_relevant, pool, ks).items():
            item = Measured(f"{direction}_{metric}", estimates[metric], len(ranks), protocol)
            expected = replace(item.estimate, value=chance, samples=np.empty(0))
            measured += [item, replace(item, metric=f"{item.metric}/chance", estimate=expected)]
    return measured


def retrieval_ranks(
    image_embeds: np.ndarray, report_embeds: np.ndarray, report_of_image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Rank of the first relevant item for every query, from 1; memory is bounded by blocks of queries.

    Between equal scores the order is left to chance: the rank is its expectation, so a model that gives all pairs the
    same score gets what chance gets, not the first place.

    Args:
        image_embeds (`np.ndarray` of shape `(num_images, dim)`): Normalised.
        report_embeds (`np.ndarray` of shape `(num_reports, dim)`): Normalised, one row per distinct report.
        report_of_image (`np.ndarray` of shape `(num_images,)`): Index of each image's report.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Ranks of shape `(num_images,)` and `(num_reports,)`, float64.
    """
    report_of_image = np.asarray(report_of_image)
    report_index = np.arange(len(report_embeds))
    return (
        _first_relevant_rank(image_embeds, report_embeds, report_of_image, report_index),
        _first_relevant_rank(report_embeds, image_embeds, report_index, report_of_image),
    )


def score_ranks(scores: np.ndarray, report_of_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    As [`retrieval_ranks`], from scores that are no product of vectors.

    Args:
        scores (`np.ndarray` of shape `(num_images, num_reports)`): Higher is nearer.
        report_of_image (`np.ndarray` of shape `(num_images,)`): Index of each image's report.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Ranks of shape `(num_images,)` and `(num_reports,)`, float64.
    """
    report_of_image = np.asarray(report_of_image)
    report_index = np.arange(scores.shape[1])
    return (
        _ranks_of_blocks(lambda rows: scores[rows], report_of_image, report_index),
        _ranks_of_blocks(lambda rows: scores.T[rows], report_index, report_of_image),
    )


def merge_reports(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """
    Distinct reports (white space aside), sorted so that the order of rows does not matter, and the report of each row.

    Returns:
        `tuple[list[str], np.ndarray]`: `num_reports` texts as they stand in the rows; indices of shape `(num_rows,)`.
    """
    written: dict[str, str] = {}
    keys = [" ".join(text.split()) for text in texts]
    for key, text in zip(keys, texts, strict=True):
        written[key] = min(text, written.get(key, text))
    place = {key: index for index, key in enumerate(sorted(written))}
    return [written[key] for key in place], np.array([place[key] for key in keys])


def _first_relevant_rank(
    query_embeds: np.ndarray, item_embeds: np.ndarray, query_keys: np.ndarray, item_keys: np.ndarray
) -> np.ndarray:
    return _ranks_of_blocks(lambda rows: query_embeds[rows] @ item_embeds.T, query_keys, item_keys)


def _ranks_of_blocks(
    block: Callable[[slice], np.ndarray], query_keys: np.ndarray, item_keys: np.ndarray
) -> np.ndarray:
    """An item is relevant to a query when their keys are equal; `block` gives the scores of some queries."""
    size = max(1, _BLOCK_ELEMENTS // len(item_keys))
    ranks = np.empty(len(query_keys))
    for start in range(0, len(query_keys), size):
        rows = slice(start, start + size)
        scores = block(rows)  # (block_size, num_items)
        relevant = query_keys[rows, None] == item_keys
        best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
        better = (scores > best).sum(1)
        tied = scores == best
        relevant_tied = (tied & relevant).sum(1)
        # The first of r relevant among t irrelevant ones in random order comes after t / (r + 1) of them on average.
        ranks[rows] = 1 + better + (tied.sum(1) - relevant_tied) / (relevant_tied + 1)
    return ranks


def _owners(report_of_image: np.ndarray, patient_of_image: Sequence[str]) -> list[str]:
    """One patient per distinct report: the first by name, where several share the text."""
    owners: dict[int, str] = {}
    for report, patient in zip(report_of_image.tolist(), patient_of_image, strict=True):
        owners[report] = min(patient, owners.get(report, patient))
    return [owners[report] for report in range(len(owners))]


def _summary(ranks: np.ndarray, ks: Sequence[int], weights: np.ndarray) -> dict[str, np.ndarray]:
    values = {f"recall_at_{k}": recall_at_k(ranks, k, weights) for k in ks}
    return values | {"median_rank": median_rank(ranks, weights)}


def _chance(num_relevant: np.ndarray, pool: int, ks: Sequence[int]) -> dict[str, float]:
    """What a random order gives, on average over queries with so many relevant items each in a pool of `pool`."""
    counts, queries = np.unique(num_relevant, return_counts=True)

    def missed(k: np.ndarray) -> np.ndarray:
        # Hypergeometric: none of the relevant items among the first k, (num_k, num_counts).
        others = np.maximum(pool - counts - k[:, None], 0)
        choose = gammaln(pool - counts + 1) - gammaln(others + 1) - gammaln(pool + 1) + gammaln(pool - k[:, None] + 1)
        return np.where(counts + k[:, None] > pool, 0.0, np.exp(choose))

    cut_offs = np.minimum(np.asarray(ks), pool)
    recall = 1 - missed(cut_offs) @ queries / queries.sum()
    chance = {f"recall_at_{k}": float(value) for k, value in zip(ks, recall, strict=True)}
    # The median over queries in a random order: where half of the mixture of their rank distributions lies.
    low, high = 1, pool
    while low < high:
        middle = (low + high) // 2
        reached = 1 - (missed(np.array([middle])) @ queries)[0] / queries.sum()
        low, high = (low, middle) if reached >= 0.5 else (middle + 1, high)
    return chance | {"median_rank": float(low)}
