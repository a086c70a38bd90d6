"""What the tasks read of a dataset besides its images: truth, patients, strata, names. No image is decoded here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from ..ontology import FINDING_IDS


# What a result depends on besides the images themselves, which `id` and `source` stand for.
_DIGEST_COLUMNS = ("id", "source", "origin", "labels", "uncertain", "report", "view", "patient_id")


@dataclass(frozen=True)
class Truth:
    """
    Which findings each row has.

    Args:
        present (`np.ndarray` of shape `(num_rows, num_findings)`): True where the finding is surely present; columns
            follow `FINDING_IDS`.
        uncertain (`np.ndarray` of shape `(num_rows, num_findings)`): True where it is hedged. For `no_finding` that
            is every row of which nothing is sure: only hedged findings, or no label at all.
    """

    present: np.ndarray
    uncertain: np.ndarray

    def of(self, finding: str) -> tuple[np.ndarray, np.ndarray]:
        """`(present, uncertain)` of one finding, each of shape `(num_rows,)`."""
        if finding not in FINDING_IDS:
            raise ValueError(f"finding is {finding!r}; expected an id of the ontology, such as 'pleural_effusion'.")
        column = FINDING_IDS.index(finding)
        return self.present[:, column], self.uncertain[:, column]


def read_truth(dataset: Dataset) -> Truth:
    """Labels and uncertain labels as matrices; a dataset without the column `uncertain` has no uncertain rows."""
    present = _indicator(dataset, "labels")
    if "uncertain" in dataset.column_names:
        uncertain = _indicator(dataset, "uncertain") & ~present
    else:
        uncertain = np.zeros_like(present)
    nothing = FINDING_IDS.index("no_finding")
    contradictory = np.flatnonzero(present[:, nothing] & (present.sum(1) > 1))
    if len(contradictory):
        raise ValueError(f"Row {contradictory[0]} has no_finding beside other findings; expected one or the other.")
    uncertain[:, nothing] = ~present.any(1)
    return Truth(present, uncertain)


def column_values(dataset: Dataset, column: str) -> list[Any]:
    """A column as Python values, a ClassLabel as its name."""
    if column not in dataset.column_names:
        raise ValueError(f"The dataset has the columns {', '.join(dataset.column_names)}; expected {column!r}.")
    values = list(dataset.select_columns([column])[:][column])
    names = getattr(dataset.features[column], "names", None)
    return [None if value is None or value < 0 else names[value] for value in values] if names else values


def patients(dataset: Dataset) -> list[str]:
    """
    The patient of each row. Where it is unknown the study, then the row's id stands in: an interval is then too
    narrow if patients come more than once.
    """
    columns = [name for name in ("patient_id", "study_id", "id") if name in dataset.column_names]
    known = zip(*(column_values(dataset, name) for name in columns), strict=True) if columns else [()] * len(dataset)
    return [
        next((f"{name}:{value}" for name, value in zip(columns, values, strict=True) if value), f"row:{index}")
        for index, values in enumerate(known)
    ]


def single_origin(dataset: Dataset) -> str | None:
    """
    The origin that all rows share: `real`, `simulated`, `synthetic`, or `None` without such a column.

    Raises:
        ValueError: When rows of several origins are mixed. What tells the sources apart would pass for a finding.
    """
    if "origin" not in dataset.column_names:
        return None
    origins = sorted({str(origin) for origin in column_values(dataset, "origin")})
    if len(origins) > 1:
        raise ValueError(f"The dataset mixes the origins {', '.join(origins)}; evaluate each on its own.")
    return origins[0] if origins else None


def describe_images(dataset: Dataset) -> str:
    """The part of a result's `protocol` that says where its images come from; empty where no row says so."""
    if "origin" not in dataset.column_names:
        return ""
    origins = sorted({str(origin or "not stated") for origin in column_values(dataset, "origin")})
    return f"; images={' and '.join(origins)}"


def brightness_quartiles(grey_levels: np.ndarray, groups: Sequence) -> np.ndarray:
    """
    Quartile of the mean grey level within each group (view): 0 for the darkest quarter to 3.

    Args:
        grey_levels (`np.ndarray` of shape `(num_rows,)`): Mean grey level of each image.
        groups (sequence of `num_rows` hashable values): Quartiles are taken within each.

    Returns:
        `np.ndarray` of shape `(num_rows,)`: Integers.
    """
    grey_levels = np.asarray(grey_levels, dtype=np.float64)
    quartiles = np.zeros(len(grey_levels), dtype=np.int64)
    for group in dict.fromkeys(groups):
        rows = np.array([value == group for value in groups])
        edges = np.quantile(grey_levels[rows], [0.25, 0.5, 0.75])
        quartiles[rows] = np.searchsorted(edges, grey_levels[rows], side="left")
    return quartiles


def dataset_title(dataset: Dataset, name: str | None) -> str:
    """The name given, or the one that the dataset carries."""
    return name or dataset.info.dataset_name or "unnamed"


def dataset_digest(dataset: Dataset) -> str:
    """`rows-` and twelve hexadecimal digits of ids, labels, reports and sources; the order of rows does not matter."""
    columns = [name for name in _DIGEST_COLUMNS if name in dataset.column_names]
    rows = dataset.select_columns(columns)[:] if columns else {}
    lines = [json.dumps(values, sort_keys=True) for values in zip(*(rows[name] for name in columns), strict=True)]
    text = "\n".join([*columns, str(len(dataset)), *sorted(lines)])
    return "rows-" + hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _indicator(dataset: Dataset, column: str) -> np.ndarray:
    values = column_values(dataset, column)
    names = getattr(getattr(dataset.features[column], "feature", None), "names", None)
    place = {finding: index for index, finding in enumerate(FINDING_IDS)}
    matrix = np.zeros((len(values), len(FINDING_IDS)), dtype=bool)
    for row, findings in enumerate(values):
        for finding in findings or ():
            finding = finding if names is None else names[finding]
            if finding not in place:
                raise ValueError(f"Row {row} has the label {finding!r}; expected ids of the ontology.")
            matrix[row, place[finding]] = True
    return matrix
