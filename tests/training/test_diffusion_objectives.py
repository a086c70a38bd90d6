import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler

from synthcxr.training.diffusion_objectives import Diffusion, FlowMatching, denoising_loss, objective_of


IMAGES = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))


def make(scheduler, gamma=None):
    return objective_of(scheduler, time_mean=0.0, time_std=1.0, min_snr_gamma=gamma)


def test_the_scheduler_decides_what_is_learnt():
    assert isinstance(make(FlowMatchEulerDiscreteScheduler()), FlowMatching)
    assert not make(PNDMScheduler()).predicts_velocity
    assert make(DDIMScheduler(prediction_type="v_prediction")).predicts_velocity
    with pytest.raises(ValueError, match="'sample'; expected 'epsilon' or 'v_prediction'"):
        make(DDPMScheduler(prediction_type="sample"))


def test_a_perfect_velocity_leads_the_flow_scheduler_to_the_image():
    objective, scheduler = make(FlowMatchEulerDiscreteScheduler()), FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    latents, _, velocity, _ = objective.add_noise(IMAGES, NOISE, torch.full((4,), float(scheduler.sigmas[0])))
    for step in scheduler.timesteps:
        latents = scheduler.step(velocity, step, latents).prev_sample
    torch.testing.assert_close(latents, IMAGES, atol=1e-5, rtol=1e-5)


def test_the_flow_knows_its_timestep():
    noisy, steps, target, weights = make(FlowMatchEulerDiscreteScheduler()).add_noise(
        IMAGES, NOISE, torch.tensor([0.0, 0.25, 0.5, 1.0])
    )
    assert steps.tolist() == [0, 250, 500, 1000]
    torch.testing.assert_close(noisy[0], IMAGES[0])
    torch.testing.assert_close(noisy[3], NOISE[3])
    torch.testing.assert_close(noisy[1], IMAGES[1] + 0.25 * target[1])
    assert weights.tolist() == [1, 1, 1, 1]


def test_times_are_logit_normal():
    objective = FlowMatching(num_train_timesteps=1000, time_mean=0.5, time_std=0.8)
    stream = np.random.default_rng(0)
    times = np.array([objective.draw_time(stream) for _ in range(4000)])
    logits = np.log(times / (1 - times))
    assert abs(logits.mean() - 0.5) < 0.05
    assert abs(logits.std() - 0.8) < 0.04


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_weights_of_min_snr_are_those_of_the_paper(prediction):
    scheduler = DDPMScheduler(prediction_type=prediction)
    times = torch.tensor([0.0, 100.0, 500.0, 999.0])
    weights = Diffusion(scheduler, min_snr_gamma=5.0).add_noise(IMAGES, NOISE, times)[3]
    for weight, time in zip(weights.tolist(), times.tolist(), strict=True):
        kept = float(scheduler.alphas_cumprod[int(time)])
        ratio = kept / (1 - kept)
        expected = min(ratio, 5.0) / (ratio + (prediction == "v_prediction"))
        assert weight == pytest.approx(expected, rel=1e-4)
    assert make(scheduler).add_noise(IMAGES, NOISE, times)[3].tolist() == [1, 1, 1, 1]


def test_a_perfect_noise_leads_a_diffusion_to_the_image():
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=True)
    noisy, steps, target, _ = make(scheduler).add_noise(IMAGES, NOISE, torch.full((4,), 700.0))
    result = scheduler.set_timesteps(1000) or scheduler.step(target, int(steps[0]), noisy)
    torch.testing.assert_close(result.pred_original_sample, IMAGES, atol=1e-4, rtol=1e-4)


def test_the_loss_is_the_weighted_mean_of_the_images():
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0])
    slow = sum(w * ((a - b) ** 2).mean() for w, a, b in zip(weights, IMAGES, NOISE, strict=True)) / 4
    assert denoising_loss(IMAGES, NOISE, weights).item() == pytest.approx(slow.item(), rel=1e-6)


def test_the_loss_weighs_places_on_request():
    weights, focus = torch.tensor([1.0, 0.0, 2.0, 1.0]), torch.rand(4, 1, *IMAGES.shape[2:])
    slow = sum(w * (f * (a - b) ** 2).mean() for w, f, a, b in zip(weights, focus, IMAGES, NOISE, strict=True)) / 4
    assert denoising_loss(IMAGES, NOISE, weights, focus=focus).item() == pytest.approx(slow.item(), rel=1e-6)
