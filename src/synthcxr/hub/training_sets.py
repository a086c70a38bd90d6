"""What a checkpoint was trained on: folders that are still there, datasets on the Hub, and their rows by origin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .card_content import Content, composition
from .dataset_build import build_content
from .dataset_statistics import describe_dataset


@dataclass(frozen=True)
class TrainingSets:
    """
    The training data of a checkpoint.

    Args:
        compositions (`list[dict]`): Of every folder that was found: rows by split, origin and source, and `built`, how
            it was made.
        hub_ids (`list[str]`): Those that are on the Hub.
        is_complete (`bool`): Whether there are training sets, and the rows of all were counted.
    """

    compositions: list[Content]
    hub_ids: list[str]
    is_complete: bool

    @property
    def origins(self) -> list[str]:
        """Origins that there are rows of, sorted."""
        return row_origins(self.compositions)

    @property
    def only_simulated(self) -> bool:
        """Whether every row is known to be simulated."""
        return self.is_complete and self.origins == ["simulated"]


def find_training_sets(
    training: Mapping[str, Any], checkpoint: Path, datasets: Sequence[str | Path] | None = None
) -> TrainingSets:
    """
    Look for what a training names.

    Args:
        training (`Mapping`): Record of the training.
        checkpoint (`Path`): Folder of the checkpoint; relative names are looked for from the folders above it, too.
        datasets (`Sequence[str | Path]`, *optional*): Folders to count instead of those that the record names.

    Raises:
        ValueError: When a folder holds no dataset.
    """
    names = list((training.get("request") or {}).get("dataset") or ())
    found = {name: local_folder(name, checkpoint) for name in names}
    folders = (
        [folder for folder in found.values() if folder] if datasets is None else [Path(item) for item in datasets]
    )
    compositions = [
        composition(describe_dataset(folder), name=folder.resolve().name) | {"built": build_content(folder)["built"]}
        for folder in folders
    ]
    return TrainingSets(
        compositions=compositions,
        hub_ids=[name for name, folder in found.items() if folder is None and is_hub_id(name)],
        is_complete=bool(folders) and (datasets is not None or all(found.values())),
    )


def row_origins(compositions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Origins that there are rows of, sorted; rows that do not say count for none."""
    found = set()
    for item in compositions:
        for split in item["splits"]:
            found |= {origin for origin, rows in zip(item["origins"], split["origins"], strict=True) if rows}
    return sorted(found - {"not stated"})


def local_folder(name: str, checkpoint: Path, *, holding: str = "data") -> Path | None:
    """
    A folder that a record names; a relative name is looked for here, then from the folders above the checkpoint.

    Args:
        name (`str`): Path, or something else.
        checkpoint (`Path`): Folder of the checkpoint.
        holding (`str`, *optional*, defaults to `"data"`): What lies in the folder if it is the right one.
    """
    places = [Path(), *checkpoint.resolve().parents]
    return next((place / name for place in places if (place / name / holding).exists()), None)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a Hub id."""
    return re.fullmatch(r"[\w-]+/[\w.-]+", name) is not None
