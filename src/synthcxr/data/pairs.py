"""Loading datasets of pairs, ours or anybody's that follow the schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, IterableDataset, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

from .dataset_folder import MANIFEST_NAME, read_manifest
from .schema import PAIR_FEATURES


def load_pairs(
    path_or_id: str | Path,
    split: str = "train",
    *,
    streaming: bool = False,
    revision: str | None = None,
    optional: bool = False,
    columns: Sequence[str] = tuple(PAIR_FEATURES),
) -> Dataset | IterableDataset | None:
    """
    `load_dataset` that says at once what a dataset lacks.

    Args:
        path_or_id (`str` or `Path`): Folder, or id on the Hub.
        split (`str`, *optional*, defaults to `"train"`): Which split.
        streaming (`bool`, *optional*, defaults to `False`): Read rows as they are asked for.
        revision (`str`, *optional*): Commit or tag on the Hub.
        optional (`bool`, *optional*, defaults to `False`): Return `None` where there is no such split.
        columns (`Sequence[str]`, *optional*, defaults to all of the schema): Columns that must be there.

    Returns:
        `datasets.Dataset`, or `datasets.IterableDataset` when streaming.

    Raises:
        ValueError: If there is no such dataset or split, its building was never finished, a column is missing, or its
            class names are not the ontology's. One line.
    """
    name = str(path_or_id)
    local = Path(path_or_id).is_dir()
    if local:
        _check_finished(Path(path_or_id))
    elif Path(path_or_id).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(f"{name} is no folder; expected a dataset's folder or an id on the Hub.")
    try:
        dataset = load_dataset(name, split=split, streaming=streaming, revision=None if local else revision)
    except (DatasetNotFoundError, FileNotFoundError) as error:
        raise ValueError(f"{name} is neither a folder with data nor a dataset that the Hub gives.") from error
    except (ConnectionError, DatasetGenerationError, pa.ArrowInvalid, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        if not reason.startswith(("Unknown split", "Bad split")):
            raise ValueError(f"{name} cannot be loaded: {reason}") from error
        if optional:
            return None
        raise ValueError(f"{name} has no split {split!r}: {reason}") from error
    _check_columns(dataset, f"{name} ({split})", columns)
    return dataset


def _check_finished(folder: Path) -> None:
    if (folder / MANIFEST_NAME).exists() and not read_manifest(folder)["complete"]:
        raise ValueError(
            f"{folder} is not finished; run the command that builds it again, it goes on where it stopped."
        )


def _check_columns(dataset: Dataset | IterableDataset, name: str, columns: Sequence[str]) -> None:
    features = dataset.features or {}
    missing = [column for column in columns if column not in features]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}; expected {', '.join(columns)}.")
    for column in ("labels", "uncertain", "origin"):
        if column in columns and features[column] != PAIR_FEATURES[column]:
            raise ValueError(
                f"{name} has a column {column!r} of other classes than this version's; "
                "expected the ontology's names in its order."
            )
