"""What a denoiser is asked for: the velocity of a straight flow, or what a diffusion's scheduler wants predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class FlowMatching:
    """
    Rectified flow (Liu et al., arXiv 2209.03003) with logit-normal times (Esser et al., arXiv 2403.03206).

    A noisy image is `(1 - sigma) * image + sigma * noise`; the denoiser predicts `noise - image`.

    Args:
        num_train_timesteps (`int`): What the timestep is at pure noise; as in the scheduler that draws.
        time_mean (`float`, *optional*, defaults to 0.0): Mean of the logit of sigma; above 0 for more noise.
        time_std (`float`, *optional*, defaults to 1.0): Its standard deviation.
    """

    def __init__(self, *, num_train_timesteps: int, time_mean: float = 0.0, time_std: float = 1.0) -> None:
        self.num_train_timesteps = num_train_timesteps
        self.time_mean = time_mean
        self.time_std = time_std

    def draw_time(self, stream: np.random.Generator) -> float:
        """A sigma, 0 to 1."""
        return float(1 / (1 + np.exp(-stream.normal(self.time_mean, self.time_std))))

    def even_time(self, share: float) -> float:
        """The sigma at a share, 0 to 1, of the way, for validation."""
        return share

    def add_noise(
        self, images: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Make a task.

        Args:
            images (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`): Latents.
            noise (`torch.Tensor` of the same shape): Standard normal.
            times (`torch.Tensor` of shape `(batch_size,)`): Of [`draw_time`].

        Returns:
            `tuple`: Noisy latents, timesteps for the denoiser, the target, and weights of shape `(batch_size,)`.
        """
        sigma = times.to(images.dtype).view(-1, 1, 1, 1)
        noisy = (1 - sigma) * images + sigma * noise
        return noisy, times * self.num_train_timesteps, noise - images, torch.ones_like(times)


class Diffusion:
    """
    Denoising diffusion (Ho et al., arXiv 2006.11239), predicting noise or velocity (arXiv 2202.00512).

    Args:
        scheduler (`DDPMScheduler`): Its betas and its `prediction_type`, `"epsilon"` or `"v_prediction"`.
        min_snr_gamma (`float`, *optional*): Cap of the signal-to-noise ratio in the weights (Hang et al., 2303.09556).
    """

    def __init__(self, scheduler: Any, *, min_snr_gamma: float | None = None) -> None:
        if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(
                f"prediction_type is {scheduler.config.prediction_type!r}; expected 'epsilon' or 'v_prediction'."
            )
        self.scheduler = scheduler
        self.num_train_timesteps = scheduler.config.num_train_timesteps
        self.predicts_velocity = scheduler.config.prediction_type == "v_prediction"
        self.min_snr_gamma = min_snr_gamma

    def draw_time(self, stream: np.random.Generator) -> float:
        """A timestep, 0 to `num_train_timesteps - 1`."""
        return float(stream.integers(self.num_train_timesteps))

    def even_time(self, share: float) -> float:
        """The timestep at a share, 0 to 1, of the way, for validation."""
        return float(round(share * (self.num_train_timesteps - 1)))

    def add_noise(
        self, images: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Make a task; see [`FlowMatching.add_noise`]."""
        steps = times.long()
        noisy = self.scheduler.add_noise(images, noise, steps)
        target = self.scheduler.get_velocity(images, noise, steps) if self.predicts_velocity else noise
        return noisy, steps, target, self._weights(steps)

    def _weights(self, steps: torch.Tensor) -> torch.Tensor:
        if self.min_snr_gamma is None:
            return torch.ones(len(steps), device=steps.device)
        kept = self.scheduler.alphas_cumprod.to(steps.device)[steps]
        ratio = kept / (1 - kept)
        # The weight of the predicted image is min(ratio, gamma); what is predicted instead changes its scale.
        scale = ratio + 1 if self.predicts_velocity else ratio
        return ratio.clamp(max=self.min_snr_gamma) / scale.clamp(min=1e-8)


def objective_of(scheduler: Any, *, time_mean: float, time_std: float, min_snr_gamma: float) -> Any:
    """
    The objective that a scheduler's samples need.

    Args:
        scheduler (`SchedulerMixin`): Of a generator.
        time_mean, time_std (`float`): For a flow.
        min_snr_gamma (`float`): For a diffusion; 0 weighs all images alike.
    """
    from diffusers import DDPMScheduler

    # Most flow schedulers say so by their name only; DPM++ and UniPC say so by what they predict.
    if "Flow" in type(scheduler).__name__ or scheduler.config.get("prediction_type") == "flow_prediction":
        steps = scheduler.config.num_train_timesteps
        return FlowMatching(num_train_timesteps=steps, time_mean=time_mean, time_std=time_std)
    return Diffusion(DDPMScheduler.from_config(scheduler.config), min_snr_gamma=min_snr_gamma or None)


def denoising_loss(
    prediction: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, *, focus: torch.Tensor | None = None
) -> torch.Tensor:
    """
    Mean squared error, weighted by image, and by place on request.

    Args:
        prediction, target (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`): In any float type.
        weights (`torch.Tensor` of shape `(batch_size,)`): Of the images.
        focus (`torch.Tensor`, *optional*): Weights of the places, of a shape that broadcasts to the prediction's.

    Returns:
        `torch.Tensor` of shape `()`, `torch.float32`.
    """
    errors = (prediction.float() - target.float()).square()
    if focus is not None:
        errors = errors * focus
    return (errors.flatten(1).mean(dim=1) * weights).mean()
