"""Distilling a guided flow into few steps without guidance: piecewise rectified flow (Yan et al., 2405.07510)."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn

from ..pipelines import CxrSynthesisPipeline
from ..pipelines.guidance import guide, join_conditions
from ..pipelines.noise_schedule import set_steps
from ..pipelines.text_conditioning import unet_conditions
from .diffusion_objectives import denoising_loss
from .diffusion_trainer import ConditionedDenoiser, DiffusionTrainer
from .generator_runs import GeneratorTraining, build_training, run_generator_training
from .generator_samples import GeneratorExport
from .text_to_cxr_arguments import FlowDistillationArguments
from .text_to_cxr_lora import load_generator, native_image_size


logger = logging.getLogger(__name__)


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
        captions, batch = batch["captions"], self._on_device(batch)
        latents, noise, times = (batch[name] for name in ("latents", "noise", "times"))
        windows: FlowWindows = self.draws.objective
        start, end, sigma = windows.sigmas(times)
        first = (1 - start) * latents + start * noise
        embeds, mask = self.prompts(captions)
        last = self._teach(first, start, end, embeds, mask)
        velocity = (first - last) / (start - end)
        between = first + (sigma - start) * velocity
        steps = sigma.flatten() * windows.num_train_timesteps
        prediction = denoiser(between, steps, attention_mask=mask, prompt_embeds=embeds)
        return denoising_loss(prediction, velocity, torch.ones_like(steps), focus=batch.get("focus"))

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
        conditions = unet_conditions(self.teacher, *join_conditions(nothing, embeds, nothing_mask, mask))
        scale = self.draws.objective.num_train_timesteps
        length = (end - start) / self.num_steps
        with self.accelerator.autocast():
            for step in range(self.num_steps):
                sigma = (start + step * length).flatten().repeat(2)
                both = self.teacher(latents.repeat(2, 1, 1, 1), sigma * scale, **conditions).sample
                latents = latents + length * guide(both.float(), self.guidance_scale)
        return latents


def distil_text_to_cxr(args: FlowDistillationArguments) -> dict[str, Any]:
    """
    Distil a generator of a flow and save it as a pipeline that draws in `num_windows` steps, without guidance; see
    [`run_generator_training`].

    Args:
        args (`FlowDistillationArguments`): Teacher, pairs, optimisation.

    Returns:
        `dict`: The record of the run.

    Raises:
        ValueError: If the generator is none of a flow, the folder holds a run of other settings, or the data are not
            pairs.
    """

    def build(train: Dataset, validation: Dataset | None) -> GeneratorTraining:
        teacher = load_generator(args.model_name_or_path)
        if not isinstance(teacher.scheduler, FlowMatchEulerDiscreteScheduler):
            kind = type(teacher.scheduler).__name__
            raise ValueError(f"{args.model_name_or_path} is no generator of a flow: {kind}.")
        student = _student(teacher, args)
        return build_training(
            args,
            GeneratorExport(student, args, validation),
            ConditionedDenoiser(student.unet, student.text_encoder),
            FlowWindows(teacher.scheduler, args.num_windows),
            train,
            validation,
            image_size=args.image_size or native_image_size(teacher),
            trainer_class=FlowDistillationTrainer,
            ema_decay=args.ema_decay,
            teacher=teacher.unet,
            guidance_scale=args.teacher_guidance,
            num_steps=args.teacher_steps,
        )

    return run_generator_training(args, build)


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
