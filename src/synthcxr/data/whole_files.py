"""Files that are written whole or not at all: readers see the old one or the new one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO


def write_bytes(path: str | Path, content: bytes) -> Path:
    """
    Write a file whole or not at all; its folder is made where it is missing.

    Raises:
        OSError: If it cannot be written; an older file of that name stays as it was.
    """
    path = Path(path)
    temporary = temporary_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            flush(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_text(path: str | Path, text: str) -> Path:
    """[`write_bytes`] of a text, as UTF-8."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, data: Any) -> Path:
    """[`write_bytes`] of data as JSON; NaN, which is no JSON, is a `ValueError`."""
    return write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def temporary_name(path: Path) -> Path:
    """Where a file grows before it gets its name: hidden, in the same folder, and this process's own."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def flush(file: BinaryIO) -> None:
    """To the disk itself: after a power cut a name must not stand for an empty file."""
    file.flush()
    os.fsync(file.fileno())
