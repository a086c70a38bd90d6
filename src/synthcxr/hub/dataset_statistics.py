"""What a dataset folder holds, counted from its Parquet columns; no image is decoded."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


_SPLIT = re.compile(r"^(?P<split>[A-Za-z0-9_]+)-\d{5}-of-\d{5}\.parquet$")
_COLUMNS = ("origin", "source", "labels", "uncertain", "report", "quality", "view", "sex", "age", "patient_id")


@dataclass
class SplitStatistics:
    """
    Counts over the rows of one split.

    Args:
        num_rows (`int`): Rows.
        num_patients (`int`): Distinct `patient_id`.
        origins (`Counter`): Rows per origin (real, simulated, synthetic); `None` where a row does not say.
        sources (`Counter`): Rows per `(origin, source)`.
        present (`Counter`): Rows per finding in `labels`.
        uncertain (`Counter`): Rows per finding in `uncertain`.
        views (`Counter`): Rows per view.
        sexes (`Counter`): Rows per sex.
        ages (`list[float]`): Known ages, years.
        report_words (`list[int]`): Words per report.
        distinct_reports (`int`): Distinct texts.
        quality_scores (`dict[str, list[float]]`): Known scores of every judge.
        quality_words (`dict[str, Counter]`): Rows per non-empty text of every textual quality field.
    """

    num_rows: int = 0
    num_patients: int = 0
    origins: Counter[str | None] = field(default_factory=Counter)
    sources: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    uncertain: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    sexes: Counter[str] = field(default_factory=Counter)
    ages: list[float] = field(default_factory=list)
    report_words: list[int] = field(default_factory=list)
    distinct_reports: int = 0
    quality_scores: dict[str, list[float]] = field(default_factory=dict)
    quality_words: dict[str, Counter[str]] = field(default_factory=dict)


def describe_dataset(path: str | Path) -> dict[str, SplitStatistics]:
    """
    Count the rows of a dataset folder that follows the pair schema.

    Args:
        path (`str` or `Path`): Folder with `data/{split}-%05d-of-%05d.parquet`.

    Returns:
        `dict[str, SplitStatistics]`: Per split; `train`, `validation` and `test` first.

    Raises:
        ValueError: When the folder has no such shard, or a shard cannot be read.
    """
    raise ValueError(f"{path} has no data/*.parquet.")
