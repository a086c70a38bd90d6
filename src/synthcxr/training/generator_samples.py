"""What a training of a generator leaves: the pipeline with averaged weights, and grids of samples on fixed prompts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from PIL import Image

from ..data.whole_files import write_json
from ..pipelines import CxrSynthesisPipeline
from .text_to_cxr_arguments import DiffusionTrainingArguments


_NUM_PROMPTS = 6
_IMAGES_PER_PROMPT = 6


class GeneratorExport:
    """
    Writes the generator of a run beside its checkpoints, and grids of samples into `samples/`.

    Args:
        pipeline (`CxrSynthesisPipeline`): Of the components that are trained.
        args (`DiffusionTrainingArguments`): Which samples, and how often.
        validation (`datasets.Dataset`, *optional*): Pairs whose impressions are prompts where none are given.
    """

    subfolder = "pipeline"  # of a checkpoint

    def __init__(
        self, pipeline: CxrSynthesisPipeline, args: DiffusionTrainingArguments, validation: Dataset | None
    ) -> None:
        self.pipeline = pipeline
        self.args = args
        self.prompts = args.sample_prompts or _impressions(validation)
        self.output_dir = Path(args.output_dir)

    def checkpoint(self, step: int, folder: Path) -> None:
        """Save what was trained in a checkpoint's folder; draw samples when it is time."""
        self.save(folder / self.subfolder)
        if self.prompts and self.args.sample_steps and step % self.args.sample_steps == 0:
            path = self.output_dir / "samples" / f"step-{step:07d}.png"
            path.parent.mkdir(exist_ok=True)
            self._grid().save(path)
            write_json(path.with_name("prompts.json"), self.prompts)

    def save(self, folder: Path) -> None:
        """Save what was trained."""
        self.pipeline.save_pretrained(folder)

    def finish(self, checkpoint: Path) -> None:
        """Put the pipeline of a checkpoint where `from_pretrained` looks: the folder of the run."""
        shutil.copytree(checkpoint / self.subfolder, self.output_dir, dirs_exist_ok=True)

    def _grid(self) -> Image.Image:
        """One row per prompt; columns share their seed, so that only the words differ between rows."""
        self.pipeline.unet.eval()
        self.pipeline.text_encoder.eval()
        self.pipeline.set_progress_bar_config(disable=True)
        rows = [
            self.pipeline(
                [prompt] * _IMAGES_PER_PROMPT,
                generator=[torch.Generator().manual_seed(seed) for seed in range(_IMAGES_PER_PROMPT)],
            ).images
            for prompt in self.prompts
        ]
        return tile_images(rows)


def tile_images(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """
    Images of one size side by side.

    Args:
        rows (`Sequence[Sequence[PIL.Image.Image]]`): Of mode "L".
    """
    return Image.fromarray(np.vstack([np.hstack([np.asarray(image) for image in row]) for row in rows]))


def _impressions(validation: Dataset | None) -> list[str]:
    if validation is None:
        return []
    found = dict.fromkeys(text for text in validation["impression"][:] if text)
    return list(found)[:_NUM_PROMPTS]
