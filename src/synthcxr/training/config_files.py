"""YAML files of settings, with their keys checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml


def read_config(path: str | Path, known: Iterable[str]) -> dict[str, Any]:
    """
    Settings of a YAML file; dashes and underscores in keys are the same.

    Raises:
        ValueError: If the file cannot be read, is no mapping, has a key twice or one that is not in `known`.
    """
    try:
        settings = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds a {type(settings).__name__}; expected keys with values.")
    settings = {str(key).replace("-", "_"): value for key, value in settings.items()}
    known = set(known)
    for key in settings:
        if key not in known:
            raise ValueError(f"{path} has an unknown key {key!r}{did_you_mean(key, known)}.")
    return settings


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the closest known name, or nothing when none is close."""
    match = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}" if match else ""


class _UniqueKeyLoader(yaml.SafeLoader):
    """Where a key stands twice, one of its values would be lost without a word."""

    def construct_mapping(self, node: yaml.Node, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, *args, **kwargs)  # which says what is wrong
        seen = set()
        for key, _ in node.value:
            name = str(key.value).replace("-", "_")
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, *args, **kwargs)
