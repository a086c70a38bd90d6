"""Checkpoint folders: what they are, how they were trained, and which of their files travel to the Hub."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


RECORD_NAME = "pretraining.json"

# What the Hub gets of a checkpoint besides its code. Everything else (optimizer states, logs, the record with its
# local paths) stays at home; the card says what matters of it.
_PUBLISHED = (
    *("README.md", "LICENSE*", "config.json", "generation_config.json", "results.json"),
    *("*.safetensors", "*.safetensors.index.json"),
    *("processor_config.json", "preprocessor_config.json", "chat_template.jinja"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    *("figures/*.png", "examples/*.png"),
)
_NEEDED = ("config.json", "tokenizer_config.json")


def read_config(path: str | Path) -> dict[str, Any]:
    """
    The configuration of a checkpoint folder.

    Raises:
        ValueError: When there is none.
    """
    return _read_json(Path(path) / "config.json")


def read_record(path: str | Path) -> dict[str, Any]:
    """The record that pre-training left in a checkpoint folder (`pretraining.json`); empty when there is none."""
    file = Path(path) / RECORD_NAME
    return _read_json(file) if file.exists() else {}


def count_parameters(path: str | Path) -> int:
    """
    Parameters and buffers in the safetensors of a folder, from their headers.

    Raises:
        ValueError: When there are no weights, or a file is damaged.
    """
    files = sorted(Path(path).glob("*.safetensors"))
    if not files:
        raise ValueError(f"{path} has no *.safetensors; expected the weights of a model.")
    total = 0
    for file in files:
        try:
            with safe_open(file, framework="np") as weights:
                total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} is no complete safetensors file: {error}.") from error
    return total


def checkpoint_files(path: str | Path) -> list[Path]:
    """
    The files of a checkpoint folder that its publication needs, relative to it.

    Args:
        path (`str` or `Path`): Folder that `save_pretrained` of a model and of its processor wrote.

    Returns:
        `list[Path]`: Sorted; with the modules that `auto_map` names and what they import.

    Raises:
        ValueError: When something is missing that a user without synthcxr needs to load it.
    """
    path = Path(path)
    for name in _NEEDED:
        if not (path / name).is_file():
            raise ValueError(f"{path} has no {name}; save the model and its processor there with save_pretrained.")
    count_parameters(path)
    _check_index(path)
    chosen = {file.relative_to(path) for pattern in _PUBLISHED for file in path.glob(pattern) if file.is_file()}
    return sorted(chosen | {Path(name) for name in _code_files(path)})


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{file.parent} has no {file.name}; expected the folder of a model.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected an object.")
    return content


def _check_index(path: Path) -> None:
    for index in path.glob("*.safetensors.index.json"):
        for shard in sorted(set(_read_json(index).get("weight_map", {}).values())):
            if not (path / shard).is_file():
                raise ValueError(f"{path} lacks {shard}, which {index.name} names.")


def _code_files(path: Path) -> set[str]:
    """Modules named by the `auto_map` of the configuration files, and the siblings that they import."""
    references = []
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        if (path / name).is_file():
            references += _auto_map_references(_read_json(path / name))
    modules = {reference.rpartition("--")[2].rpartition(".")[0] for reference in references}
    if not any(module.startswith("modeling_") for module in modules):
        raise ValueError(
            f"{path}/config.json has no auto_map to a model; save it with save_pretrained of a synthcxr model class, "
            "so that its code travels with it."
        )
    waiting, found = sorted(modules), set()
    while waiting:
        name = f"{waiting.pop()}.py"
        if name in found:
            continue
        if not (path / name).is_file():
            raise ValueError(f"{path} lacks {name}, which its auto_map or code names.")
        found.add(name)
        waiting += _siblings(path / name)
    return found


def _auto_map_references(config: dict[str, Any]) -> list[str]:
    """Every `module.Class` of every `auto_map`, at any depth: processors nest theirs."""
    references = []
    for key, value in config.items():
        if key == "auto_map" and isinstance(value, dict):
            for entry in value.values():
                entries = entry if isinstance(entry, list | tuple) else [entry]
                references += [item for item in entries if isinstance(item, str)]
        elif isinstance(value, dict):
            references += _auto_map_references(value)
    return references


def _siblings(file: Path) -> list[str]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module]
