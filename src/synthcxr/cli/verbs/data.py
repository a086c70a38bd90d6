"""`simulate` and `prepare`: the verbs that build datasets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, OutputOption, ProcessesOption, SeedOption


class Preset(StrEnum):
    """Cohorts that can be simulated."""

    balanced = "balanced"
    hospital = "hospital"
    second_hospital = "second_hospital"


class RegionMasks(StrEnum):
    """Which anatomy gets a mask."""

    all = "all"
    organs = "organs"
    none = "none"


REGION_SETS = {
    RegionMasks.all: None,
    RegionMasks.organs: ("right_lung", "left_lung", "heart"),
    RegionMasks.none: (),
}


def simulate(
    output_dir: OutputOption,
    num_studies: Annotated[int, typer.Option(min=1, help="Studies to simulate, all splits together.")] = 1000,
    image_size: Annotated[int, typer.Option(min=64, max=1024, help="Side of the square images, in pixels.")] = 224,
    preset: Annotated[Preset, typer.Option(help="Cohort to sample from.")] = Preset.balanced,
    seed: SeedOption = 0,
    region_masks: Annotated[RegionMasks, typer.Option(help="Anatomy masks to store.")] = RegionMasks.organs,
    validation_fraction: Annotated[float, typer.Option(min=0, max=1, help="Share of patients.")] = 0.1,
    test_fraction: Annotated[float, typer.Option(min=0, max=1, help="Share of patients.")] = 0.1,
    num_proc: ProcessesOption = 1,
    config: ConfigOption = None,
) -> None:
    """Build a dataset of simulated studies, with reports, exact masks and boxes."""
    from ...data.build_pairs import build_pairs
    from ...hub.cards import render_dataset_card, save_card
    from ...simulation import sample_cohort

    if validation_fraction + test_fraction > 1:
        raise ValueError("--validation-fraction and --test-fraction add up to more than 1.")
    splits = {"train": 1 - validation_fraction - test_fraction, "validation": validation_fraction}
    splits["test"] = test_fraction
    folder = build_pairs(
        sample_cohort(num_studies, preset=preset.value, seed=seed),
        image_size=image_size,
        output_dir=output_dir,
        splits={name: share for name, share in splits.items() if share > 0},
        regions=REGION_SETS[region_masks],
        num_proc=num_proc,
    )
    save_card(render_dataset_card(folder), folder)
    print(folder)


def prepare(
    name: Annotated[str, typer.Argument(help="Public dataset, such as nih_chestxray14.")],
    path: Annotated[Path, typer.Argument(help="Local copy in its official layout.")],
    output_dir: OutputOption,
    config: ConfigOption = None,
) -> None:
    """Turn a local copy of a public dataset into the schema of synthcxr."""
    from ...data.sources import prepare_source

    print(prepare_source(name, path, output_dir=output_dir))
