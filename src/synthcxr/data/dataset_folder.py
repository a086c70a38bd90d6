"""A dataset's folder, built shard by shard: killed and started again, it goes on to the same bytes."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from datasets import DatasetInfo, SplitDict, SplitInfo
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from .processes import map_in_processes
from .schema import PAIR_FEATURES, SPLITS, Pair
from .shards import BadRow, ShardRecord, record_data, write_shard
from .whole_files import write_json, write_text


logger = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1

_RECORDS = ".shards"
_LOCK = ".building.lock"


@dataclass(frozen=True)
class ShardPlan:
    """
    A shard before it is made.

    Args:
        split (`str`): Its split.
        index (`int`): Its number in the split.
        count (`int`): Shards of the split.
        items (`Sequence`): What its rows are made of, one each; sent to the process that makes them.
    """

    split: str
    index: int
    count: int
    items: Sequence[Any]

    @property
    def path(self) -> str:
        """Where it lies in the dataset's folder."""
        return f"data/{self.split}-{self.index:05d}-of-{self.count:05d}.parquet"


def plan_shards(items: Iterable[Any], splits: Iterable[str], *, shard_size: int) -> list[ShardPlan]:
    """
    Cut the items of every split, in their order, into shards.

    Args:
        items (`Iterable`): One per row.
        splits (`Iterable[str]`): Split of each.
        shard_size (`int`): Rows per shard; the last of a split may have fewer.

    Raises:
        ValueError: If `shard_size` is not positive or a split has another name than the schema's.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size is {shard_size}; expected 1 or more.")
    by_split: dict[str, list[Any]] = {}
    for item, split in zip(items, splits, strict=True):
        by_split.setdefault(split, []).append(item)
    unknown = [split for split in by_split if split not in SPLITS]
    if unknown:
        raise ValueError(f"A split is called {unknown[0]!r}; expected one of {', '.join(SPLITS)}.")
    plans = []
    for split in (name for name in SPLITS if name in by_split):
        starts = range(0, len(by_split[split]), shard_size)
        plans += [
            ShardPlan(split, index, len(starts), by_split[split][start : start + shard_size])
            for index, start in enumerate(starts)
        ]
    return plans


def write_dataset(
    output_dir: str | Path,
    plans: Sequence[ShardPlan],
    make_rows: Callable[[Sequence[Any]], Iterator[Pair | BadRow]],
    *,
    request: Mapping[str, Any],
    title: str,
    num_proc: int = 1,
    progress: bool = True,
) -> Path:
    """
    Make every shard that is not there yet, then the manifest and a `README.md` that `load_dataset` understands.

    Each shard is written atomically and recorded with its hash, so a run that was killed at any moment is continued by
    calling again with the same request; the bytes do not depend on interruptions or on `num_proc`. A shard that was
    changed since, or that lacks rows, is made anew.

    Args:
        output_dir (`str` or `Path`): The dataset's folder.
        plans (`Sequence[ShardPlan]`): Its shards.
        make_rows (`Callable`): From the items of a plan to its rows; a module's function, or a `partial` of one, so
            that other processes can call it.
        request (`Mapping`): Everything that decides the bytes, as JSON-ready data.
        title (`str`): First line of the README.
        num_proc (`int`, *optional*, defaults to 1): Processes that make shards.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar of images.

    Returns:
        `Path`: The folder.

    Raises:
        ValueError: If the folder holds the dataset of another request (the message names what differs) or other data,
            if another process builds there, or if not one row could be made.
        OSError: If a shard cannot be written; those that are finished stay.
    """
    if num_proc < 1:
        raise ValueError(f"num_proc is {num_proc}; expected 1 or more.")

    def make_shards(folder: Path, todo: Sequence[ShardPlan], bar: tqdm) -> Iterator[ShardRecord]:
        make = partial(_make_shard, folder, make_rows)
        yield from map_in_processes(make, todo, num_proc=num_proc, on_progress=bar.update)

    return fill_dataset(output_dir, plans, make_shards, request=request, title=title, progress=progress)


def fill_dataset(
    output_dir: str | Path,
    plans: Sequence[ShardPlan],
    make_shards: Callable[[Path, Sequence[ShardPlan], tqdm], Iterable[ShardRecord]],
    *,
    request: Mapping[str, Any],
    title: str,
    progress: bool = True,
    retry_bad_rows: bool = True,
) -> Path:
    """
    [`write_dataset`] for who makes the shards in a way of its own.

    Args:
        output_dir (`str` or `Path`): The dataset's folder.
        plans (`Sequence[ShardPlan]`): Its shards.
        make_shards (`Callable`): Called once, alone in the folder, with the folder, the plans that are not made yet
            and a progress bar of images. It writes each with `write_shard`, keeps its record with [`keep_record`],
            and gives the records in any order. Where it gives fewer, others are still at work: the dataset stays
            unfinished and a later call goes on.
        request (`Mapping`): Everything that decides the bytes, as JSON-ready data.
        title (`str`): First line of the README.
        progress (`bool`, *optional*, defaults to `True`): Show the progress bar.
        retry_bad_rows (`bool`, *optional*, defaults to `True`): Make shards that lack rows anew, because what the rows
            are made of may have been repaired without a change of the request.

    Returns:
        `Path`: The folder.

    Raises:
        ValueError, OSError: As [`write_dataset`].
    """
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            try:
                records = _reusable(folder, dict(request), plans, retry_bad_rows=retry_bad_rows)
                _build(folder, plans, records, make_shards, dict(request), title, progress=progress)
            finally:
                (folder / _LOCK).unlink(missing_ok=True)
    except Timeout:
        raise ValueError(f"{folder} is being built by another process.") from None
    except OSError as error:  # Timeout is one too
        message = f"{error.strerror or error} while writing {folder}; finished shards are kept, the same call goes on"
        raise OSError(error.errno, message) from error
    return folder


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """
    `{"format", "complete", "request", "shards"}` of a dataset's folder.

    Raises:
        ValueError: If the folder has no manifest, or a damaged one.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {MANIFEST_NAME}; expected the folder of a dataset built here.") from None
    except ValueError:
        raise ValueError(f"{path} is damaged: no JSON.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
        raise ValueError(f"{path} is of another format; expected {MANIFEST_FORMAT}.")
    for key, kind in (("complete", bool), ("request", dict), ("shards", list)):
        if not isinstance(manifest.get(key), kind):
            raise ValueError(f"{path} is damaged: {key} is {manifest.get(key)!r:.40}.")
    return manifest


def keep_record(folder: Path, record: ShardRecord) -> None:
    """Remember a shard that was just written, so that a run that goes on need not make it again."""
    write_json(_record_path(folder, record.path), record_data(record))


def read_record(folder: Path, path: str) -> ShardRecord | None:
    """What [`keep_record`] kept of the shard at `path`; `None` while it is not made."""
    file = _record_path(folder, path)
    return ShardRecord.from_dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def _record_path(folder: Path, path: str) -> Path:
    return folder / _RECORDS / f"{Path(path).stem}.json"


def _build(
    folder: Path,
    plans: Sequence[ShardPlan],
    records: dict[str, ShardRecord],
    make_shards: Callable[[Path, Sequence[ShardPlan], tqdm], Iterable[ShardRecord]],
    request: dict[str, Any],
    title: str,
    *,
    progress: bool,
) -> None:
    manifest = {"format": MANIFEST_FORMAT, "complete": False, "request": request, "shards": []}
    todo = [plan for plan in plans if plan.path not in records]
    if todo or not _is_complete(folder):
        write_json(folder / MANIFEST_NAME, manifest)
        for record in records.values():
            keep_record(folder, record)
        for plan in todo:
            _record_path(folder, plan.path).unlink(missing_ok=True)  # of a shard that was changed since

    total = sum(len(plan.items) for plan in plans)
    done = total - sum(len(plan.items) for plan in todo)
    with tqdm(total=total, initial=done, unit="image", desc=folder.name, disable=not progress) as bar:
        for record in make_shards(folder, todo, bar) if todo else ():
            records[record.path] = record

    if any(plan.path not in records for plan in plans):
        return
    ordered = [records[plan.path] for plan in plans]
    _report_bad_rows(folder, ordered)
    if todo or not _is_complete(folder):
        header = yaml.safe_dump(_yaml(ordered), sort_keys=False, allow_unicode=True)
        write_text(folder / "README.md", f"---\n{header}---\n\n{_readme(title, ordered)}")
        shards = [record_data(record) for record in ordered]
        write_json(folder / MANIFEST_NAME, manifest | {"complete": True, "shards": shards})
    shutil.rmtree(folder / _RECORDS, ignore_errors=True)


def _make_shard(
    folder: Path,
    make_rows: Callable[[Sequence[Any]], Iterator[Pair | BadRow]],
    plan: ShardPlan,
    on_row: Callable[[], None],
) -> ShardRecord:
    record = write_shard(folder, plan.path, plan.split, make_rows(plan.items), on_row=on_row)
    keep_record(folder, record)
    return record


def _is_complete(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).exists() and read_manifest(folder)["complete"]


def _reusable(
    folder: Path, request: dict[str, Any], plans: Sequence[ShardPlan], *, retry_bad_rows: bool
) -> dict[str, ShardRecord]:
    """Shards of an earlier run that can stay, by path; refuses a folder that is not ours to continue."""
    for leftover in (*folder.glob(".*.tmp"), *folder.glob("data/.*.tmp")):
        leftover.unlink()  # of a run that was killed; the lock says that nobody writes it now
    if not (folder / MANIFEST_NAME).exists():
        if any(folder.glob("data/*.parquet")) or (folder / "README.md").exists():
            raise ValueError(f"{folder} holds a dataset that was not built here; choose another folder.")
        return {}
    manifest = read_manifest(folder)
    try:
        data = manifest["shards"] or [json.loads(path.read_text()) for path in folder.glob(f"{_RECORDS}/*.json")]
        records = {item["path"]: ShardRecord.from_dict(item) for item in data}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder} has damaged records of its shards; choose another folder.") from error
    before, now = manifest["request"], json.loads(json.dumps(request))
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing and records:
        shown = ", ".join(f"{key} ({before.get(key)!r} there, {now.get(key)!r} now)" for key in differing)
        raise ValueError(f"{folder} holds a dataset of another request: {shown}; choose another folder.")
    if differing:
        return {}
    kept = {}
    for path in (plan.path for plan in plans if plan.path in records):
        if records[path].bad_rows and retry_bad_rows:
            continue  # the source may have been repaired
        if records[path].matches(folder):
            kept[path] = records[path]
        else:
            logger.warning("%s is missing or was changed; it is made again.", folder / path)
    return kept


