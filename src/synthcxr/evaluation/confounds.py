"""
What can be told without reading the image: baselines that a model on real images has to be seen beside.

On public data sets the view, the mean grey level or the sharpness can tell a finding from its absence, because sick
people are imaged otherwise (lying, by mobile devices), not because of what the finding looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import Dataset
from PIL.Image import Image

from .classification import ClassificationProtocol, measure_classification
from .encoder import image_batches, mean_grey_level
from .results import Result
from .rows import column_values, dataset_digest, dataset_title
from .zero_shot import labelled_findings


TASK = "confound_baseline"
_BATCH_SIZE = 64


def brightness_baseline(
    dataset: Dataset,
    *,
    statistic: str = "mean_grey_level",
    values: np.ndarray | None = None,
    protocol: ClassificationProtocol | None = None,
    dataset_name: str | None = None,
    dataset_revision: str | None = None,
) -> list[Result]:
    """
    AUROC per finding of one number per image. 0.5 says that it tells nothing, values below 0.5 that less means ill.

    There is no mean over findings: brighter here and darker there would cancel out.

    Args:
        dataset (`Dataset`): As for zero-shot classification.
        statistic (`str`, *optional*, defaults to `"mean_grey_level"`): Or `"mean_horizontal_gradient"`, a measure of
            sharpness.
        values (`np.ndarray` of shape `(num_rows,)`, *optional*): The statistic, where it is known already.
        protocol (`ClassificationProtocol`, *optional*): On real images within view by default.
        dataset_name (`str`, *optional*): Name in the results.
        dataset_revision (`str`, *optional*): Revision in the results; by default a digest of the rows.

    Returns:
        `list[Result]`: `auroc/<finding>`.
    """
    if statistic not in _STATISTICS:
        raise ValueError(f"statistic is {statistic!r}; expected one of {', '.join(_STATISTICS)}.")
    if values is None:
        values = _statistic(dataset, _STATISTICS[statistic])
    return _results(dataset, values, f"score={statistic}", protocol, dataset_name, dataset_revision)


def view_baseline(
    dataset: Dataset,
    *,
    view: str = "AP",
    protocol: ClassificationProtocol | None = None,
    dataset_name: str | None = None,
    dataset_revision: str | None = None,
) -> list[Result]:
    """
    AUROC per finding of the view alone, over all rows: what a model could gain by telling views apart if they were
    pooled. Within a view it is 0.5 by construction.

    Args and returns are those of [`brightness_baseline`]; `view` is the one that speaks for the finding.
    """
    score = np.array([value == view for value in column_values(dataset, "view")], dtype=np.float64)
    # Pooling views is the point here, so the rule that forbids it on real images is set aside.
    pooled = dataset.remove_columns([name for name in ("origin",) if name in dataset.column_names])
    revision = dataset_revision or dataset_digest(dataset)
    return _results(pooled, score, f"score=view is {view}", protocol, dataset_title(dataset, dataset_name), revision)


def mean_horizontal_gradient(image: Image) -> float:
    """Mean absolute difference of neighbouring pixels in a row, for grey levels of 0 to 1."""
    full = 65535 if image.mode.startswith("I") else 255
    grey = np.asarray(image if full == 65535 else image.convert("L"), dtype=np.float64) / full
    return float(np.abs(np.diff(grey, axis=1)).mean()) if grey.shape[1] > 1 else 0.0


_STATISTICS = {"mean_grey_level": mean_grey_level, "mean_horizontal_gradient": mean_horizontal_gradient}


def _statistic(dataset: Dataset, function: Callable[[Image], float]) -> np.ndarray:
    return np.array([function(image) for batch in image_batches(dataset, _BATCH_SIZE) for image in batch])


def _results(
    dataset: Dataset,
    values: np.ndarray,
    score_protocol: str,
    protocol: ClassificationProtocol | None,
    name: str | None,
    revision: str | None,
) -> list[Result]:
    protocol = protocol or ClassificationProtocol()
    options: dict[str, Any] = {"score_protocol": score_protocol}
    if protocol.match_brightness:
        options["grey_levels"] = _statistic(dataset, mean_grey_level)
    scores = dict.fromkeys(labelled_findings(dataset), values)
    measured = measure_classification(scores, dataset, protocol, **options)
    title, revision = dataset_title(dataset, name), revision or dataset_digest(dataset)
    return [item.result(TASK, title, revision, protocol.seed) for item in measured if item.metric.startswith("auroc/")]
