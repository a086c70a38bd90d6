"""Generators by name: where they lie, what they are exactly, and how they are loaded to draw many images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from ..data.shipped import shipped_checkpoint


if TYPE_CHECKING:
    from ..pipelines.pipeline_cxr_synthesis import CxrSynthesisPipeline

# Of checkpoints whose index recommends none.
DEFAULT_NUM_INFERENCE_STEPS = 20
DEFAULT_GUIDANCE_SCALE = 4.0

_INDEX = "model_index.json"
_SLOW_SAMPLERS = ("PNDMScheduler", "DDPMScheduler", "DDIMScheduler", "LMSDiscreteScheduler")


@dataclass(frozen=True)
class Generator:
    """
    A checkpoint on this machine.

    Args:
        folder (`Path`): Its files.
        source (`str`): `"name@revision"`; the revision changes with any weight, setting or code of it.
        num_inference_steps (`int`): As it recommends.
        guidance_scale (`float`): As it recommends.
    """

    folder: Path
    source: str
    num_inference_steps: int
    guidance_scale: float


def find_generator(name_or_path: str | Path) -> Generator:
    """
    A checkpoint by the name of a shipped one, its folder, or its id on the Hub.

    Raises:
        ValueError: If there is none, or it is damaged.
    """
    name = str(name_or_path)
    folder = Path(shipped_checkpoint(name))
    if not folder.is_dir():
        folder = _download(name)
        label = name
    else:
        label = folder.resolve().name
    if not (folder / _INDEX).is_file():
        raise ValueError(f"{name} has no {_INDEX}; expected a generator in the layout of diffusers.")
    index = _read_index(folder)
    return Generator(
        folder=folder.resolve(),
        source=f"{label}@{_revision(folder)}",
        num_inference_steps=index.get("default_num_inference_steps", DEFAULT_NUM_INFERENCE_STEPS),
        guidance_scale=index.get("default_guidance_scale", DEFAULT_GUIDANCE_SCALE),
    )


@lru_cache(maxsize=1)
def load_generator(folder: str, source: str, *, dtype: str, device: str, compile_unet: bool) -> CxrSynthesisPipeline:
    """
    The pipeline of a checkpoint, kept for the next shard of this process.

    Samplers that need many steps give way to DPM-Solver++ (Lu et al., arXiv 2211.01095), which needs few.

    Args:
        folder (`str`): Of the checkpoint.
        source (`str`): Its name and revision: what lies in a folder may change.
        dtype (`str`): Name of a torch type, such as `"bfloat16"`.
        device (`str`): Where it draws.
        compile_unet (`bool`): Compile what runs at every step.

    Raises:
        ValueError: If the checkpoint cannot be loaded.
    """
    import torch
    from diffusers import DPMSolverMultistepScheduler

    from ..data.bfloat16 import warn_of_emulated_bfloat16
    from ..pipelines.pipeline_cxr_synthesis import CxrSynthesisPipeline

    if dtype == "bfloat16":
        warn_of_emulated_bfloat16(torch.device(device))
    try:
        pipeline = CxrSynthesisPipeline.from_pretrained(folder, dtype=getattr(torch, dtype))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"The generator {folder} cannot be loaded: {' '.join(str(error).split())}") from error
    if type(pipeline.scheduler).__name__ in _SLOW_SAMPLERS:
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    if device.startswith("cuda"):
        pipeline.unet.to(memory_format=torch.channels_last)
    if compile_unet:
        pipeline.unet.compile(dynamic=True)
    return pipeline


def component_files(folder: Path) -> list[Path]:
    """The index of a checkpoint and every file of its components; not cards and logs beside them."""
    index = _read_index(folder)
    components = [name for name in index if isinstance(index[name], list) and (folder / name).is_dir()]
    files = [folder / _INDEX, *(path for name in components for path in (folder / name).rglob("*"))]
    return sorted(path for path in files if path.is_file())


def _download(name: str) -> Path:
    if Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ValueError(f"{name} is no folder with a generator, no shipped one, and no id on the Hub.")
    try:
        files = ["*.safetensors", "*.json", "*.txt", "*.model"]
        return Path(snapshot_download(name, allow_patterns=files))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{name} is neither a folder nor a generator that the Hub gives.") from error


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / _INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        steps = index.get("default_num_inference_steps", DEFAULT_NUM_INFERENCE_STEPS)
        scale = index.get("default_guidance_scale", DEFAULT_GUIDANCE_SCALE)
        if not isinstance(steps, int) or steps < 1 or not isinstance(scale, int | float):
            raise ValueError("steps or guidance are no numbers")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}.") from error
    return index


def _revision(folder: Path) -> str:
    total = hashlib.sha256()
    for path in component_files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder)}:{digest}\n".encode())
    return total.hexdigest()[:12]
