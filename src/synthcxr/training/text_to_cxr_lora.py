"""Adapting a generator by LoRA: a Stable Diffusion checkpoint or ours, on any dataset of pairs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed

from ..data.shipped import shipped_checkpoint
from ..pipelines import CxrSynthesisPipeline
from .diffusion_objectives import objective_of
from .diffusion_trainer import ConditionedDenoiser, is_trained
from .generator_adapters import add_adapters, checkpoint_adapters_only, save_adapters
from .generator_runs import GeneratorTraining, build_training, run_generator_training
from .generator_samples import GeneratorExport
from .text_to_cxr_arguments import TextToCxrLoraArguments


logger = logging.getLogger(__name__)


class AdapterExport(GeneratorExport):
    """Writes the adapters of a run beside its checkpoints, and grids of samples into `samples/`."""

    subfolder = ""

    def save(self, folder: Path) -> None:
        """Save the adapters where `load_lora_weights` looks."""
        text_encoder = self.pipeline.text_encoder
        save_adapters(folder, self.pipeline.unet, text_encoder if is_trained(text_encoder) else None)

    def finish(self, checkpoint: Path) -> None:
        """Save the adapters in the folder of the run."""
        self.save(self.output_dir)


def train_text_to_cxr_lora(args: TextToCxrLoraArguments) -> dict[str, Any]:
    """
    Train an adapter and save it in `args.output_dir` as `pytorch_lora_weights.safetensors`, which `load_lora_weights`
    of the generator's pipeline loads from the folder; see [`run_generator_training`].

    Args:
        args (`TextToCxrLoraArguments`): Pairs, generator, optimisation.

    Returns:
        `dict`: The record of the run.

    Raises:
        ValueError: If the folder holds a run of other settings, the data are not pairs, or there is no generator.
    """

    def build(train: Dataset, validation: Dataset | None) -> GeneratorTraining:
        pipeline = load_generator(args.model_name_or_path)
        image_size = args.image_size or native_image_size(pipeline)
        denoiser = _add_adapters(args, pipeline)
        objective = objective_of(
            pipeline.scheduler, time_mean=args.time_mean, time_std=args.time_std, min_snr_gamma=args.min_snr_gamma
        )
        export = AdapterExport(pipeline, args, validation)
        training = build_training(args, export, denoiser, objective, train, validation, image_size=image_size)
        checkpoint_adapters_only(training.trainer.accelerator, denoiser)
        return training

    return run_generator_training(args, build)


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
