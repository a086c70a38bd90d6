"""NIH ChestX-ray14 (Wang et al., CVPR 2017): 112,120 frontal images, labels mined from reports, some boxes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset

from ...ontology import to_finding, with_ancestors
from ..schema import SPLITS
from ..splitting import split_by_patient
from .studies import SourceStudy, studies_to_dataset


NAME = "nih_chestxray14"
ENTRY_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOX_FILE = "BBox_List_2017.csv"
LIST_FILES = {"train": "train_val_list.txt", "test": "test_list.txt"}

# Boxes are given for the published size, whatever size the images have on this disk.
_BOX_SIZE = 1024
_VALIDATION_SHARE = 0.1
_OLDEST = 120  # the tables hold ages up to 414
_VIEWS = {"PA": "PA", "AP": "AP"}
_SEXES = {"F": "female", "M": "male"}


def load_nih_chestxray14(path: str | Path, split: str = "test") -> Dataset:
    """
    NIH ChestX-ray14 from a local copy in its official layout.

    `Data_Entry_2017_v2020.csv` names the images, which lie in `images/` or in the twelve `images_001/images/` ...;
    `BBox_List_2017.csv` adds boxes, scaled from 1024 px to the images' size. With `train_val_list.txt` and
    `test_list.txt` the official test patients are `"test"`, and a tenth of the others, by patient, `"validation"`.
    Without these lists the copy is a sample to measure on: everything is `"test"`.

    There are no reports: `report` is empty. `labels` holds the mined labels with what they imply; about one in ten is
    wrong, and "No Finding" does not mean normal.

    Args:
        path (`str` or `Path`): The folder.
        split (`str`, *optional*, defaults to `"test"`): `"train"`, `"validation"` or `"test"`.

    Returns:
        `datasets.Dataset`: Rows of the pair schema, `origin` real. Images are opened when they are read. Rows whose
        file is missing or cut short are left out; the log names and counts them.

    Raises:
        ValueError: If the layout is another one, a table has a row that cannot be read, or the split is empty.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
    studies = [study for study in read_nih_chestxray14(path) if study.split == split]
    if not studies:
        raise ValueError(f"{path} has no {split} split; it needs {LIST_FILES['train']} and {LIST_FILES['test']}.")
    return studies_to_dataset(studies, name=f"{path} ({split})")


def read_nih_chestxray14(path: str | Path) -> list[SourceStudy]:
    """
    Every study that the tables name, whether its image is there or not, in the order of the table.

    Raises:
        ValueError: As for `load_nih_chestxray14`.
    """
    folder = Path(path)
    entries = _read_entries(folder)
    folders = _image_folders(folder)
    boxes = _read_boxes(folder / BOX_FILE)
    splits = _read_splits(folder, entries)
    priors = _priors(entries)
    return [
        SourceStudy(
            id=f"{NAME}-{Path(name).stem}",
            path=next((item / name for item in folders if (item / name).exists()), folders[0] / name),
            split=splits[name],
            source=f"{NAME}@2017_v2020",
            boxes=tuple(box for _, box in boxes.get(name, ())),
            box_categories=tuple(finding for finding, _ in boxes.get(name, ())),
            prior_id=priors.get(name),
            **described,
        )
        for name, described in entries.items()
    ]


def _read_entries(folder: Path) -> dict[str, dict]:
    table = next((folder / name for name in ENTRY_FILES if (folder / name).exists()), None)
    if table is None:
        raise ValueError(f"{folder} has no {ENTRY_FILES[0]}; expected the official layout of {NAME}.")
    entries = {}
    needed = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender")
    for line, row in _read_table(table, (*needed, "View Position")):
        name = row["Image Index"]
        try:
            age = _years(row["Patient Age"])
            findings = {to_finding(NAME, label) for label in row["Finding Labels"].split("|")}
            follow_up = int(row["Follow-up #"])
        except ValueError as error:
            raise ValueError(f"{table}, line {line} ({name}): {error}") from error
        entries[name] = {
            "labels": tuple(with_ancestors(finding for finding in findings if finding is not None)),
            "view": _VIEWS.get(row["View Position"]),
            "age": age if age <= _OLDEST else None,
            "sex": _SEXES.get(row["Patient Gender"]),
            "patient_id": f"{NAME}-{row['Patient ID']}",
            "study_id": f"{NAME}-{row['Patient ID']}-{follow_up:03d}",
        }
    return entries


def _years(text: str) -> float:
    """The first edition of the table writes 058Y."""
    match = re.match(r"\d+", text)
    if match is None:
        raise ValueError(f"Patient Age is {text!r}; expected a number.")
    return float(match[0])


def _read_table(table: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their line numbers; says which column is missing."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in needed if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{table} has no column {missing[0]!r}.")
        for row in reader:
            if any(row[column] is None for column in needed):
                raise ValueError(f"{table}, line {reader.line_num} is cut short.")
            yield reader.line_num, row


def _image_folders(folder: Path) -> list[Path]:
    folders = [folder / "images", *sorted(folder.glob("images_*/images")), *sorted(folder.glob("images_*"))]
    folders = [item for item in folders if item.is_dir()]
    if not folders:
        raise ValueError(f"{folder} has no images/ or images_001/; expected the official layout of {NAME}.")
    return folders


def _read_boxes(table: Path) -> dict[str, list[tuple[str, tuple[float, float, float, float]]]]:
    boxes: dict[str, list] = {}
    if not table.exists():
        return boxes
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        next(rows, None)  # its header names four columns as one
        for row in rows:
            name, label, *values = row[:6] if len(row) >= 6 else ("", "", *row)
            try:
                x, y, width, height = (float(value) / _BOX_SIZE for value in values)
                # This table alone says "Infiltrate".
                finding = to_finding(NAME, "Infiltration" if label == "Infiltrate" else label)
            except ValueError as error:
                raise ValueError(f"{table}, line {rows.line_num}: {error}") from error
            boxes.setdefault(name, []).append((finding, (x, y, width, height)))
    return boxes


def _read_splits(folder: Path, entries: dict[str, dict]) -> dict[str, str]:
    lists = {split: folder / name for split, name in LIST_FILES.items()}
    there = [file for file in lists.values() if file.exists()]
    if not there:
        return dict.fromkeys(entries, "test")
    if len(there) == 1:
        raise ValueError(
            f"{folder} has {there[0].name} alone; expected {' and '.join(LIST_FILES.values())}, or neither."
        )
    tested = set(lists["test"].read_text().split())
    shares = {"train": 1 - _VALIDATION_SHARE, "validation": _VALIDATION_SHARE}
    chosen = split_by_patient([item["patient_id"] for item in entries.values()], shares)
    return {name: "test" if name in tested else split for name, split in zip(entries, chosen, strict=True)}


def _priors(entries: dict[str, dict]) -> dict[str, str]:
    """Per image, the study before it of the same patient, as far as the table has it."""
    by_patient: dict[str, list[tuple[str, str]]] = {}
    for name, entry in entries.items():
        by_patient.setdefault(entry["patient_id"], []).append((entry["study_id"], name))
    priors = {}
    for studies in by_patient.values():
        studies.sort()
        for (before, _), (study_id, name) in zip(studies, studies[1:], strict=False):
            if before != study_id:
                priors[name] = before
    return priors
