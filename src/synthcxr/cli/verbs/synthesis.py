"""`synthesize`: the verb that draws images for reports."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml

from ...data.shipped import GENERATOR
from .options import ConfigOption, OutputOption, SeedOption


class ExecutorName(StrEnum):
    """Where shards are made."""

    local = "local"
    ray = "ray"
    slurm = "slurm"
    jobs = "jobs"


class DtypeName(StrEnum):
    """Types of weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def _read_settings(value: Any) -> dict[str, Any]:
    """A mapping: of a configuration file as it is, of the command line as YAML or JSON."""
    try:
        settings = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise ValueError(f"--executor-settings is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"--executor-settings is {value!r}; expected a mapping such as '{{partition: gpu}}'.")
    return settings


def synthesize(
    reports: Annotated[
        str,
        typer.Option(help="Dataset (folder or Hub id), or .jsonl, .csv or .parquet file, of reports or study specs."),
    ],
    output_dir: OutputOption,
    generator: Annotated[str, typer.Option(help="Folder, Hub id or shipped name of a generator.")] = GENERATOR,
    split: Annotated[str | None, typer.Option(help="Only this split of the dataset.")] = None,
    num_pairs: Annotated[
        int | None, typer.Option(min=1, help="Pairs in all; one per report by default, more draws several of each.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images drawn at once.")] = 16,
    num_inference_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps per image; as the generator recommends by default.")
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, help="Guidance; as the generator recommends by default.")
    ] = None,
    seed: SeedOption = 0,
    shard_size: Annotated[int, typer.Option(min=1, help="Pairs per file, and per task.")] = 1000,
    dtype: Annotated[DtypeName, typer.Option(help="Type of the weights.")] = DtypeName.float32,
    *,
    compile_unet: Annotated[
        bool, typer.Option("--compile-unet", help="Compile the network: slow to start, then faster.")
    ] = False,
    executor: Annotated[ExecutorName, typer.Option(help="Where shards are made.")] = ExecutorName.local,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Shards made at once; one per core or GPU by default.")
    ] = None,
    executor_settings: Annotated[
        Any, typer.Option(parser=_read_settings, metavar="YAML", help="Further arguments of datatrove's executor.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Draw an image for every report with a generator: synthetic pairs in Parquet shards. Resumable."""
    from ...data.dataset_folder import read_manifest
    from ...synthesis import synthesize_pairs

    folder = synthesize_pairs(
        reports,
        output_dir,
        generator=generator,
        split=split,
        num_pairs=num_pairs,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        seed=seed,
        batch_size=batch_size,
        shard_size=shard_size,
        dtype=dtype.value,
        compile_unet=compile_unet,
        executor=executor.value,
        workers=workers,
        executor_settings=executor_settings,
    )
    complete = read_manifest(folder)["complete"]
    print(folder if complete else f"{folder}: jobs are submitted; run the same command again when they are done.")
