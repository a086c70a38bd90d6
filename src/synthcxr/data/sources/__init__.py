"""Public datasets, read from local copies in their official layout."""

from __future__ import annotations

from pathlib import Path


def prepare_source(name: str, path: str | Path, output_dir: str | Path) -> Path:
    """A local copy of a public dataset in the schema of pairs."""
    raise ValueError(f"{name}: not written yet.")


def load_nih_chestxray14(path: str | Path, split: str = "test") -> object:
    """NIH ChestX-ray14."""
    raise ValueError(f"{path}: not written yet.")


def load_kermany_pediatric(path: str | Path, split: str = "test") -> object:
    """Kermany's children."""
    raise ValueError(f"{path}: not written yet.")
