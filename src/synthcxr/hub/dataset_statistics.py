"""What a dataset folder holds, counted from its Parquet columns; no image is decoded."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, LargeList, List, Value
from PIL import Image

from ..data.schema import PAIR_FEATURES, SPLITS


Row = dict[str, Any]

_SHARD = re.compile(r"(?P<split>\w+)-\d{5}-of-\d{5}\.parquet")
_COLUMNS = (
    *("origin", "source", "labels", "uncertain", "report", "entities", "quality", "prompt"),
    *("view", "sex", "age", "patient_id"),
)


@dataclass
class SplitStatistics:
    """
    Counts over the rows of one split.

    Args:
        num_rows (`int`): Rows.
        num_patients (`int`): Distinct `patient_id`.
        num_real_patients (`int`): Distinct `patient_id` of real rows.
        origins (`Counter`): Rows per origin (real, simulated, synthetic); `None` where a row does not say.
        sources (`Counter`): Rows per `(origin, source)`.
        present (`Counter`): Rows per finding in `labels`.
        uncertain (`Counter`): Rows per finding in `uncertain`.
        views (`Counter`): Rows per view.
        sexes (`Counter`): Rows per sex.
        ages (`list[float]`): Known ages, years.
        report_words (`list[int]`): Words of every report that is not empty.
        num_distinct_reports (`int`): Distinct texts among them.
        num_boxes (`int`): Boxes over all rows.
        entities (`Counter`): Entities per type, over all rows.
        quality_scores (`dict[str, list[float]]`): Known scores of every judge.
        quality_words (`dict[str, Counter]`):
            Rows per text of every textual quality field (empty texts left out), and per defect that the simulation was
            asked for (`bad record`, `report`).
    """

    num_rows: int = 0
    num_patients: int = 0
    num_real_patients: int = 0
    origins: Counter[str | None] = field(default_factory=Counter)
    sources: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    uncertain: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    sexes: Counter[str] = field(default_factory=Counter)
    ages: list[float] = field(default_factory=list)
    report_words: list[int] = field(default_factory=list)
    num_distinct_reports: int = 0
    num_boxes: int = 0
    entities: Counter[str] = field(default_factory=Counter)
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
    return {split: _count(_rows(shards)) for split, shards in dataset_shards(path).items()}


def dataset_shards(path: str | Path) -> dict[str, list[Path]]:
    """
    The Parquet shards of a dataset folder, per split.

    Raises:
        ValueError: When there is none, or some of a split's are missing.
    """
    shards: dict[str, list[Path]] = {}
    for file in sorted(Path(path).glob("data/*.parquet")):
        match = _SHARD.fullmatch(file.name)
        if match is None:
            raise ValueError(f"{file} is no shard; expected data/SPLIT-00000-of-00001.parquet.")
        shards.setdefault(match["split"], []).append(file)
    if not shards:
        raise ValueError(f"{path} has no data/SPLIT-00000-of-00001.parquet; expected the folder of a dataset.")
    for split, files in shards.items():
        count = int(files[0].stem[-5:])
        names = {f"{split}-{index:05d}-of-{count:05d}.parquet" for index in range(count)}
        if {file.name for file in files} != names:
            raise ValueError(f"{path}: the split {split} has {len(files)} shards; expected the {count} of one build.")
    ordered = [split for split in SPLITS if split in shards]
    return {split: shards[split] for split in [*ordered, *sorted(set(shards) - set(ordered))]}


def read_features(shard: Path) -> Features:
    """
    The features that a Parquet shard declares.

    Raises:
        ValueError: When the file is no Parquet.
    """
    try:
        return Features.from_arrow_schema(pq.read_schema(shard))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{shard} is no complete Parquet file: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # whatever its metadata say
        raise ValueError(f"{shard} declares features that `datasets` does not know.") from error


def first_image_size(shard: Path) -> str | None:
    """Width and height of the first image of a Parquet shard, in words; the others are taken to be like it."""
    with pq.ParquetFile(shard) as file:
        if "image" not in file.schema_arrow.names or not file.metadata.num_rows:
            return None
        rows = next(file.iter_batches(batch_size=1, columns=["image"])).to_pylist()
    stored = rows[0]["image"]
    content = stored.get("bytes") if isinstance(stored, dict) else None
    try:
        with Image.open(io.BytesIO(content or b"")) as image:
            return f"{image.width} x {image.height} pixels"
    except (OSError, ValueError):
        return None  # whoever loads it will be told


def _rows(shards: list[Path]) -> Iterator[Row]:
    for shard in shards:
        features = read_features(shard)
        _check_features(features, shard)
        columns = [name for name in _COLUMNS if name in features]
        if isinstance(features.get("objects"), dict) and "bbox" in features["objects"]:
            columns.append("objects.bbox")  # without the masks beside them
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    yield _named(row, features)


def _check_features(features: Features, shard: Path) -> None:
    for name in (name for name in _COLUMNS if name in features):
        expected = _kind(PAIR_FEATURES[name])
        if _kind(features[name]) not in (expected, "null"):
            raise ValueError(f"{shard} has a column {name!r} of another type; expected {expected}, as in the schema.")


def _kind(feature: Any) -> str:
    """What a column holds, whichever names and precision it has."""
    if isinstance(feature, dict):
        return "a struct"
    if isinstance(feature, List | LargeList):
        return f"a list of {_kind(feature.feature)}"
    if isinstance(feature, Value):
        return feature.dtype.removeprefix("large_").rstrip("0123456789")
    return type(feature).__name__


def _named(row: Row, features: Features) -> Row:
    """The row with the names of its class labels; -1 and null say nothing."""
    origin = row.get("origin")
    row["origin"] = features["origin"].int2str(origin) if origin is not None and origin >= 0 else None
    for column in ("labels", "uncertain"):
        indices = row.get(column) or []
        row[column] = [features[column].feature.int2str(index) for index in indices]
    return row


def _count(rows: Iterator[Row]) -> SplitStatistics:
    counts = SplitStatistics()
    patients: dict[str, set[str]] = {"any": set(), "real": set()}
    reports = set()
    for row in rows:
        counts.num_rows += 1
        counts.origins[row["origin"]] += 1
        counts.sources[row["origin"], row.get("source")] += 1
        counts.present.update(set(row["labels"]))
        counts.uncertain.update(set(row["uncertain"]))
        counts.views.update([row["view"]] if row.get("view") else [])
        counts.sexes.update([row["sex"]] if row.get("sex") else [])
        counts.ages += [row["age"]] if row.get("age") is not None and math.isfinite(row["age"]) else []
        counts.entities.update(entity["type"] for entity in row.get("entities") or [] if entity.get("type"))
        for group in ("any", row["origin"]):
            if row.get("patient_id") and group in patients:
                patients[group].add(row["patient_id"])
        if (row.get("report") or "").strip():
            counts.report_words.append(len(row["report"].split()))
            reports.add(hash(row["report"]))
        counts.num_boxes += len((row.get("objects") or {}).get("bbox") or ())
        _count_quality(counts, row.get("quality") or {})
        if row["origin"] == "simulated":
            _count_defects(counts, row.get("prompt"))
    counts.num_patients, counts.num_real_patients = len(patients["any"]), len(patients["real"])
    counts.num_distinct_reports = len(reports)
    return counts


def _count_quality(counts: SplitStatistics, quality: Row) -> None:
    for name, value in quality.items():
        if isinstance(value, str) and value:
            counts.quality_words.setdefault(name, Counter())[value] += 1
        elif isinstance(value, float) and math.isfinite(value):
            counts.quality_scores.setdefault(name, []).append(value)


def _count_defects(counts: SplitStatistics, prompt: str | None) -> None:
    """A simulated row's prompt is its study as JSON, which says what is wrong with it on purpose."""
    try:
        spec = json.loads(prompt or "{}")
        acquisition = spec.get("acquisition") or {}
    except (json.JSONDecodeError, AttributeError):
        return  # a prompt in words: nothing is said of defects
    found = {
        "bad record": ["any", acquisition["defect"]] if acquisition.get("defect") else [],
        "report": [word for word in ("omits", "contradicts") if spec.get(f"report_{word}")],
    }
    for name, words in found.items():
        for word in words:
            counts.quality_words.setdefault(name, Counter())[word] += 1
