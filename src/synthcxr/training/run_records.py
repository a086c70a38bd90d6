"""What a run leaves about itself: what it was asked for, and where it ran."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def refuse_other_settings(output_dir: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """
    Keep a run from going on where one of other settings was.

    Args:
        output_dir (`Path`): The folder.
        before, now (`dict[str, Any]`): What was asked for, as JSON gives it back.

    Raises:
        ValueError: If they differ; the message names the first three settings.
    """
    differing = sorted(name for name in before | now if before.get(name) != now.get(name))
    if differing:
        shown = ", ".join(f"{name} ({before.get(name)!r} then, {now.get(name)!r} now)" for name in differing[:3])
        raise ValueError(f"{output_dir} holds a run with other settings: {shown}; choose another --output-dir.")


def describe_environment() -> dict[str, str]:
    """Versions and the device of a run."""
    packages = {name: version(name) for name in ("synthcxr", "torch", "transformers", "datasets")}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return packages | {"python": platform.python_version(), "device": device}
