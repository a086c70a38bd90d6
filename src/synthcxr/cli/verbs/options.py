"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...training.config_files import read_config


def _apply_config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        known = {parameter.name for parameter in context.command.params} - {"config"}
        # The file stands in for the flags that are not given, required ones too.
        context.default_map = read_config(path, known)
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file of these flags; flags win.", is_eager=True, callback=_apply_config),
]
OutputOption = Annotated[
    Path, typer.Option("--output-dir", help="Folder to write; it may hold an earlier, equal run.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")]
ProcessesOption = Annotated[int, typer.Option("--num-proc", min=1, help="Processes; they change the speed only.")]
