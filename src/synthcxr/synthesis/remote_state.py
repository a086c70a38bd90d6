"""Tasks and shards of machines that share no folder with this one, as of HF Jobs: they travel through a storage."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fsspec
from huggingface_hub import create_bucket, create_repo
from tqdm.auto import tqdm

from ..data.dataset_folder import ShardPlan, keep_record
from ..data.shards import ShardRecord, record_data
from ..data.shipped import shipped_names
from .generators import component_files, find_generator
from .sampling import SamplingSettings


_POLL_SECONDS = 15.0
_GENERATOR = "generator"
_RECORDS = "records"
_SHARDS = "shards"


class RemoteState:
    """
    The folder of a run in a storage: `tasks`, `records`, `shards`, `notes`, `failed`, the `generator` where it is no
    public one, and what datatrove keeps beside them.

    Args:
        url (`str`): Of the folder, for any file system of fsspec, such as `hf://buckets/name/folder`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @classmethod
    def of_run(cls, storage: str, plans: Sequence[ShardPlan], settings: SamplingSettings) -> RemoteState:
        """
        The folder that belongs to these shards and settings, so that a run that goes on finds what was made.

        Args:
            storage (`str`): Folder of all runs.
            plans (`Sequence[ShardPlan]`): All shards, also those that are here already.
            settings (`SamplingSettings`): How to draw.
        """
        total = hashlib.blake2b(digest_size=8)
        total.update(json.dumps(asdict(replace(settings, generator="")), sort_keys=True).encode())
        for plan in plans:
            total.update(plan.path.encode() + hashlib.blake2b(plan.items.path.read_bytes(), digest_size=16).digest())
        return cls(f"{storage.rstrip('/')}/{total.hexdigest()}")

    def send_run(self, state: Path, settings: SamplingSettings, *, generator: str) -> SamplingSettings:
        """
        Store what the workers need.

        Args:
            state (`Path`): Holds `tasks`, and `completions` of shards that are here already.
            settings (`SamplingSettings`): How to draw.
            generator (`str`): As the user named it. The files of a folder are stored; a shipped generator, or one of
                the Hub, every worker has or loads itself.

        Returns:
            `SamplingSettings`: For the workers.
        """
        self._create()
        files, root = self._files()
        if files.exists(f"{root}/failed"):
            files.rm(f"{root}/failed", recursive=True)  # of an earlier attempt
        for name in ("tasks", "completions"):
            for path in sorted((state / name).iterdir()):
                self.send(path, f"{name}/{path.name}")
        if generator in shipped_names() or not Path(generator).is_dir():
            return replace(settings, generator=generator)
        folder = Path(settings.generator)
        for path in component_files(folder):
            self.send(path, f"{_GENERATOR}/{path.relative_to(folder).as_posix()}")
        return replace(settings, generator="")

    def fetch_task(self, rank: int, folder: Path, settings: SamplingSettings) -> SamplingSettings:
        """
        Bring a task, and the generator, to a worker.

        Args:
            rank (`int`): Of the task.
            folder (`Path`): Gets `tasks` and `generator`.
            settings (`SamplingSettings`): From [`RemoteState.send_run`].

        Returns:
            `SamplingSettings`: With the generator's folder on this machine.

        Raises:
            ValueError: If the Hub gives another revision of the generator than the run is of.
        """
        for end in ("json", "jsonl"):
            self.fetch(f"tasks/{rank:05d}.{end}", folder / "tasks" / f"{rank:05d}.{end}")
        if settings.generator:
            found = find_generator(settings.generator)
            if found.source != settings.source:
                raise ValueError(f"{settings.generator} is {found.source} here; the run is of {settings.source}.")
            return replace(settings, generator=str(found.folder))
        for name in self.names(_GENERATOR, recursive=True):
            self.fetch(f"{_GENERATOR}/{name}", folder / _GENERATOR / name)
        return replace(settings, generator=str(folder / _GENERATOR))

    def send_shard(self, rank: int, folder: Path, record: ShardRecord) -> None:
        """Store a shard, then its record: who finds a record finds the shard."""
        self.send(folder / record.path, f"{_SHARDS}/{Path(record.path).name}")
        self.write_json(f"{_RECORDS}/{rank:05d}.json", record_data(record))

    def fetch_shards(self, folder: Path, ranks: Iterable[int]) -> None:
        """
        Bring the shards of these tasks that are made to the dataset's folder, whole or not at all, with their records.

        Raises:
            OSError: If one arrives damaged.
        """
        made = set(self.names(_RECORDS))
        for rank in ranks:
            if f"{rank:05d}.json" not in made:
                continue
            record = ShardRecord.from_dict(self.read_json(f"{_RECORDS}/{rank:05d}.json"))
            self.fetch(f"{_SHARDS}/{Path(record.path).name}", folder / record.path)
            if not record.matches(folder):
                (folder / record.path).unlink()
                raise OSError(None, f"{record.path} arrived damaged from {self.url}")
            keep_record(folder, record)

    def fetch_all(self, name: str, folder: Path) -> None:
        """Bring every file of a folder in the storage."""
        for item in self.names(name):
            self.fetch(f"{name}/{item}", folder / item)

    @contextmanager
    def shown(self, sizes: Mapping[int, int], bar: tqdm) -> Iterator[None]:
        """Keep a bar at what is made of these tasks, by their images, shard by shard."""
        start, stop = bar.n, threading.Event()

        def show() -> None:
            made = {int(name.partition(".")[0]) for name in self.names(_RECORDS)}
            bar.update(start + sum(size for rank, size in sizes.items() if rank in made) - bar.n)

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

    def send(self, path: Path, name: str) -> None:
        """Store a file, in place of another of this name."""
        files, root = self._files()
        files.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        files.put_file(str(path), f"{root}/{name}")

    def fetch(self, name: str, path: Path) -> None:
        """Bring a file, whole or not at all."""
        files, root = self._files()
        path.parent.mkdir(parents=True, exist_ok=True)
        growing = path.with_name(f".{path.name}.tmp")
        files.get_file(f"{root}/{name}", str(growing))
        os.replace(growing, path)

    def names(self, name: str, *, recursive: bool = False) -> list[str]:
        """Files of a folder, by their names in it; none where there is no folder."""
        files, root = self._files()
        files.invalidate_cache()  # others write there
        folder = f"{root}/{name}"
        if not files.exists(folder):
            return []
        found = files.find(folder, maxdepth=None if recursive else 1)
        return sorted(path.rpartition(f"{folder}/")[2] for path in found)

    def read_json(self, name: str) -> Any:
        """A file of JSON."""
        files, root = self._files()
        return json.loads(files.cat_file(f"{root}/{name}"))

    def write_json(self, name: str, data: Any) -> None:
        """Store data as JSON."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.json"
            path.write_text(json.dumps(data), encoding="utf-8")
            self.send(path, name)

    def _create(self) -> None:
        """The private bucket or repository of an `hf://` folder, unless it is there."""
        if not self.url.startswith("hf://"):
            return
        kind, *parts = self.url.removeprefix("hf://").split("/")
        if kind == "buckets":
            create_bucket("/".join(parts[:2]), private=True, exist_ok=True)
        elif kind == "datasets":
            create_repo("/".join(parts[:2]), repo_type="dataset", private=True, exist_ok=True)
        else:
            raise ValueError(f"{self.url} is no hf://buckets/name/bucket and no hf://datasets/name/repository.")

    def _files(self) -> tuple[Any, str]:
        files, root = fsspec.core.url_to_fs(self.url)
        return files, root.rstrip("/")
