"""From reports to a dataset of synthetic pairs."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ..data.dataset_folder import fill_dataset, read_manifest
from ..data.shipped import GENERATOR
from .generators import find_generator
from .report_rows import read_reports
from .requests import plan_requests


logger = logging.getLogger(__name__)

Dtype = Literal["float32", "bfloat16", "float16"]


def synthesize_pairs(
    reports: str | Path,
    output_dir: str | Path,
    *,
    generator: str | Path = GENERATOR,
    split: str | None = None,
    num_pairs: int | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    seed: int = 0,
    batch_size: int = 16,
    shard_size: int = 1000,
    dtype: Dtype = "float32",
    compile_unet: bool = False,
    executor: str = "local",
    workers: int | None = None,
    executor_settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """
    Draw an image for every report, and store the pairs as a dataset that `load_dataset` reads.

    Each shard is a task of a datatrove pipeline, written whole or not at all and recorded with its hash. A call with
    the same arguments goes on after whatever stopped the last one; equal arguments give equal bytes, whatever the
    executor and the number of workers, on processors of one kind. Reports that cannot be drawn are left out and named
    in `manifest.json`. Labels are those of the source, where it has some; identifiers of real patients are not kept.

    Args:
        reports (`str` or `Path`): Dataset, or JSONL, CSV or Parquet file, of reports or study specs; see
            [`read_reports`].
        output_dir (`str` or `Path`): The dataset's folder; workers on other machines must see it too.
        generator (`str` or `Path`, *optional*, defaults to `"synthcxr-generator-64"`): A folder, an id on the Hub or a
            shipped name: ours, or any Stable Diffusion.
        split (`str`, *optional*): Only this split of a dataset; all of them when absent.
        num_pairs (`int`, *optional*): Pairs in all: fewer than reports takes the first, more draws several images of
            each. As many as reports when absent.
        num_inference_steps (`int`, *optional*): Steps per image; as the checkpoint recommends when absent. A
            checkpoint's sampler that needs many (PNDM, DDPM, DDIM, LMS) gives way to DPM-Solver++.
        guidance_scale (`float`, *optional*): Guidance; as the checkpoint recommends when absent.
        seed (`int`, *optional*, defaults to 0): Another seed, other images.
        batch_size (`int`, *optional*, defaults to 16): Images drawn at once; halved by itself when memory runs out.
        shard_size (`int`, *optional*, defaults to 1000): Pairs per Parquet file, and per task.
        dtype (`str`, *optional*, defaults to `"float32"`): Of the weights: `"float32"`, `"bfloat16"`, `"float16"`.
        compile_unet (`bool`, *optional*, defaults to `False`): Compile the network of the steps: minutes at the start
            of every worker, faster after.
        executor (`str`, *optional*, defaults to `"local"`): `"local"`, `"ray"`, `"slurm"`, or `"jobs"` of the Hub.
        workers (`int`, *optional*): Shards made at the same time. When absent, one per core or GPU of this machine,
            elsewhere as many as there are.
        executor_settings (`Mapping`, *optional*): Further arguments of datatrove's executor, such as `partition`. Jobs
            share no folder with this machine: they need `storage`, a folder such as `hf://buckets/name/folder`.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar.

    Returns:
        `Path`: The folder. With Slurm it is unfinished until the jobs are done and the same call was made again.

    Raises:
        ValueError: On bad arguments or input, a generator that cannot be loaded, or a folder with the dataset of
            another request; one line.
        OSError: If the disk is full; finished shards stay and the same call goes on.
        RuntimeError: If a worker was killed, or not one image fits in memory; finished shards stay.
    """
    from .engine import STATE, make_shards
    from .executors import check_executor_settings, check_login, is_at_work
    from .sampling import SamplingSettings

    executor_settings = dict(executor_settings or {})
    check_executor_settings(executor, executor_settings)
    check_login(executor)
    _check_numbers(num_pairs=num_pairs, batch_size=batch_size, shard_size=shard_size, workers=workers)
    _check_numbers(num_inference_steps=num_inference_steps)
    found = find_generator(generator)
    device = _device(executor, executor_settings)
    settings = SamplingSettings(
        generator=str(found.folder),
        source=found.source,
        batch_size=batch_size,
        num_inference_steps=num_inference_steps or found.num_inference_steps,
        guidance_scale=found.guidance_scale if guidance_scale is None else guidance_scale,
        dtype=dtype,
        device=device,
        compile_unet=compile_unet,
    )
    folder = Path(output_dir)
    if is_at_work(folder / STATE):
        raise ValueError(f"The jobs of {folder} are still at work; run the same command again when they are done.")
    with tempfile.TemporaryDirectory(prefix="synthcxr-") as spool:
        num_rows = None if num_pairs is None else sum(1 for _ in read_reports(reports, split=split))
        planned = plan_requests(
            read_reports(reports, split=split),
            Path(spool),
            num_rows=num_rows,
            num_pairs=num_pairs,
            seed=seed,
            shard_size=shard_size,
            source=found.source,
        )
        request = {
            "kind": "synthetic pairs",
            "generator": found.source,
            "reports": planned.digest,
            "report_origins": planned.report_origins,
            "num_pairs": sum(len(shard.items) for shard in planned.shards),
            "seed": seed,
            **{name: getattr(settings, name) for name in ("batch_size", "num_inference_steps", "guidance_scale")},
            **{name: getattr(settings, name) for name in ("dtype", "device", "compile_unet")},
            "shard_size": shard_size,
            "synthcxr": version("synthcxr"),
            **{name: version(name) for name in ("torch", "diffusers", "transformers")},
            "sampler": _code_digest(),
        }
        make = partial(
            make_shards,
            plans=planned.shards,
            settings=settings,
            generator=str(generator),
            executor=executor,
            workers=_num_workers(executor, device) if workers is None else workers,
            executor_settings=executor_settings,
        )
        fill_dataset(
            folder,
            planned.shards,
            make,
            request=request,
            title="Synthetic chest X-rays with reports",
            progress=progress,
            retry_bad_rows=False,
        )
    manifest = read_manifest(folder)
    if manifest["complete"]:
        _report_counts([shard.get("counts", {}) for shard in manifest["shards"]])
        shutil.rmtree(folder / STATE, ignore_errors=True)
    return folder


def _report_counts(counts: Sequence[Mapping[str, int]]) -> None:
    marks, cut = (sum(shard.get(name, 0) for shard in counts) for name in ("num_marks", "num_prompts_cut"))
    if marks:
        logger.warning("De-identification marks taken out of prompts: %d.", marks)
    if cut:
        logger.warning("Prompts longer than the text encoder's window, cut at a sentence: %d.", cut)


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number}; expected 1 or more.")


def _device(executor: str, settings: Mapping[str, Any]) -> str:
    """Where images are drawn; of other machines only the settings can tell."""
    import torch

    if executor == "local":
        has_gpu = torch.cuda.is_available()
    elif executor == "jobs":
        has_gpu = not settings.get("flavor", "cpu-basic").startswith("cpu")
    else:
        has_gpu = settings.get("gpus_per_task", 0) > 0
    return "cuda" if has_gpu else "cpu"


def _num_workers(executor: str, device: str) -> int:
    import torch

    if executor != "local":
        return -1
    if device == "cuda":
        return torch.cuda.device_count()
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _code_digest() -> str:
    """Changes with the code that draws and stores, so that two versions of it never share a dataset."""
    files = [Path(__file__).parents[1] / "data" / name for name in ("png.py", "shards.py", "schema.py")]
    for package in ("pipelines", "synthesis"):
        files += sorted((Path(__file__).parents[1] / package).glob("*.py"))
    total = hashlib.blake2b(digest_size=8)
    for path in files:
        total.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    return total.hexdigest()
