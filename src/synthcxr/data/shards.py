"""One Parquet shard: written in bounded memory, whole or not at all, and remembered with its hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .schema import PAIR_FEATURES, Pair
from .whole_files import flush, temporary_name


# What a streaming reader fetches at once: small enough for large images, large enough for small ones.
ROW_GROUP_BYTES = 8 * 1024**2
ROW_GROUP_ROWS = 256

_REPEATED_COLUMNS = ["view", "sex", "source", "origin"]


@dataclass(frozen=True)
class BadRow:
    """
    A row that could not be made, in place of a `Pair`.

    Args:
        id (`str`): Which row.
        reason (`str`): Why, in one line.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class ShardRecord:
    """
    What the manifest knows of a finished shard.

    Args:
        path (`str`): Relative to the dataset's folder: `data/{split}-%05d-of-%05d.parquet`.
        split (`str`): Its split.
        num_rows (`int`): Rows in it.
        num_bytes (`int`): Size of the file.
        decoded_bytes (`int`): Size of its Arrow table.
        sha256 (`str`): Of the file.
        bad_rows (`tuple[BadRow, ...]`): Rows that are missing from it, and why.
        counts (`dict[str, int]`): What else whoever made it counted.
    """

    path: str
    split: str
    num_rows: int
    num_bytes: int
    decoded_bytes: int
    sha256: str
    bad_rows: tuple[BadRow, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ShardRecord:
        """Read what `dataclasses.asdict` gave."""
        return cls(**data | {"bad_rows": tuple(BadRow(**item) for item in data["bad_rows"])})

    def matches(self, folder: Path) -> bool:
        """Whether the file is there, whole and unchanged."""
        path = folder / self.path
        return path.is_file() and path.stat().st_size == self.num_bytes and _sha256(path) == self.sha256


def write_shard(
    folder: Path, path: str, split: str, rows: Iterable[Pair | BadRow], *, on_row: Callable[[], None] | None = None
) -> ShardRecord:
    """
    Write one shard under a temporary name, then rename it: a shard that has its name is complete.

    Args:
        folder (`Path`): The dataset's folder.
        path (`str`): Where in it.
        split (`str`): Split that the shard belongs to.
        rows (`Iterable[Pair | BadRow]`): Its rows; bad ones are recorded and left out.
        on_row (`Callable[[], None]`, *optional*): Called after each.

    Raises:
        OSError: If it cannot be written, for example on a full disk; nothing is left of it then.
    """
    target = folder / path
    temporary = temporary_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            hashing = _HashingFile(file)
            num_rows, decoded_bytes, bad_rows = _write_rows(hashing, rows, on_row)
            flush(file)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return ShardRecord(path, split, num_rows, hashing.num_bytes, decoded_bytes, hashing.hexdigest(), tuple(bad_rows))


def record_data(record: ShardRecord) -> dict[str, Any]:
    """A record as JSON-ready data."""
    data = asdict(record)
    return data if record.counts else {name: value for name, value in data.items() if name != "counts"}


def _write_rows(
    file: _HashingFile, rows: Iterable[Pair | BadRow], on_row: Callable[[], None] | None
) -> tuple[int, int, list[BadRow]]:
    schema = PAIR_FEATURES.arrow_schema
    num_rows, decoded_bytes, bad_rows = 0, 0, []
    pending: list[dict[str, Any]] = []
    pending_bytes = 0
    writer = pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=_REPEATED_COLUMNS,
        write_statistics=False,
    )

    def flush() -> None:
        nonlocal pending_bytes, decoded_bytes
        table = pa.Table.from_pylist(pending, schema=schema)
        decoded_bytes += table.nbytes
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        pending.clear()
        pending_bytes = 0

    with writer:
        for row in rows:
            if isinstance(row, BadRow):
                bad_rows.append(row)
            else:
                pending.append(row.to_row())
                pending_bytes += _image_bytes(pending[-1])
                num_rows += 1
            if len(pending) >= ROW_GROUP_ROWS or pending_bytes >= ROW_GROUP_BYTES:
                flush()
            if on_row is not None:
                on_row()
        if pending:
            flush()
    return num_rows, decoded_bytes, bad_rows


def _image_bytes(row: dict[str, Any]) -> int:
    images = [row["image"], *row["objects"]["mask"], *row["regions"]["mask"]]
    return sum(len(image["bytes"]) for image in images)


class _HashingFile:
    """A file for one pass of writing that knows its hash at the end, so that nothing is read again."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._hash.update(data)
        self.num_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.num_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.flush()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
