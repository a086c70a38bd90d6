"""What an evaluation gives: one number with its interval and the exact variant, and the file that collects them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from ..data.whole_files import write_json
from .bootstrap import Estimate


RESULTS_NAME = "results.json"
"""The file that collects the results of a model, in its folder."""


@dataclass(frozen=True)
class Result:
    """
    One number. Two results are comparable only if their `protocol` is equal.

    Args:
        task (`str`): `zero_shot_classification`, `image_report_retrieval` ...
        dataset (`str`): What it was measured on.
        dataset_revision (`str`, *optional*): Commit on the Hub, or a digest of the rows.
        metric (`str`): Main metrics are plain (`macro_auroc`, `image_to_report_recall_at_5`); details have a subject
            behind a slash (`auroc/pleural_effusion`, `image_to_report_recall_at_5/chance`).
        value (`float`): The number. Never NaN: a number that cannot be computed is left out.
        ci_low (`float`, *optional*): Lower end of the 95 % interval; `None` when none was computed.
        ci_high (`float`, *optional*): Upper end of the 95 % interval.
        num_samples (`int`): Images (for the report-to-image direction: reports) that entered the number.
        seed (`int`): Of the bootstrap.
        protocol (`str`): The exact variant: prompt set, pooling, score, strata, uncertain rows, bootstrap.

    Example:

    ```python
    >>> result = Result("zero_shot_classification", "balanced", None, "auroc/edema", 0.91, 0.88, 0.94, 500, 0, "x")
    >>> result.metric_name, result.subject
    ('auroc', 'edema')

    ```
    """

    task: str
    dataset: str
    dataset_revision: str | None
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    num_samples: int
    seed: int
    protocol: str

    def __post_init__(self) -> None:
        for name in ("task", "dataset", "metric", "protocol"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} of a result is {getattr(self, name)!r}; expected a text.")
        for name in ("num_samples", "seed"):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} of {self.metric} is {getattr(self, name)!r}; expected an integer.")
        if self.dataset_revision is not None and not isinstance(self.dataset_revision, str):
            raise ValueError(
                f"dataset_revision of {self.metric} is {self.dataset_revision!r}; expected a text or None."
            )
        if (self.ci_low is None) != (self.ci_high is None):
            raise ValueError(f"{self.metric} has one end of an interval; expected both or none.")
        for name in ("value", "ci_low", "ci_high"):
            number = getattr(self, name)
            if number is None and name != "value":
                continue
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"{name} of {self.metric} is {number!r}; expected a finite number.")

    @property
    def metric_name(self) -> str:
        """The metric without its subject, for example `auroc`."""
        return self.metric.partition("/")[0]

    @property
    def subject(self) -> str:
        """What a detail is of, for example a finding; empty for a main metric."""
        return self.metric.partition("/")[2]

    @property
    def variant(self) -> str:
        """What of the protocol differs from the plain one, short enough for a table."""
        parts = [part for part in self.protocol.split("; ") if part.startswith(_VARYING) and part not in _PLAIN]
        return ", ".join(part.replace(" of mean grey level within it", "") for part in parts)

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What makes two results the same measurement: a newer one replaces the older."""
        return self.task, self.dataset, self.metric, self.protocol, self.seed


@dataclass(frozen=True)
class Measured:
    """
    A metric with its resamples, before it is reduced to a [`Result`]; two of them can be compared in pairs.

    Args:
        metric (`str`): As in [`Result`].
        estimate (`Estimate`): Value and resampled values.
        num_samples (`int`): As in [`Result`].
        protocol (`str`): As in [`Result`].
    """

    metric: str
    estimate: Estimate
    num_samples: int
    protocol: str

    def result(self, task: str, dataset: str, dataset_revision: str | None, seed: int) -> Result:
        """The number with its interval."""
        low, high = self.estimate.interval
        value = self.estimate.value
        return Result(
            task, dataset, dataset_revision, self.metric, value, low, high, self.num_samples, seed, self.protocol
        )


def write_results(path: str | Path, results: Iterable[Result]) -> Path:
    """Write `results.json` in one step: the file is never half written, and never holds NaN."""
    return write_json(path, [asdict(result) for result in results])


def read_results(path: str | Path) -> list[Result]:
    """
    Read what `write_results` wrote.

    Raises:
        ValueError: On anything that is not a list of results with exactly their fields.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}).") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} holds a {type(rows).__name__}; expected a list of results.")
    return [_result(row, f"{path}, entry {index}") for index, row in enumerate(rows)]


def merge_results(old: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """
    Old results updated by new ones, in order of first appearance.

    A new result replaces the old one of the same key. Old results of a task and dataset that was measured again on
    other rows (another `dataset_revision`) are dropped: they describe a dataset that is no more.
    """
    new = list(new)
    revisions = {(result.task, result.dataset): result.dataset_revision for result in new}
    merged = {
        result.key: result
        for result in old
        if revisions.get((result.task, result.dataset), result.dataset_revision) == result.dataset_revision
    }
    merged.update({result.key: result for result in new})
    return list(merged.values())


def results_table(results: Sequence[Result], *, title: str | None = "Not for clinical use") -> Table:
    """The results as a `rich` table, for a terminal."""
    table = Table(title=title)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in {"value", "n"} else "left")
    for row in _rows(results):
        table.add_row(*row)
    return table


_COLUMNS = ("task", "dataset", "metric", "of", "variant", "value", "95 % interval", "n")
_VARYING = ("prompts=", "pooling=", "score=", "strata=", "negatives=", "text=")
_PLAIN = {"prompts=name", "pooling=mean of normalised prompts", "score=cos(positive)-cos(negative)", "score=cosine"}
_PLAIN |= {"strata=none", "negatives=all", "text=report"}


def _rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    return [
        (
            result.task.replace("_", " "),
            result.dataset,
            result.metric_name.replace("_", " "),
            result.subject.replace("_", " "),
            result.variant,
            f"{result.value:.3f}",
            "" if result.ci_low is None else f"{result.ci_low:.3f} to {result.ci_high:.3f}",
            str(result.num_samples),
        )
        for result in results
    ]


def _result(row: Any, where: str) -> Result:
    names = {item.name for item in fields(Result)}
    if not isinstance(row, dict):
        raise ValueError(f"{where} is a {type(row).__name__}; expected a result.")
    if unknown := sorted(set(row) - names):
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; expected {', '.join(sorted(names))}.")
    if missing := sorted(names - set(row)):
        raise ValueError(f"{where} lacks {missing[0]!r}.")
    try:
        return Result(**row)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