def _report_bad_rows(folder: Path, records: Sequence[ShardRecord]) -> None:
    bad_rows = [bad for record in records for bad in record.bad_rows]
    if not any(record.num_rows for record in records):
        reason = f": {bad_rows[0].id}: {bad_rows[0].reason}" if bad_rows else ""
        raise ValueError(f"{folder} would have no row{reason}")
    for bad in bad_rows[:5]:
        logger.warning("Left out %s: %s", bad.id, bad.reason)
    if bad_rows:
        logger.warning("Rows left out of %s: %d; %s names them.", folder, len(bad_rows), MANIFEST_NAME)


def _yaml(records: Sequence[ShardRecord]) -> dict[str, Any]:
    splits = SplitDict()
    for split, group in groupby((record for record in records), key=lambda record: record.split):
        group = list(group)
        num_rows, num_bytes = sum(item.num_rows for item in group), sum(item.decoded_bytes for item in group)
        if num_rows:
            splits.add(SplitInfo(name=split, num_bytes=num_bytes, num_examples=num_rows))
    info = DatasetInfo(
        features=PAIR_FEATURES,
        splits=splits,
        download_size=sum(record.num_bytes for record in records),
        dataset_size=sum(split.num_bytes for split in splits.values()),
    )
    files = [{"split": split, "path": f"data/{split}-*"} for split in splits]
    return {"configs": [{"config_name": "default", "data_files": files}], "dataset_info": info._to_yaml_dict()}


def _readme(title: str, records: Sequence[ShardRecord]) -> str:
    splits = {record.split: 0 for record in records}
    for record in records:
        splits[record.split] += record.num_rows
    counts = "\n".join(f"| {split} | {count} |" for split, count in splits.items())
    return (
        f"# {title}\n\nFor research only; not for clinical use.\n\n| split | rows |\n|---|---|\n{counts}\n\n"
        '```python\nfrom datasets import load_dataset\n\npairs = load_dataset("path/to/this/folder", split='
        f'"{records[0].split}")\n```\n'
    )
