"""Adapting a generator by LoRA: a Stable Diffusion checkpoint or ours, on any dataset of pairs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed

from ..data.shipped import shipped_checkpoint
from ..data.whole_files import write_json
from ..pipelines import CxrSynthesisPipeline
from .diffusion_objectives import objective_of
from .diffusion_trainer import ConditionedDenoiser, DiffusionCollator, DiffusionTrainer, is_trained
from .generator_adapters import add_adapters, checkpoint_adapters_only, save_adapters
from .generator_samples import GeneratorExport
from .text_to_cxr import (
    RECORD_NAME,
    check_previous,
    latent_sources,
    load_generator_pairs,
    run_request,
    training_draws,
    validation_batches,
)
from .text_to_cxr_arguments import DiffusionTrainingArguments


logger = logging.getLogger(__name__)


@dataclass
class TextToCxrLoraArguments(DiffusionTrainingArguments):
    """
    An adapter of a generator.

    Adapters learn in fewer and smaller steps than a generator from scratch, and what is predicted is up to the
    generator's own scheduler.
    """

    objective: str = field(default="", init=False)  # no flag
    learning_rate: float = field(default=1e-4, metadata={"help": "Peak of AdamW."})
    max_steps: int = field(default=2000, metadata={"help": "Optimiser steps. A finished run goes on if it is raised."})
    model_name_or_path: str = field(
        default="", metadata={"help": "Generator to adapt: a folder, a Hub id or a shipped name."}
    )
    image_size: int | None = field(
        default=None, metadata={"help": "Side of the square images; the generator's own by default."}
    )
    cache_latents: bool = field(
        default=True, metadata={"help": "Encode every image once, before training, and keep the latents on disk."}
    )
    rank: int = field(default=16, metadata={"help": "Rank of the matrices that are added to every weight."})
    lora_alpha: float | None = field(
        default=None, metadata={"help": "Their product counts alpha / rank times; as --rank when absent."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Share of an adapter's inputs left out in training."})
    adapt_convolutions: bool = field(
        default=False, metadata={"help": "Adapt the convolutions of the UNet beside its attention."}
    )
    train_text_encoder: bool = field(
        default=False, metadata={"help": "Adapt the attention of the text encoder as well."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model_name_or_path:
            raise ValueError("there is no generator to adapt; give --model-name-or-path.")
        if self.rank < 1:
            raise ValueError(f"--rank is {self.rank}; expected 1 or more.")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"--lora-dropout is {self.lora_dropout}; expected 0 or more, below 1.")


class AdapterExport(GeneratorExport):
    """Writes the adapters of a run beside its checkpoints, and grids of samples into `samples/`."""

    def checkpoint(self, step: int, folder: Path) -> None:
        """Save the adapters in a checkpoint's folder; draw samples when it is time."""
        self.finish(folder)
        if self.prompts and self.args.sample_steps and step % self.args.sample_steps == 0:
            path = self.output_dir / "samples" / f"step-{step:07d}.png"
            path.parent.mkdir(exist_ok=True)
            self._grid().save(path)

    def finish(self, folder: Path) -> None:
        """
        Save the adapters where `load_lora_weights` looks.

        Args:
            folder (`Path`): Of the run, or of a checkpoint.
        """
        text_encoder = self.pipeline.text_encoder
        save_adapters(folder, self.pipeline.unet, text_encoder if is_trained(text_encoder) else None)


