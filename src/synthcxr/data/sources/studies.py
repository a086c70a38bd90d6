"""A real study as its dataset's tables describe it, before its image is opened."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from ..reading import read_radiograph, to_eight_bit
from ..schema import PAIR_FEATURES, Pair
from ..shards import BadRow


logger = logging.getLogger(__name__)

_NAMED = 5
_TAIL_BYTES = 65536


@dataclass(frozen=True)
class SourceStudy:
    """
    One study of a public dataset.

    Args:
        id (`str`): Row id.
        path (`Path`): Its image.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        source (`str`): Dataset and revision.
        labels (`tuple[str, ...]`): Ontology ids, closed under parents.
        boxes (`tuple[tuple[float, float, float, float], ...]`): x, y, width, height as shares of the image's size.
        box_categories (`tuple[str, ...]`): Ontology id of each.
        view (`str`, *optional*): `"PA"`, `"AP"` or `"LATERAL"`.
        age (`float`, *optional*): Years.
        sex (`str`, *optional*): `"female"` or `"male"`.
        patient_id (`str`, *optional*): Whose it is.
        study_id (`str`, *optional*): Which exam.
        prior_id (`str`, *optional*): The exam before.
    """

    id: str
    path: Path
    split: str
    source: str
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    box_categories: tuple[str, ...] = ()
    view: str | None = None
    age: float | None = None
    sex: str | None = None
    patient_id: str | None = None
    study_id: str | None = None
    prior_id: str | None = None


def study_rows(studies: Sequence[SourceStudy]) -> Iterator[Pair | BadRow]:
    """Open every image, entirely; one that is missing or damaged gives a `BadRow` and the next is read."""
    for study in studies:
        try:
            image = to_eight_bit(read_radiograph(study.path))
            yield _pair(study, image=np.asarray(image))
        except (OSError, ValueError) as error:
            yield BadRow(study.id, _one_line(error))


def studies_to_dataset(studies: Sequence[SourceStudy], *, name: str) -> Dataset:
    """
    Rows that refer to the image files and open them when they are read: nothing is copied or decoded here.

    A file that is missing, or does not end as its kind ends, is left out; the log names the first and counts all.

    Args:
        studies (`Sequence[SourceStudy]`): The rows.
        name (`str`): What messages call the dataset.

    Raises:
        ValueError: If no image is usable.
    """
    rows, bad_rows = [], []
    for study in studies:
        try:
            _check_file(study.path)
            rows.append(_lazy_row(study))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            bad_rows.append(BadRow(study.id, _one_line(error)))
    if not rows:
        reason = f"; {bad_rows[0].reason}" if bad_rows else ""
        raise ValueError(f"{name} has no image that can be read{reason}.")
    for bad in bad_rows[:_NAMED]:
        logger.warning("Left out %s: %s", bad.id, bad.reason)
    if bad_rows:
        logger.warning("%d of %d images of %s were left out.", len(bad_rows), len(studies), name)
    columns = {column: [row[column] for row in rows] for column in PAIR_FEATURES}
    return Dataset.from_dict(columns, features=PAIR_FEATURES)


def _pair(study: SourceStudy, *, image: np.ndarray) -> Pair:
    height, width = image.shape
    return Pair(
        id=study.id,
        image=image,
        report="",
        origin="real",
        source=study.source,
        labels=study.labels,
        boxes=[_in_pixels(box, width, height) for box in study.boxes],
        box_categories=study.box_categories,
        view=study.view,
        age=study.age,
        sex=study.sex,
        patient_id=study.patient_id,
        study_id=study.study_id,
        prior_id=study.prior_id,
    )


def _lazy_row(study: SourceStudy) -> dict[str, Any]:
    with Image.open(study.path) as image:
        width, height = image.size
    nothing = np.broadcast_to(np.uint8(0), (height, width))  # for the checks of a row; it takes no memory
    return _pair(study, image=nothing).to_row(image_path=str(study.path))


def _in_pixels(box: tuple[float, float, float, float], width: int, height: int) -> list[float]:
    """Cut to the image, since readers' boxes overhang its edge by a pixel now and then."""
    left, top = max(box[0], 0.0) * width, max(box[1], 0.0) * height
    right, bottom = min(box[0] + box[2], 1.0) * width, min(box[1] + box[3], 1.0) * height
    return [left, top, right - left, bottom - top]


def _check_file(path: Path) -> None:
    """A truncated download shows at the end of the file; decoding everything would take an hour for 100,000 images."""
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        tail = file.read()
    if head.startswith(b"\x89PNG"):
        whole = b"IEND" in tail[-64:]
    elif head.startswith(b"\xff\xd8\xff"):
        whole = b"\xff\xd9" in tail
    else:
        raise ValueError(f"{path} is neither PNG nor JPEG.")
    if not whole:
        raise ValueError(f"{path} is cut short.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
