"""Publishing: stage exactly the folder that goes to the Hub, check it, push it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Publication:
    """
    What was staged, and where it went.

    Args:
        kind (`str`): `"model"` or `"dataset"`.
        repo_id (`str`): Hub id.
        path (`Path`, *optional*): The staged folder, when it was kept.
        files (`tuple[tuple[str, int], ...]`): Every file of the folder with its size in bytes, sorted.
        left_out (`tuple[str, ...]`): Files of the source that are not published.
        url (`str`, *optional*): Commit on the Hub; `None` for a dry run.
    """

    kind: str
    repo_id: str
    path: Path | None
    files: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    url: str | None = None


def publish(
    kind: Kind,
    path: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    dry_run: bool = False,
    output_dir: str | Path | None = None,
) -> Publication:
    """
    Check an artefact, stage the folder that the Hub gets, and push it.

    Args:
        kind (`str`): `"model"` or `"dataset"`.
        path (`str` or `Path`): Checkpoint or dataset folder with its card; never changed.
        repo_id (`str`): `"org/name"`.
        private (`bool`, *optional*, defaults to `True`): Whether a new repository is private.
        dry_run (`bool`, *optional*, defaults to `False`): Stage and check, push nothing.
        output_dir (`str` or `Path`, *optional*): Where the staged folder is kept; by default
            `<path>-publish` for a dry run, nowhere for a push.

    Returns:
        `Publication`: The staged files and where they went.

    Raises:
        ValueError: When a check fails; the message names the file and what to do.
    """
    raise ValueError(f"{kind!r} cannot be published.")
