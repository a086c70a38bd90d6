"""A local copy of a public dataset as a folder in our schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path

from ..dataset_folder import plan_shards, write_dataset
from .kermany_pediatric import read_kermany_pediatric
from .nih_chestxray14 import read_nih_chestxray14
from .studies import SourceStudy, study_rows


SOURCES: dict[str, tuple[str, Callable[[str | Path], list[SourceStudy]]]] = {
    "nih_chestxray14": ("NIH ChestX-ray14", read_nih_chestxray14),
    "kermany_pediatric": ("Chest X-rays of children (Kermany et al.)", read_kermany_pediatric),
}


def prepare_source(
    name: str,
    path: str | Path,
    output_dir: str | Path,
    *,
    shard_size: int = 1000,
    num_proc: int = 1,
    progress: bool = True,
) -> Path:
    """
    Write a public dataset as Parquet shards of the pair schema, as `build_pairs` does: resumable, byte for byte.

    Every image is decoded. A row whose image is missing or damaged is left out, the rest goes on; the log names the
    first and counts all, and `manifest.json` names all. After the files were repaired, the same call makes the shards
    that lacked rows again. Only when no image at all can be read is that an error.

    Args:
        name (`str`): Key of `SOURCES`.
        path (`str` or `Path`): The local copy, in its official layout.
        output_dir (`str` or `Path`): The dataset's folder.
        shard_size (`int`, *optional*, defaults to 1000): Rows per Parquet file.
        num_proc (`int`, *optional*, defaults to 1): Processes; each makes whole shards.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar.

    Returns:
        `Path`: `output_dir`.

    Raises:
        ValueError: On an unknown name, another layout, or a folder that holds something else.
        OSError: If the disk is full or cannot be written; finished shards stay.
    """
    if name not in SOURCES:
        closest = get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise ValueError(f"name is {name!r}; expected one of {', '.join(SOURCES)} (closest: {closest}).")
    title, read = SOURCES[name]
    studies = read(path)
    request = {
        "kind": f"{name} prepared",
        "num_studies": len(studies),
        "studies": _digest(studies, Path(path)),
        "shard_size": shard_size,
        "synthcxr": version("synthcxr"),
    }
    plans = plan_shards(studies, [study.split for study in studies], shard_size=shard_size)
    return write_dataset(
        output_dir, plans, study_rows, request=request, title=title, num_proc=num_proc, progress=progress
    )


def _digest(studies: list[SourceStudy], folder: Path) -> str:
    """Of everything that the tables say; the same wherever the copy lies."""
    data = [asdict(study) | {"path": str(study.path.relative_to(folder))} for study in studies]
    return hashlib.blake2b(json.dumps(data).encode(), digest_size=8).hexdigest()
