"""A shard is a task of a datatrove pipeline: what a task does, and what is kept of it."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from tqdm.auto import tqdm

from ..data.dataset_folder import ShardPlan, keep_record, read_record
from ..data.shards import ShardRecord, write_shard
from ..data.whole_files import write_json
from .executors import run_tasks
from .remote_state import RemoteState
from .requests import StoredRequests
from .sampling import SamplingSettings, Tally, sample_rows
from .worker_processes import end_with_parent


logger = logging.getLogger(__name__)

# Tasks, markers, logs and progress of a run, in the dataset's folder until it is complete.
STATE = ".synthesis"

_POLL_SECONDS = 0.5
_NAMED = 3
_TICKS = ("drawn", "rejected")


class SynthesisStep(PipelineStep):
    """
    Makes the shard whose number is the task's.

    Args:
        folder (`str`): The dataset's folder, which every worker sees.
        settings (`SamplingSettings`): How to draw.
    """

    name = "images of reports"
    type = "Synthesis"

    def __init__(self, folder: str, settings: SamplingSettings) -> None:
        super().__init__()
        self.folder, self.settings = folder, settings

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Make shard `rank` as its task in the folder says."""
        end_with_parent()
        try:
            with self.track_time():
                record = self.make(rank)
        except Exception as error:
            # Not every executor hands errors on.
            with suppress(OSError):
                number, message = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
                self.keep_failure(rank, {"type": type(error).__name__, "errno": number, "message": message})
            raise
        self.stat_update("pairs", value=record.num_rows, unit="shard")
        self.stat_update("rejected", value=len(record.bad_rows), unit="shard")

    def make(self, rank: int) -> ShardRecord:
        """Write a shard, and leave its record where who waits for it looks."""
        return _make_shard(Path(self.folder), rank, self.settings)

    def keep_failure(self, rank: int, failure: dict[str, Any]) -> None:
        """Leave word of an error."""
        write_json(Path(self.folder) / STATE / "failed" / f"{rank:05d}.json", failure)


class RemoteSynthesisStep(SynthesisStep):
    """
    The same on a machine that shares nothing but a storage with who asks.

    Args:
        url (`str`): Of the run's folder in the storage.
        settings (`SamplingSettings`): From [`RemoteState.send_run`].
    """

    def __init__(self, url: str, settings: SamplingSettings) -> None:
        super().__init__("", settings)
        self.remote = RemoteState(url)

    def make(self, rank: int) -> ShardRecord:
        """Draw in a folder of this machine, then store."""
        with tempfile.TemporaryDirectory(prefix="synthcxr-") as work:
            folder = Path(work)
            (folder / STATE / "progress").mkdir(parents=True)
            record = _make_shard(folder, rank, self.remote.fetch_task(rank, folder / STATE, self.settings))
            name = f"notes/{rank:05d}.json"
            self.remote.send(folder / STATE / name, name)
            self.remote.send_shard(rank, folder, record)
        return record

    def keep_failure(self, rank: int, failure: dict[str, Any]) -> None:
        """Leave word of an error in the storage."""
        self.remote.write_json(f"failed/{rank:05d}.json", failure)


def make_shards(
    folder: Path,
    todo: Sequence[ShardPlan],
    bar: tqdm,
    *,
    plans: Sequence[ShardPlan],
    settings: SamplingSettings,
    generator: str,
    executor: str,
    workers: int,
    executor_settings: Mapping[str, Any],
) -> Iterator[ShardRecord]:
    """
    Have an executor make shards, and give their records.

    Args:
        folder (`Path`): The dataset's folder.
        todo (`Sequence[ShardPlan]`): Shards that are not made yet.
        bar (`tqdm`): Told of every image.
        plans (`Sequence[ShardPlan]`): All shards; the place of one is the number of its task.
        settings (`SamplingSettings`): How to draw.
        generator (`str`): As the user named it.
        executor (`str`): Key of `EXECUTORS`.
        workers (`int`): Tasks at the same time; -1 for no limit.
        executor_settings (`Mapping`): Further arguments of datatrove's class; for jobs also their `storage`.

    Raises:
        ValueError, OSError, RuntimeError: What a worker said, or that it was killed.
    """
    state = folder / STATE
    _write_tasks(state, plans, {plan.path for plan in todo})
    options = {"num_tasks": len(plans), "workers": workers}
    if executor == "jobs":
        executor_settings = {"dependencies": [f"synthcxr=={version('synthcxr')}"], **executor_settings}
        remote = RemoteState.of_run(executor_settings.pop("storage"), plans, settings)
        step = RemoteSynthesisStep(remote.url, remote.send_run(state, settings, generator=generator))
        paths = {plan.path for plan in todo}
        sizes = {rank: len(plan.items) for rank, plan in enumerate(plans) if plan.path in paths}
        with remote.shown(sizes, bar):
            run_tasks(executor, step, state=remote.url, settings=executor_settings, **options)
        remote.fetch_shards(folder, sizes)
        for name in ("notes", "failed"):
            remote.fetch_all(name, state / name)
    else:
        step = SynthesisStep(str(folder.resolve()), settings)
        with _shown(state / "progress", bar):
            run_tasks(executor, step, state=str(state.resolve()), settings=executor_settings, **options)
    records = [read_record(folder, plan.path) for plan in todo]
    if None in records and executor != "slurm":  # which goes on without us
        _raise_failure(state)
    _report_memory(state)
    yield from (record for record in records if record is not None)


