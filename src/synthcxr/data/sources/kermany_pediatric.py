"""Children's chest X-rays of Guangzhou (Kermany et al., Cell 2018): pneumonia and normal, ages 1 to 5."""

from __future__ import annotations

import re
from pathlib import Path

from datasets import Dataset

from ...ontology import with_ancestors
from ..schema import SPLITS
from .studies import SourceStudy, studies_to_dataset


NAME = "kermany_pediatric"

_LABELS = {"NORMAL": "no_finding", "PNEUMONIA": "pneumonia"}
_SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
# person12_bacteria_48, IM-0011-0001-0002, NORMAL2-IM-0380-0001, BACTERIA-1008087-0001
_PATIENT = re.compile(r"(?P<patient>person\d+|(?:NORMAL2-)?IM-\d+|(?:BACTERIA|VIRUS|NORMAL)-\d+)[-_.]")


def load_kermany_pediatric(path: str | Path, split: str = "test") -> Dataset:
    """
    Kermany's children from a local copy in its official layout.

    `NORMAL/` and `PNEUMONIA/` under `train/`, `val/`, `test/` (or those under `chest_xray/`); where the two lie in the
    folder itself, everything is `"test"`. The images are of children of 1 to 5 years, antero-posterior; their exact
    age and sex are unknown and stay null. There are no reports.

    Args:
        path (`str` or `Path`): The folder.
        split (`str`, *optional*, defaults to `"test"`): `"train"`, `"validation"` or `"test"`.

    Returns:
        `datasets.Dataset`: Rows of the pair schema, `origin` real. Images are opened when they are read. Files
        that are cut short are left out; the log names and counts them.

    Raises:
        ValueError: If the layout is another one or the split is empty.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
    studies = [study for study in read_kermany_pediatric(path) if study.split == split]
    if not studies:
        raise ValueError(f"{path} has no {split} split; expected a folder of that name with NORMAL/ and PNEUMONIA/.")
    return studies_to_dataset(studies, name=f"{path} ({split})")


def read_kermany_pediatric(path: str | Path) -> list[SourceStudy]:
    """
    Every image of the folders, by split, label and name.

    Raises:
        ValueError: If there is none, or a file has a name without a patient.
    """
    folder = Path(path)
    folder = folder / "chest_xray" if (folder / "chest_xray").is_dir() else folder
    parts = {name: split for name, split in _SPLIT_FOLDERS.items() if (folder / name).is_dir()} or {".": "test"}
    studies = [
        _study(file, part, split, finding)
        for part, split in parts.items()
        for label, finding in _LABELS.items()
        for file in sorted((folder / part / label).glob("*.jp*g"))
    ]
    if not studies:
        raise ValueError(f"{folder} has no NORMAL/*.jpeg or PNEUMONIA/*.jpeg; expected the official layout of {NAME}.")
    return studies


def _study(file: Path, part: str, split: str, finding: str) -> SourceStudy:
    match = _PATIENT.match(file.name)
    if match is None:
        raise ValueError(f"{file} has a name without a patient; expected one like person12_bacteria_48.jpeg.")
    # Each folder counts its patients anew.
    prefix = NAME if part == "." else f"{NAME}-{part}"
    return SourceStudy(
        id=f"{prefix}-{file.stem}",
        path=file,
        split=split,
        source=f"{NAME}@2018",
        labels=tuple(with_ancestors([finding])),
        view="AP",
        patient_id=f"{prefix}-{match['patient']}",
        study_id=f"{prefix}-{file.stem}",
    )
