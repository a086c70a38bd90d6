"""The checkpoints that come with the package, by name: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path


_WEIGHTS = Path(__file__).parents[1] / "weights"

GENERATOR = "synthcxr-generator-64"
CLASSIFIER = "synthcxr-classifier-64"


def shipped_checkpoint(name_or_path: str | Path) -> str:
    """
    The folder of a shipped checkpoint; any other folder or Hub id stays as it is.

    Args:
        name_or_path (`str` or `Path`): Such as `"synthcxr-classifier-64"`, or anything else.

    Example:

    ```python
    >>> from synthcxr.data import shipped_checkpoint

    >>> shipped_checkpoint("your-name/roentgen")
    'your-name/roentgen'

    ```
    """
    name = str(name_or_path)
    return str(_WEIGHTS / name) if name in shipped_names() else name


def shipped_names() -> list[str]:
    """Names of the shipped checkpoints."""
    return sorted(path.name for path in _WEIGHTS.iterdir()) if _WEIGHTS.is_dir() else []
