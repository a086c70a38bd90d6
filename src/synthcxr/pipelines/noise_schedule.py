"""What every scheduler of `diffusers` needs, in one way: its steps, its noise, its arguments."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor


Generators = torch.Generator | list[torch.Generator] | None


def set_steps(
    scheduler: Any,
    num_inference_steps: int,
    *,
    timesteps: list[int] | None = None,
    sigmas: list[float] | None = None,
    strength: float = 1.0,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """
    Tell a scheduler how many steps there will be.

    Args:
        scheduler (`SchedulerMixin`): Is changed.
        num_inference_steps (`int`): Steps from pure noise to the image.
        timesteps (`list[int]`, *optional*): The steps themselves, falling, where the scheduler takes them.
        sigmas (`list[float]`, *optional*): Noise levels of the steps, falling, where the scheduler takes them.
        strength (`float`, *optional*, defaults to 1.0): Share of the steps that is taken, the last ones.
        device (`torch.device` or `str`, *optional*): Where the steps are kept.

    Returns:
        `torch.Tensor` of shape `(num_steps,)`: Timesteps to go through.

    Raises:
        ValueError: When the scheduler takes no steps of one's own, or none is left to take.
    """
    own = {name: values for name, values in (("timesteps", timesteps), ("sigmas", sigmas)) if values is not None}
    if len(own) > 1:
        raise ValueError("Both timesteps and sigmas are given; pass one of them.")
    accepted = inspect.signature(scheduler.set_timesteps).parameters
    for name in own:
        if name not in accepted:
            raise ValueError(f"{type(scheduler).__name__} takes no {name} of your own; pass num_inference_steps.")
    if own:
        num_inference_steps = len(next(iter(own.values())))
    num_taken = int(num_inference_steps * strength)
    if num_taken < 1:
        raise ValueError(f"strength {strength} of {num_inference_steps} steps leaves none to take; raise one of them.")
    if not own and isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        # The scheduler's own steps end at a noise level of nearly 0, from where a step changes nothing.
        own = {"sigmas": [1 - step / num_inference_steps for step in range(num_inference_steps)]}
    if own:
        scheduler.set_timesteps(device=device, **own)
    else:
        scheduler.set_timesteps(num_inference_steps, device=device)
    num_skipped = (num_inference_steps - num_taken) * scheduler.order
    if num_skipped and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(num_skipped)
    return scheduler.timesteps[num_skipped:]


def starting_noise(
    shape: tuple[int, ...],
    generator: Generators,
    device: torch.device | str,
    latents: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Normal noise, of each image from its own generator where there is one per image.

    Args:
        shape (`tuple[int, ...]`): `(num_images, num_channels, latent_height, latent_width)`.
        generator (`torch.Generator` or a list of them, *optional*): One for the batch or one per image.
        device (`torch.device` or `str`): Where the noise is needed; it is drawn where the generators are.
        latents (`torch.Tensor` of shape `shape`, *optional*): Noise that the caller brings.

    Returns:
        `torch.Tensor` of shape `shape`, `torch.float32`: In single precision for every model, so that a seed means
        the same noise.

    Raises:
        ValueError: When the generators or the latents are not as many as the images.
    """
    if isinstance(generator, list) and len(generator) != shape[0]:
        raise ValueError(f"There are {len(generator)} generators for {shape[0]} images; pass one, or one per image.")
    if latents is None:
        return randn_tensor(shape, generator=generator, device=torch.device(device), dtype=torch.float32)
    if latents.shape != shape:
        raise ValueError(f"latents are of shape {tuple(latents.shape)}; expected {shape}.")
    return latents.to(device, torch.float32)


def first_latents(scheduler: Any, noise: torch.Tensor) -> torch.Tensor:
    """Noise `(batch_size, num_channels, height, width)` at the level that a scheduler starts from."""
    return noise * getattr(scheduler, "init_noise_sigma", 1.0)


def noised(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """
    Clean latents as they would look at a timestep.

    Args:
        scheduler (`SchedulerMixin`): Of diffusion or of flow matching.
        latents (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`): Without noise.
        noise (`torch.Tensor` of the same shape): Normal noise.
        timestep (`torch.Tensor`): One of the scheduler's timesteps.

    Returns:
        `torch.Tensor` of the same shape.
    """
    timestep = timestep.reshape(1)
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(latents, timestep, noise)
    return scheduler.add_noise(latents, noise, timestep)


def step_arguments(scheduler: Any, generator: Generators) -> dict[str, Any]:
    """What a scheduler's `step` takes beside the latents: the generators, where it adds noise of its own."""
    return {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
