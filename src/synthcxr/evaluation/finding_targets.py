"""
What images are known to show, as targets of a classifier: findings, and the side of those that have one.

A sided finding is three labels: `pleural_effusion`, `left_pleural_effusion` and `right_pleural_effusion`. Sides are
the patient's own, as in every report; on the image the patient's left is to the right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Image
from PIL import Image as PILImage

from ..ontology import FINDING_IDS, FINDINGS
from .rows import column_values, read_truth


PRESENT, ABSENT, UNKNOWN = 1, 0, -1
SIDES = ("left", "right")


def sided_labels(finding: str) -> tuple[str, ...]:
    """The labels of a finding's two sides; none where it has no side."""
    has_side = FINDINGS[finding].sided and FINDINGS[finding].simulated
    return tuple(f"{side}_{finding}" for side in SIDES) if has_side else ()


def all_labels() -> tuple[str, ...]:
    """Every label there is: the findings in the ontology's order, then their sides."""
    return (*FINDING_IDS, *(label for finding in FINDING_IDS for label in sided_labels(finding)))


def read_specs(dataset: Dataset) -> list[Mapping[str, Any] | None]:
    """The study spec of every row that was simulated (its `prompt`, as JSON); `None` where there is none."""
    if "prompt" not in dataset.column_names:
        return [None] * len(dataset)
    return [_spec(prompt) for prompt in column_values(dataset, "prompt")]


def read_targets(
    dataset: Dataset,
    *,
    specs: Sequence[Mapping[str, Any] | None] | None = None,
    as_reported: bool = False,
) -> dict[str, np.ndarray]:
    """
    What every row shows.

    Hedged findings are unknown, and so is everything of a bad record (a spec with a defect) and the side of what is
    on a lateral view. Sides come from the spec, or from the boxes of rows without one.

    Args:
        dataset (`Dataset`): Has `labels`; `uncertain`, `objects`, `prompt` and `view` are read where they are.
        specs (sequence of `num_rows` mappings or `None`, *optional*): Study specs, where the rows do not hold their
            own: those of the studies whose reports the images were drawn from.
        as_reported (`bool`, *optional*, defaults to `False`): What the report leaves out or denies, as the spec says,
            is unknown: nobody asked for it.

    Returns:
        `dict[str, np.ndarray]`: Per label of [`all_labels`] `(num_rows,)`, int8: 1 present, 0 absent, -1 unknown.
    """
    truth = read_truth(dataset)
    specs = read_specs(dataset) if specs is None else specs
    if len(specs) != len(dataset):
        raise ValueError(f"{len(specs)} specs for {len(dataset)} rows; expected one each, or None.")
    labels = all_labels()
    column = {label: index for index, label in enumerate(labels)}
    targets = np.zeros((len(dataset), len(labels)), dtype=np.int8)
    targets[:, : len(FINDING_IDS)] = np.where(truth.uncertain, UNKNOWN, truth.present)
    boxes = _box_sides(dataset, [row for row, spec in enumerate(specs) if spec is None])
    lateral = _lateral(dataset)
    for row, spec in enumerate(specs):
        if spec is None:
            findings = {finding: targets[row, index] for index, finding in enumerate(FINDING_IDS)}
            sides = _sides_of_boxes(findings, boxes.get(row, set()))
        else:
            sides = _sides_of_spec(spec)
        for label, value in sides.items():
            targets[row, column[label]] = UNKNOWN if lateral[row] else value
        if spec is None:
            continue
        if spec.get("acquisition", {}).get("defect"):
            targets[row] = UNKNOWN
        elif as_reported:
            for finding in (*spec.get("report_omits", ()), *spec.get("report_contradicts", ())):
                hidden = [label for label in (finding, *sided_labels(finding)) if label in column]
                targets[row, [column[label] for label in hidden]] = UNKNOWN
    return {label: targets[:, index] for label, index in column.items()}


def learnable_labels(targets: Mapping[str, np.ndarray], *, min_positives: int) -> list[str]:
    """The labels that are present, and absent, in at least so many rows."""
    return [
        label
        for label, values in targets.items()
        if min((values == PRESENT).sum(), (values == ABSENT).sum()) >= min_positives
    ]


def _spec(prompt: str | None) -> Mapping[str, Any] | None:
    if not prompt or not prompt.startswith("{"):
        return None
    try:
        data = json.loads(prompt)
    except json.JSONDecodeError:
        return None
    # Only what a simulated study says of itself; other JSON is somebody's prompt.
    return data if isinstance(data.get("findings"), list) and isinstance(data.get("acquisition"), dict) else None


def _sides_of_spec(spec: Mapping[str, Any]) -> dict[str, int]:
    sides: dict[str, int] = {}
    for instance in spec["findings"]:
        labels = sided_labels(instance["finding"])
        value = PRESENT if instance.get("certainty") != "uncertain" and instance.get("side") else UNKNOWN
        shown = SIDES if instance.get("side") in (None, "bilateral") else (instance["side"],)
        for label in labels:
            if label.startswith(shown):
                sides[label] = max(value, sides.get(label, UNKNOWN))
    return sides


def _sides_of_boxes(findings: Mapping[str, int], boxes: set[tuple[str, str]]) -> dict[str, int]:
    sides = {}
    for finding, value in findings.items():
        if value == ABSENT:
            continue
        seen = [side for side in SIDES if value == PRESENT and (finding, side) in boxes]
        for side, label in zip(SIDES, sided_labels(finding), strict=False):  # a finding without a side has no label
            sides[label] = (PRESENT if side in seen else ABSENT) if seen else UNKNOWN
    return sides


def _box_sides(dataset: Dataset, rows: Sequence[int]) -> dict[int, set[tuple[str, str]]]:
    """Of these rows the `(finding, side)` of every box, by its centre; nothing is known where there are none."""
    if "objects" not in dataset.column_names or not rows:
        return {}
    chosen = dataset.select_columns(["objects", "image"]).select(rows).cast_column("image", Image(decode=False))
    objects = chosen.with_format("arrow")[:]["objects"].combine_chunks()
    names = dataset.features["objects"]["category"].feature.names
    sides = {}
    for place, (boxes, categories) in enumerate(
        zip(objects.field("bbox").to_pylist(), objects.field("category").to_pylist(), strict=True)
    ):
        if boxes:
            middle = _width(chosen[place]["image"]) / 2
            centres = [x + width / 2 for x, _, width, _ in boxes]
            sides[rows[place]] = {
                (names[category], "left" if centre > middle else "right")
                for centre, category in zip(centres, categories, strict=True)
            }
    return sides


def _width(image: Mapping[str, Any]) -> int:
    source = image["path"] if image["bytes"] is None else io.BytesIO(image["bytes"])
    with PILImage.open(source) as opened:
        return opened.width  # of the header: no pixel is decoded


def _lateral(dataset: Dataset) -> list[bool]:
    if "view" not in dataset.column_names:
        return [False] * len(dataset)
    return [view == "LATERAL" for view in column_values(dataset, "view")]
