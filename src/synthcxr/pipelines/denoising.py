"""From noise to image: the steps of a call, with guidance, callbacks and the part of an image that stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from .guidance import guide, join_conditions
from .noise_schedule import Generators, step_arguments
from .start_image import StartImage
from .text_conditioning import unet_conditions


def denoise(
    pipeline: Any,
    state: dict[str, torch.Tensor | None],
    steps: torch.Tensor,
    noise: torch.Tensor,
    *,
    start: StartImage | None,
    guidance_interval: tuple[float, float],
    generator: Generators,
    on_step_end: Callable[..., dict[str, torch.Tensor]] | None,
    on_step_end_inputs: Sequence[str],
) -> torch.Tensor:
    """
    Take all steps.

    Args:
        pipeline (`CxrSynthesisPipeline`): Its UNet, scheduler, guidance and progress bar are used.
        state (`dict`): `latents` of shape `(num_images, num_channels, latent_height, latent_width)`, and what
            [`~CxrSynthesisPipeline.encode_prompt`] gives, by name. Callbacks change it.
        steps (`torch.Tensor` of shape `(num_steps,)`): Timesteps, set in the scheduler.
        noise (`torch.Tensor` of the latents' shape): What the drawing started from.
        start (`StartImage`, *optional*): Image to change; its region is kept to.
        guidance_interval (`tuple[float, float]`): Share of the steps where guidance acts.
        generator (`torch.Generator` or a list of them, *optional*): For schedulers that add noise.
        on_step_end (`Callable`, *optional*): The caller's, after every step.
        on_step_end_inputs (`Sequence[str]`): What it is given of the state; those of `diffusers` name their own.

    Returns:
        `torch.Tensor` of the latents' shape.
    """
    begin, end = (round(share * len(steps), 6) for share in guidance_interval)  # 0.55 x 20 is a little above 11
    if isinstance(on_step_end, PipelineCallback | MultiPipelineCallbacks):
        on_step_end_inputs = on_step_end.tensor_inputs
    arguments = step_arguments(pipeline.scheduler, generator)
    with pipeline.progress_bar(total=len(steps)) as progress:
        for index, timestep in enumerate(steps):
            if pipeline.interrupt:
                break
            is_guided = pipeline.do_classifier_free_guidance and begin <= index < end
            prediction = _predict(pipeline, state, timestep, is_guided=is_guided)
            latents = pipeline.scheduler.step(prediction, timestep, state["latents"], **arguments, return_dict=False)[
                0
            ]
            if start is not None:
                coming = steps[index + 1] if index + 1 < len(steps) else None
                latents = start.keep_latents(latents, pipeline.scheduler, noise, coming)
            state["latents"] = latents
            if on_step_end is not None:
                inputs = {name: state[name] for name in on_step_end_inputs}
                state.update(on_step_end(pipeline, index, timestep, inputs) or {})
            progress.update()
    return state["latents"]


def _predict(
    pipeline: Any, state: dict[str, torch.Tensor | None], timestep: torch.Tensor, *, is_guided: bool
) -> torch.Tensor:
    """What the UNet says of the latents, in single precision: the scheduler adds up small differences."""
    embeds, mask, latents = state["prompt_embeds"], state["prompt_mask"], state["latents"]
    if is_guided:
        negative_embeds, negative_mask = state["negative_prompt_embeds"], state["negative_prompt_mask"]
        embeds, mask = join_conditions(negative_embeds, embeds, negative_mask, mask)
        latents = torch.cat([latents, latents])
    if hasattr(pipeline.scheduler, "scale_model_input"):
        latents = pipeline.scheduler.scale_model_input(latents, timestep)
    dtype = pipeline.unet.dtype
    prediction = pipeline.unet(
        latents.to(dtype),
        timestep,
        **unet_conditions(pipeline.unet, embeds.to(dtype), mask),
        return_dict=False,
    )[0].float()
    return guide(prediction, pipeline.guidance_scale) if is_guided else prediction