def _make_shard(folder: Path, rank: int, settings: SamplingSettings) -> ShardRecord:
    state = folder / STATE
    task = json.loads((state / "tasks" / f"{rank:05d}.json").read_text(encoding="utf-8"))
    requests = StoredRequests(state / "tasks" / f"{rank:05d}.jsonl", task["num_pairs"])
    with _Ticks(state / "progress", rank) as ticks:
        tally = Tally(ticks.add)
        record = write_shard(folder, task["path"], task["split"], sample_rows(requests, settings, tally))
    write_json(state / "notes" / f"{rank:05d}.json", {"smallest_batch": tally.smallest_batch})
    record = replace(record, counts=tally.counts())
    keep_record(folder, record)
    return record


def _write_tasks(state: Path, plans: Sequence[ShardPlan], todo: set[str]) -> None:
    """What the workers read; and, from the records of shards, which tasks are complete."""
    for path in sorted((state / "failed").glob("*.json"))[:_NAMED]:
        failure = json.loads(path.read_text(encoding="utf-8"))
        logger.warning("An earlier run failed at shard %s: %s", path.stem, " ".join(failure["message"].split()))
    shutil.rmtree(state, ignore_errors=True)
    for name in ("tasks", "progress", "completions"):
        (state / name).mkdir(parents=True)
    for rank, plan in enumerate(plans):
        if plan.path not in todo:
            (state / "completions" / f"{rank:05d}").touch()
            continue
        shutil.copyfile(plan.items.path, state / "tasks" / f"{rank:05d}.jsonl")
        task = {"path": plan.path, "split": plan.split, "num_pairs": len(plan.items)}
        write_json(state / "tasks" / f"{rank:05d}.json", task)


def _raise_failure(state: Path) -> None:
    failures = sorted((state / "failed").glob("*.json"))
    if not failures:
        raise RuntimeError(f"Some shards were not made, and no worker says why; {state / 'logs'} may.")
    failure = json.loads(failures[0].read_text(encoding="utf-8"))
    if failure["errno"] is not None:
        raise OSError(failure["errno"], failure["message"])
    raise (ValueError if failure["type"] == "ValueError" else RuntimeError)(failure["message"])


def _report_memory(state: Path) -> None:
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in (state / "notes").glob("*.json")]
    batches = [note["smallest_batch"] for note in notes if note["smallest_batch"]]
    if batches:
        logger.warning("Memory ran out in %d shards: batches were halved, down to %d.", len(batches), min(batches))


class _Ticks:
    """A byte per image in a file of the shard, whose size tells the parent, on whatever machine, how far it is."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._paths = [folder / f"{rank:05d}.{kind}" for kind in _TICKS]

    def __enter__(self) -> _Ticks:
        self._files = [path.open("wb", buffering=0) for path in self._paths]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, drawn: int, rejected: int) -> None:
        for file, count in zip(self._files, (drawn, rejected), strict=True):
            file.write(b"." * count)


@contextmanager
def _shown(folder: Path, bar: tqdm) -> Iterator[None]:
    """Keep the bar at what the workers' files say."""
    start, stop = bar.n, threading.Event()

    def show() -> None:
        drawn, rejected = (sum(path.stat().st_size for path in folder.glob(f"*.{kind}")) for kind in _TICKS)
        bar.set_postfix(rejected=rejected, refresh=False)
        bar.update(start + drawn + rejected - bar.n)

    def follow() -> None:
        while not stop.wait(_POLL_SECONDS):
            show()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()
        show()
