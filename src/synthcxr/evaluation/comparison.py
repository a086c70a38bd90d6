"""Two models on the same rows and the same resamples: the difference, its interval and its p-value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from . import retrieval, zero_shot
from .bootstrap import PairedDifference, paired_difference
from .classification import ClassificationProtocol
from .encoder import Embeddings, Encoder
from .results import Measured


@dataclass(frozen=True)
class Comparison:
    """
    One metric of two models.

    Args:
        metric (`str`): As in [`Result`].
        first (`float`): Of the first model.
        second (`float`): Of the second model.
        difference (`PairedDifference`): First minus second, with interval and p-value.
        num_samples (`int`): As in [`Result`].
        protocol (`str`): The same for both.
    """

    metric: str
    first: float
    second: float
    difference: PairedDifference
    num_samples: int
    protocol: str


def compare_models(
    first: str | Path | PreTrainedModel | Encoder | Embeddings,
    second: str | Path | PreTrainedModel | Encoder | Embeddings,
    dataset: Dataset,
    *,
    task: str = zero_shot.TASK,
    **options: Any,
) -> list[Comparison]:
    """
    Measure two models in pairs. Two overlapping intervals do not say that two models are equal; this does say more.

    The p-values are per metric: whoever looks at many corrects for that.

    Args:
        first (`str`, `Path`, `PreTrainedModel`, `Encoder` or `Embeddings`): One model.
        second (`str`, `Path`, `PreTrainedModel`, `Encoder` or `Embeddings`): The other.
        dataset (`Dataset`): As for the task.
        task (`str`, *optional*, defaults to `"zero_shot_classification"`): Or `"image_report_retrieval"`.
        options: Of [`zero_shot_classification`] (without `validation`) or [`image_report_retrieval`].

    Returns:
        `list[Comparison]`: One per metric that both have.
    """
    if task not in _MEASURES:
        raise ValueError(f"task is {task!r}; expected one of {', '.join(_MEASURES)}.")
    of_first = _MEASURES[task](first, dataset, **options)
    of_second = {(item.metric, item.protocol): item for item in _MEASURES[task](second, dataset, **options)}
    comparisons = []
    for item in of_first:
        other = of_second.get((item.metric, item.protocol))
        if other is None or not len(item.estimate.samples):
            continue
        difference = paired_difference(item.estimate, other.estimate)
        values = item.estimate.value, other.estimate.value
        comparisons.append(Comparison(item.metric, *values, difference, item.num_samples, item.protocol))
    return comparisons


def _measure_zero_shot(model: Any, dataset: Dataset, **options: Any) -> list[Measured]:
    decided = {item.name: options.pop(item.name) for item in fields(ClassificationProtocol) if item.name in options}
    return zero_shot.measure_zero_shot(model, dataset, protocol=ClassificationProtocol(**decided), **options)


_MEASURES = {zero_shot.TASK: _measure_zero_shot, retrieval.TASK: retrieval.measure_retrieval}
