"""The reports that images are to be drawn for: from a dataset, a JSONL, CSV or Parquet file, or study specs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from ..data.pairs import load_pairs
from ..data.schema import ORIGINS, PAIR_FEATURES, SPLITS
from ..ontology import FINDING_IDS, StudySpec
from ..reports import split_sections, write_report


TEXT_COLUMNS = ("report", "findings", "impression", "text")
_COLUMNS = (
    *(*TEXT_COLUMNS, "id", "labels", "uncertain", "entities", "view", "age", "sex", "origin"),
    *("patient_id", "study_id", "prior_id"),
)
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class ReportRow:
    """
    A report and what its source says of the study.

    Args:
        where (`str`): How messages call the row.
        report (`str`): Whole text; may be empty, which the sampler refuses.
        findings (`str`): Its findings section.
        impression (`str`): Its impression section.
        split (`str`): Split that the pair is to be in.
        origin (`str`): Of the report; `"real"` unless the source says that it is not.
        id (`str`): In the source; may be empty.
        labels (`tuple[str, ...]`): Findings present, where the source has them.
        uncertain (`tuple[str, ...]`): Findings stated as uncertain, where the source has them.
        entities (`tuple[tuple[str, str], ...]`): `(text, type)` of what the report was asked to contain.
        view (`str`, *optional*): As in the source.
        age (`float`, *optional*): Years.
        sex (`str`, *optional*): As in the source.
        patient_id (`str`, *optional*): As in the source.
        study_id (`str`, *optional*): As in the source.
        prior_id (`str`, *optional*): As in the source.
    """

    where: str
    report: str
    findings: str
    impression: str
    split: str = "train"
    origin: str = "real"
    id: str = ""
    labels: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    entities: tuple[tuple[str, str], ...] = ()
    view: str | None = None
    age: float | None = None
    sex: str | None = None
    patient_id: str | None = None
    study_id: str | None = None
    prior_id: str | None = None


def read_reports(source: str | Path, *, split: str | None = None) -> Iterator[ReportRow]:
    """
    The reports of a source, one after the other, in its order.

    Args:
        source (`str` or `Path`): Folder or Hub id of a dataset with a column `report`, `findings`, `impression` or
            `text`; or a file: `.jsonl` (rows, or what `StudySpec.to_dict` gives), `.csv` or `.parquet`.
        split (`str`, *optional*): Only this split of a dataset; every one it has when absent. Rows of a file are
            `"train"`.

    Raises:
        ValueError: If the source cannot be read. One line, with the row.
    """
    path = Path(source)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.is_file():
        if path.suffix.lower() not in readers:
            raise ValueError(f"{source} is none of {', '.join(readers)}, nor the folder of a dataset.")
        if split is not None:
            raise ValueError(f"{source} is a file, which has no split {split!r}.")
        yield from readers[path.suffix.lower()](path)
        return
    datasets = {name: load_pairs(source, name, optional=True, columns=()) for name in ((split,) if split else SPLITS)}
    datasets = {name: dataset for name, dataset in datasets.items() if dataset is not None}
    if not datasets:
        raise ValueError(f"{source} has no split {split or ', '.join(SPLITS)}.")
    label = path.name if path.is_dir() else str(source)  # where a row is goes into the manifest; folders do not
    for name, dataset in datasets.items():
        to_row = _stored_row(dataset.features, f"{source} ({name})")
        chosen = dataset.select_columns([column for column in _COLUMNS if column in dataset.features])
        for index, data in enumerate(chosen):
            yield to_row(data, f"row {index + 1} of {label} ({name})", name)


def _read_jsonl(path: Path) -> Iterator[ReportRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"line {number} of {path.name}"
            if not line.strip():
                continue
            try:
                data = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{where} is no JSON: {' '.join(str(error).split())}.") from error
            if not isinstance(data, dict):
                raise ValueError(f"{where} is a {type(data).__name__}; expected an object with a report.")
            yield _spec_row(data, where) if {"patient", "acquisition"} <= set(data) else _row(data, where)


def _read_csv(path: Path) -> Iterator[ReportRow]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(reader.fieldnames or (), path)
            for data in reader:
                where = f"line {reader.line_num} of {path.name}"
                if None in data or None in data.values():
                    raise ValueError(f"{where} has another number of cells than the header.")
                data |= {name: _numbered(data[name], name, where) for name in ("age",) if name in data}
                lists = {name: data[name].split("|") for name in ("labels", "uncertain") if data.get(name)}
                yield _row({key: value for key, value in data.items() if value and key != "entities"} | lists, where)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}.") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV: {error}.") from error


def _numbered(cell: str, name: str, where: str) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        raise ValueError(f"{where} has the {name} {cell!r:.40}; expected a number or nothing.") from None


def _read_parquet(path: Path) -> Iterator[ReportRow]:
    try:
        file = pq.ParquetFile(path)
        features = Features.from_arrow_schema(file.schema_arrow)
        to_row = _stored_row(features, str(path))
        number = 0
        columns = [name for name in _COLUMNS if name in features]
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
            for data in batch.to_pylist():
                number += 1
                yield to_row(data, f"row {number} of {path.name}", "train")
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no Parquet file: {' '.join(str(error).split())}.") from error


def _stored_row(features: Mapping[str, Any], name: str) -> Callable[[dict[str, Any], str, str], ReportRow]:
    """How rows of these columns are read: classes of the schema are stored as numbers, of others as words."""
    _check_columns(features, name)
    numbered = [key for key in ("labels", "uncertain") if features.get(key) == PAIR_FEATURES[key]]
    origin_numbered = features.get("origin") == PAIR_FEATURES["origin"]

    def to_row(data: dict[str, Any], where: str, split: str) -> ReportRow:
        data = data | {key: [FINDING_IDS[index] for index in data[key]] for key in numbered if data.get(key)}
        if origin_numbered:
            data["origin"] = ORIGINS[data["origin"]]
        return _row(data, where, split)

    return to_row


def _check_columns(columns: Any, name: str | Path) -> None:
    if not set(TEXT_COLUMNS) & set(columns):
        raise ValueError(f"{name} has none of the columns {', '.join(TEXT_COLUMNS)}.")


def _spec_row(data: dict[str, Any], where: str) -> ReportRow:
    try:
        spec = StudySpec.from_dict(data)
        report = write_report(spec)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{where} is no study spec: {' '.join(str(error).split())}.") from error
    sections = split_sections(report)
    return ReportRow(
        where=where,
        report=report,
        findings=sections["findings"],
        impression=sections["impression"],
        origin="simulated",
        id=f"{spec.study_id}-{spec.digest()}",
        labels=tuple(spec.labels),
        uncertain=tuple(spec.uncertain),
        view=spec.acquisition.view,
        age=spec.patient.age,
        sex=spec.patient.sex,
        patient_id=spec.patient.patient_id,
        study_id=spec.study_id,
        prior_id=None if spec.prior is None else spec.prior.study_id,
    )


def _row(data: dict[str, Any], where: str, split: str = "train") -> ReportRow:
    _check_columns(data, where)
    texts = {name: _text(data, name, where) or "" for name in TEXT_COLUMNS}
    report = texts["report"] or texts["text"] or _joined(texts["findings"], texts["impression"])
    if not (texts["findings"] or texts["impression"]):
        texts |= split_sections(report)
    origin = _text(data, "origin", where) or "real"
    if origin not in ORIGINS:
        raise ValueError(f"{where} has the origin {origin!r:.40}; expected one of {', '.join(ORIGINS)}.")
    age = data.get("age")
    if age is not None and (isinstance(age, bool) or not isinstance(age, (int, float))):
        raise ValueError(f"{where} has the age {age!r:.40}; expected a number.")
    return ReportRow(
        where=where,
        report=report,
        findings=texts["findings"],
        impression=texts["impression"],
        split=split,
        origin=origin,
        labels=_names(data, "labels", where),
        uncertain=_names(data, "uncertain", where),
        entities=_entities(data, where),
        age=age,
        **{name: _text(data, name, where) for name in ("view", "sex", "patient_id", "study_id", "prior_id")},
        id=_text(data, "id", where) or "",
    )


def _joined(findings: str, impression: str) -> str:
    sections = (("FINDINGS", findings), ("IMPRESSION", impression))
    return "\n\n".join(f"{name}:\n{text}" for name, text in sections if text.strip())


def _text(data: Mapping[str, Any], name: str, where: str) -> str | None:
    value = data.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and name.endswith("id"):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where} has a {name} of type {type(value).__name__}; expected a text.")
    return value


def _names(data: Mapping[str, Any], column: str, where: str) -> tuple[str, ...]:
    names = data.get(column) or ()
    unknown = [name for name in names if name not in FINDING_IDS] if isinstance(names, (list, tuple)) else [names]
    if unknown:
        raise ValueError(f"{where} has {unknown[0]!r:.40} in {column}; expected a list of the ontology's findings.")
    return tuple(names)


def _entities(data: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((str(item["text"]), str(item["type"])) for item in data.get("entities") or ())
    except (TypeError, KeyError):
        raise ValueError(f"{where} has entities that are no list of objects with a text and a type.") from None
