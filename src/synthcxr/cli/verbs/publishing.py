"""`publish`: cards, checks, then a push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption


def publish(
    kind: Annotated[str, typer.Argument(help="model or dataset.")],
    path: Annotated[Path, typer.Argument(help="Folder to publish.")],
    repo_id: Annotated[str, typer.Argument(help="Hub repository, org/name.")],
    *,
    private: Annotated[bool, typer.Option(help="Whether only you can see it.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the folder that would be pushed; push nothing.")
    ] = False,
    output_dir: Annotated[Path | None, typer.Option(help="Where a dry run writes the folder.")] = None,
    config: ConfigOption = None,
) -> None:
    """Check a model or dataset, write its card, and push it to the Hub."""
    from ...hub.publish import publish as publish_folder

    published = publish_folder(kind, path, repo_id, private=private, dry_run=dry_run, output_dir=output_dir)
    for name, size in published.files:
        print(f"{size:>12,}  {name}")
    if published.left_out:
        print(f"not published: {', '.join(published.left_out)}")
    print(published.url or published.path)
