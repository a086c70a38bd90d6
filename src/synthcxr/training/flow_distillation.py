"""Distilling a guided flow into few steps without guidance: piecewise rectified flow (Yan et al., 2405.07510)."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn

from ..data.whole_files import write_json
from ..pipelines import CxrSynthesisPipeline
from ..pipelines.guidance import guide, join_conditions
from ..pipelines.noise_schedule import set_steps
from .diffusion_objectives import denoising_loss
from .diffusion_trainer import ConditionedDenoiser, DiffusionCollator, DiffusionTrainer
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
from .text_to_cxr_lora import load_generator, native_image_size


logger = logging.getLogger(__name__)


@dataclass
class FlowDistillationArguments(DiffusionTrainingArguments):
    """A fast generator from a slow one. What is predicted is the teacher's velocity; its text encoder stays."""

    model_name_or_path: str = field(
        default="", metadata={"help": "Generator of a flow: a folder, a Hub id or a name."}
    )
    image_size: int | None = field(
        default=None, metadata={"help": "Side of the square images; the generator's own by default."}
    )
    cache_latents: bool = field(
        default=True, metadata={"help": "Encode every image once, before training, and keep the latents on disk."}
    )
    num_windows: int = field(default=4, metadata={"help": "Steps of the distilled generator."})
    teacher_steps: int = field(default=4, metadata={"help": "Steps of the teacher within each of them."})
    teacher_guidance: float = field(default=3.0, metadata={"help": "Guidance scale of the teacher."})
    ema_decay: float = field(default=0.999, metadata={"help": "Largest decay of the averaged weights."})
    max_steps: int = field(default=2000, metadata={"help": "Optimiser steps. A finished run goes on if it is raised."})
    learning_rate: float = field(default=1e-4, metadata={"help": "Peak of AdamW."})
    caption_dropout: float = field(default=0.0, metadata={"help": "Share of draws without a caption."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model_name_or_path:
            raise ValueError("there is no generator to distil; give --model-name-or-path.")
        for name in ("num_windows", "teacher_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 1 or more.")


class FlowWindows:
    """
    The times of a distilled flow: the windows between the steps that it will take.

    Args:
        scheduler (`FlowMatchEulerDiscreteScheduler`): Of the generator; gives the steps.
        num_windows (`int`): How many.
    """

    def __init__(self, scheduler: Any, num_windows: int) -> None:
        scheduler = copy.deepcopy(scheduler)
        set_steps(scheduler, num_windows)
        self.num_train_timesteps = scheduler.config.num_train_timesteps
        self.edges = scheduler.sigmas.clone()  # falling to 0, one more than windows

    def draw_time(self, stream: np.random.Generator) -> float:
        """A place among the windows, 0 to `num_windows`: the whole part is the window, counted from noise."""
        return float(stream.random() * (len(self.edges) - 1))

    def even_time(self, share: float) -> float:
        """The place at a share, 0 to 1, of the way."""
        return share * (len(self.edges) - 1)

    def sigmas(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Noise levels at the start of a window, its end, and the place between them.

        Args:
            times (`torch.Tensor` of shape `(batch_size,)`): Of [`draw_time`].

        Returns:
            `tuple`: Three tensors of shape `(batch_size, 1, 1, 1)`.
        """
        edges = self.edges.to(times.device)
        window = times.long().clamp(max=len(edges) - 2)
        start, end = edges[window], edges[window + 1]
        sigma = start + (times - window) * (end - start)
        return tuple(values.view(-1, 1, 1, 1) for values in (start, end, sigma))


class FlowDistillationTrainer(DiffusionTrainer):
    """
    Trains a student to go through each window in one step, along the straight line to where the guided teacher ends.

    Args:
        denoiser (`ConditionedDenoiser`): The student; its text encoder is frozen.
        teacher (`nn.Module`): UNet of the slow generator.
        guidance_scale (`float`): Of the teacher.
        num_steps (`int`): Of the teacher within a window.
        args, kwargs: As of [`DiffusionTrainer`]; the objective of the draws is `FlowWindows`.
    """

    def __init__(
        self,
        denoiser: ConditionedDenoiser,
        *args: Any,
        teacher: nn.Module,
        guidance_scale: float,
        num_steps: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(denoiser, *args, **kwargs)
        self.teacher = teacher.to(self.accelerator.device).eval().requires_grad_(requires_grad=False)
        self.guidance_scale = guidance_scale
        self.num_steps = num_steps

    def _loss(self, denoiser: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        names = ("latents", "noise", "times")
        latents, noise, times = (batch[name].to(self.accelerator.device, non_blocking=True) for name in names)
        windows: FlowWindows = self.draws.objective
        start, end, sigma = windows.sigmas(times)
        first = (1 - start) * latents + start * noise
        embeds, mask = self.prompts(batch["captions"])
        last = self._teach(first, start, end, embeds, mask)
        velocity = (first - last) / (start - end)
        between = first + (sigma - start) * velocity
        steps = sigma.flatten() * windows.num_train_timesteps
        prediction = denoiser(between, steps, attention_mask=mask, prompt_embeds=embeds)
        return denoising_loss(prediction, velocity, torch.ones_like(steps))

    @torch.no_grad()
    def _teach(
        self,
        latents: torch.Tensor,
        start: torch.Tensor,
        end: torch.Tensor,
        embeds: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Where the guided teacher goes from the start of each window to its end, by Euler's steps."""
        nothing, nothing_mask = self.prompts([""] * len(latents))
        states, states_mask = join_conditions(nothing, embeds, nothing_mask, mask)
        scale = self.draws.objective.num_train_timesteps
        length = (end - start) / self.num_steps
        with self.accelerator.autocast():
            for step in range(self.num_steps):
                sigma = (start + step * length).flatten().repeat(2)
                both = self.teacher(
                    latents.repeat(2, 1, 1, 1), sigma * scale, states, encoder_attention_mask=states_mask
                ).sample
                latents = latents + length * guide(both.float(), self.guidance_scale)
        return latents


def distil_text_to_cxr(args: FlowDistillationArguments) -> dict[str, Any]:
    """
    Distil a generator of a flow and save it as a pipeline that draws in `num_windows` steps, without guidance.

    A folder with a finished run of the same settings is reused, and goes on where `max_steps` was raised; one that was
    stopped goes on from its last checkpoint.

    Args:
        args (`FlowDistillationArguments`): Teacher, pairs, optimisation.

    Returns:
        `dict`: The record: `request`, `num_pairs`, `num_parameters`, `metrics`, `runtime_seconds`, `finished`.

    Raises:
        ValueError: If the generator is none of a flow, the folder holds a run of other settings, or the data are not
            pairs.
    """
    output_dir = Path(args.output_dir)
    request = run_request(args)
    previous = check_previous(output_dir, request)
    if previous is not None and previous["finished"] and previous["metrics"]["steps"] >= args.max_steps:
        logger.warning("%s already holds this run; it is reused.", output_dir)
        return previous
    teacher = load_generator(args.model_name_or_path)
    if not isinstance(teacher.scheduler, FlowMatchEulerDiscreteScheduler):
        raise ValueError(f"{args.model_name_or_path} is no generator of a flow: {type(teacher.scheduler).__name__}.")
    args.image_size = args.image_size or native_image_size(teacher)
    train, validation = load_generator_pairs(args)
    student = _student(teacher, args)
    record = {
        "request": request,
        "num_pairs": len(train),
        "num_parameters": student.unet.num_parameters(),
        "finished": False,
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    if previous is None:
        write_json(output_dir / RECORD_NAME, record)

    objective = FlowWindows(teacher.scheduler, args.num_windows)
    codec = {name: student.config[name] for name in ("pixel_fold", "pixel_mean", "pixel_std")}
    parts = {"vae": student.vae, "codec": codec}
    collators = [
        DiffusionCollator(source, student.tokenizer, student.text_encoder)
        for source in latent_sources(args, parts, train, validation)
    ]
    export = GeneratorExport(student, args, validation)
    trainer = FlowDistillationTrainer(
        ConditionedDenoiser(student.unet, student.text_encoder),
        training_draws(args, train, objective),
        collators[0],
        args,
        teacher=teacher.unet,
        guidance_scale=args.teacher_guidance,
        num_steps=args.teacher_steps,
        ema_decay=args.ema_decay,
        validation=validation_batches(args, validation, objective, collators[1]),
        on_checkpoint=export.checkpoint,
    )
    started = time.perf_counter()
    metrics = trainer.train()
    if trainer.accelerator.is_main_process:
        export.finish(trainer.last_checkpoint())
        seconds = round(time.perf_counter() - started + (previous or {}).get("runtime_seconds", 0.0), 1)
        record |= {"metrics": metrics, "runtime_seconds": seconds, "finished": True}
        write_json(output_dir / RECORD_NAME, record)
    return record


def _student(teacher: CxrSynthesisPipeline, args: FlowDistillationArguments) -> CxrSynthesisPipeline:
    """The teacher again, with weights of its own where it learns, and the steps that it learns for."""
    parts = {name: getattr(teacher, name) for name in ("text_encoder", "tokenizer", "scheduler", "vae")}
    parts["text_encoder"].requires_grad_(requires_grad=False)
    if parts["vae"] is not None:
        parts["vae"].requires_grad_(requires_grad=False)
    settings = {name: teacher.config[name] for name in ("pixel_fold", "pixel_mean", "pixel_std")}
    return CxrSynthesisPipeline(
        **parts,
        unet=copy.deepcopy(teacher.unet),
        **settings,
        default_num_inference_steps=args.num_windows,
        default_guidance_scale=1.0,
    )
