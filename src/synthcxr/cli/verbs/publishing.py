"""`publish`: cards, checks, then a push."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption


def publish(
    kind: Annotated[str, typer.Argument(help="model, pipeline (a generator), adapter (of a generator) or dataset.")],
    path: Annotated[Path, typer.Argument(help="Folder to publish.")],
    repo_id: Annotated[str, typer.Argument(help="Hub repository, org/name.")],
    *,
    private: Annotated[bool, typer.Option(help="Whether only you can see it.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the folder that would be pushed; push nothing.")
    ] = False,
    output_dir: Annotated[Path | None, typer.Option(help="Where a dry run writes the folder.")] = None,
    license: Annotated[
        str | None, typer.Option(help="Licence as the Hub spells it, where it does not follow from the data.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Hub id of an adapter's generator, where its record names a folder.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Check a model, generator, adapter or dataset, write its card, and push it to the Hub."""
    from ...hub.publish import publish as publish_folder

    published = publish_folder(
        kind,
        path,
        repo_id,
        private=private,
        dry_run=dry_run,
        output_dir=output_dir,
        license=license,
        base_model=base_model,
    )
    for name, size in published.files:
        print(f"{size:>12,}  {name}")
    if published.left_out:
        print(f"not published: {', '.join(_by_folder(published.left_out))}")
    print(published.url or published.path)


def _by_folder(names: Sequence[str]) -> list[str]:
    """File names, those in folders as one entry per folder: a run leaves hundreds behind."""
    places = Counter(f"{name.partition('/')[0]}/" if "/" in name else name for name in names)
    return [
        f"{place} ({count} file{'s' * (count > 1)})" if place.endswith("/") else place
        for place, count in places.items()
    ]
