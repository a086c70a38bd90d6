"""A pipeline's code beside its weights, so that `diffusers` loads it where this package is not installed."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any


def export_code(folder: str | Path, module_file: str | Path, class_name: str) -> None:
    """
    Copy a pipeline's module and the siblings that it imports into a saved pipeline, and name them in its index.

    Args:
        folder (`str` or `Path`): Where `model_index.json` was saved.
        module_file (`str` or `Path`): The module that defines the pipeline.
        class_name (`str`): Its class.
    """
    folder, module_file = Path(folder), Path(module_file)
    for file in _with_siblings(module_file):
        _write_whole(folder / file.name, file.read_text(encoding="utf-8"))
    index_file = folder / "model_index.json"
    index = json.loads(index_file.read_text(encoding="utf-8"))
    index["_class_name"] = [module_file.stem, class_name]
    _write_json(index_file, index)
    for file in (index_file, *folder.glob("*/*config.json")):
        _forget_origin(file)


def _forget_origin(file: Path) -> None:
    """Take out where on this machine a part was loaded from: it is nobody's business, and differs between copies."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if content.pop("_name_or_path", None) is not None:
        _write_json(file, content)


def _with_siblings(file: Path) -> list[Path]:
    """A module and what it imports by `from .x import y`, and what these import."""
    waiting, found = [file], []
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.append(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                waiting.append(file.with_name(f"{node.module}.py"))
    return found


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write_whole(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