def train_text_to_cxr_lora(args: TextToCxrLoraArguments) -> dict[str, Any]:
    """
    Train an adapter and save it in `args.output_dir` as `pytorch_lora_weights.safetensors`.

    `load_lora_weights` of the generator's pipeline loads the folder. A folder with a finished run of the same settings
    is reused, and goes on where `max_steps` was raised; one that was stopped goes on from its last checkpoint.

    Args:
        args (`TextToCxrLoraArguments`): Pairs, generator, optimisation.

    Returns:
        `dict`: The record: `request`, `num_pairs`, `num_parameters` (of the adapter), `metrics`, `runtime_seconds`,
        `finished`.

    Raises:
        ValueError: If the folder holds a run of other settings, the data are not pairs, or there is no generator.
    """
    output_dir = Path(args.output_dir)
    request = run_request(args)
    previous = check_previous(output_dir, request)
    if previous is not None and previous["finished"] and previous["metrics"]["steps"] >= args.max_steps:
        logger.warning("%s already holds this run; it is reused.", output_dir)
        return previous
    train, validation = load_generator_pairs(args)
    pipeline = load_generator(args.model_name_or_path)
    image_size = native_image_size(pipeline) if args.image_size is None else args.image_size
    denoiser = _add_adapters(args, pipeline)
    num_parameters = sum(parameter.numel() for parameter in denoiser.parameters() if parameter.requires_grad)
    record = {"request": request, "num_pairs": len(train), "num_parameters": num_parameters, "finished": False}
    output_dir.mkdir(parents=True, exist_ok=True)
    if previous is None:
        write_json(output_dir / RECORD_NAME, record)

    args = replace(args, image_size=image_size)
    export = AdapterExport(pipeline, args, validation)
    trainer = _build_trainer(args, denoiser, export, train, validation)
    started = time.perf_counter()
    metrics = trainer.train()
    if trainer.accelerator.is_main_process:
        export.finish(output_dir)
        seconds = round(time.perf_counter() - started + (previous or {}).get("runtime_seconds", 0.0), 1)
        record |= {"metrics": metrics, "runtime_seconds": seconds, "finished": True}
        write_json(output_dir / RECORD_NAME, record)
    return record


def load_generator(name_or_path: str) -> CxrSynthesisPipeline:
    """
    A generator to train, in 32 bits.

    Args:
        name_or_path (`str`): A folder, a Hub id or a shipped name.

    Raises:
        ValueError: If there is none.
    """
    try:
        return CxrSynthesisPipeline.from_pretrained(shipped_checkpoint(name_or_path), dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name_or_path} gives no generator: {reason}") from error


def native_image_size(pipeline: CxrSynthesisPipeline) -> int:
    """
    Side of the images that a generator was made for.

    Args:
        pipeline (`CxrSynthesisPipeline`): The generator.

    Raises:
        ValueError: If it does not say.
    """
    size = pipeline.unet.config.sample_size
    if not isinstance(size, int):
        raise ValueError(f"the generator's sample_size is {size}; give --image-size.")
    return size * pipeline.pixels_per_latent


def _add_adapters(args: TextToCxrLoraArguments, pipeline: CxrSynthesisPipeline) -> ConditionedDenoiser:
    set_seed(args.seed)
    pipeline.text_encoder.requires_grad_(requires_grad=False)
    add_adapters(
        pipeline.unet,
        pipeline.text_encoder if args.train_text_encoder else None,
        rank=args.rank,
        alpha=args.rank if args.lora_alpha is None else args.lora_alpha,
        dropout=args.lora_dropout,
        convolutions=args.adapt_convolutions,
    )
    if args.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    return ConditionedDenoiser(pipeline.unet, pipeline.text_encoder)


def _build_trainer(
    args: TextToCxrLoraArguments,
    denoiser: ConditionedDenoiser,
    export: AdapterExport,
    train: Dataset,
    validation: Dataset | None,
) -> DiffusionTrainer:
    pipeline = export.pipeline
    objective = objective_of(
        pipeline.scheduler, time_mean=args.time_mean, time_std=args.time_std, min_snr_gamma=args.min_snr_gamma
    )
    codec = {name: pipeline.config[name] for name in ("pixel_fold", "pixel_mean", "pixel_std")}
    parts = {"vae": pipeline.vae, "codec": codec if pipeline.vae is None else {}}
    collators = [
        DiffusionCollator(source, pipeline.tokenizer, pipeline.text_encoder)
        for source in latent_sources(args, parts, train, validation)
    ]
    trainer = DiffusionTrainer(
        denoiser,
        training_draws(args, train, objective),
        collators[0],
        args,
        validation=validation_batches(args, validation, objective, collators[1]),
        on_checkpoint=export.checkpoint,
    )
    checkpoint_adapters_only(trainer.accelerator, denoiser)
    return trainer
