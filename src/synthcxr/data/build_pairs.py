"""From study specs to a dataset of simulated pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..ontology import StudySpec


def build_pairs(
    specs: Sequence[StudySpec],
    *,
    image_size: int,
    output_dir: str | Path,
    splits: Mapping[str, float] | None = None,
    shard_size: int = 1000,
    num_proc: int = 1,
    regions: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """Simulate every study and write the pairs as Parquet shards."""
    raise ValueError(f"{output_dir}: building is not written yet.")
