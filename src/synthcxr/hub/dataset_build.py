"""How a dataset was built, from its manifest: the request, and what was asked for and left out, with reasons."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.dataset_folder import MANIFEST_NAME, read_manifest
from ..data.shipped import shipped_names
from ..synthesis.generators import find_generator
from .checkpoints import folder_name, format_number


Content = dict[str, Any]

REPORT_ORIGINS = "report_origins"
"""Key of a request of synthetic pairs: how many of its reports are real, simulated or synthetic."""

_SHOWN_REASONS = 12


def build_content(path: str | Path) -> Content:
    """
    What a card says of a dataset's making.

    Args:
        path (`str` or `Path`): The dataset's folder.

    Returns:
        `dict`: `built`, pairs of a name and a value, and `rejects`: `num_rows`, `num_asked`, `share`, `reasons`; both
        empty without a manifest.

    Raises:
        ValueError: When the manifest is damaged.
    """
    manifest = _read(path)
    if manifest is None:
        return {"built": [], "rejects": None}
    facts = {name.replace("_", " "): _shown(value) for name, value in manifest["request"].items()}
    try:
        num_rows = sum(shard["num_rows"] for shard in manifest["shards"])
        reasons = Counter(_kind(bad["reason"]) for shard in manifest["shards"] for bad in shard["bad_rows"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{Path(path) / MANIFEST_NAME} is damaged: its shards lack {error}.") from error
    return {
        "built": [(name, value) for name, value in facts.items() if value is not None],
        "rejects": _rejects(reasons, num_rows) if reasons else None,
    }


def report_origins(path: str | Path) -> set[str]:
    """Origins of the reports that synthetic pairs were drawn from; empty when the manifest does not say."""
    manifest = _read(path)
    origins = None if manifest is None else manifest["request"].get(REPORT_ORIGINS)
    return set(origins) if isinstance(origins, dict) else set()


def check_complete(path: str | Path) -> None:
    """
    Refuse a dataset whose building was stopped.

    Raises:
        ValueError: When its manifest says so, or is damaged.
    """
    manifest = _read(path)
    if manifest is not None and not manifest["complete"]:
        raise ValueError(f"{path} is unfinished; the command that began it goes on.")


def shipped_sources() -> set[str]:
    """What rows that a shipped generator has drawn say as their `source`."""
    sources = set()
    for name in shipped_names():
        try:
            sources.add(find_generator(name).source)
        except ValueError:
            continue  # a shipped model that draws nothing
    return sources


def _read(path: str | Path) -> dict[str, Any] | None:
    """The manifest; nothing where there is none, or one of somebody else's."""
    file = Path(path) / MANIFEST_NAME
    if not file.is_file():
        return None
    with contextlib.suppress(ValueError):  # what is no JSON will be named as damaged
        data = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or "format" not in data:
            return None
    return read_manifest(path)


def _rejects(reasons: Counter[str], num_rows: int) -> Content:
    num_rejected = reasons.total()
    num_asked = num_rows + num_rejected
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    shown = [
        {"reason": reason, "rows": count, "share": count / num_asked} for reason, count in ranked[:_SHOWN_REASONS]
    ]
    return {
        "num_rows": num_rejected,
        "num_asked": num_asked,
        "share": num_rejected / num_asked,
        "reasons": shown,
        "num_more": len(ranked[_SHOWN_REASONS:]),
    }


def _kind(reason: str) -> str:
    """A reason without what it quotes: words of one report are nobody else's business, and reasons are counted."""
    reason = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason)
    return re.sub(r"\d[\d,.]*\d|\d", "N", reason)


def _shown(value: Any) -> str | None:
    """A value of a request on one line; nothing where nothing was chosen."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items()) or None
    if isinstance(value, list):
        return ", ".join(filter(None, map(_shown, value))) or None
    if isinstance(value, bool) or value is None:
        return "yes" if value else None
    return folder_name(value) if isinstance(value, str) and "/" in value else str(format_number(value))
