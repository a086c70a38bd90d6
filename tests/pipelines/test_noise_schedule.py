import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
)

from synthcxr.pipelines.noise_schedule import first_latents, noised, set_steps, starting_noise, step_arguments


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_noise_of_an_image_is_its_generators_alone():
    together = starting_noise((3, 2, 4, 4), generators(5, 6, 7), "cpu")
    for index, seed in enumerate((5, 6, 7)):
        assert torch.equal(starting_noise((1, 2, 4, 4), generators(seed), "cpu")[0], together[index])


def test_noise_that_is_brought_is_checked():
    with pytest.raises(ValueError, match="2 generators for 3 images"):
        starting_noise((3, 2, 4, 4), generators(1, 2), "cpu")
    with pytest.raises(ValueError, match=r"shape \(3, 2, 4, 5\); expected \(3, 2, 4, 4\)"):
        starting_noise((3, 2, 4, 4), None, "cpu", torch.zeros(3, 2, 4, 5))
    half = torch.ones(3, 2, 4, 4, dtype=torch.float16)
    assert starting_noise((3, 2, 4, 4), None, "cpu", half).dtype == torch.float32


@pytest.mark.parametrize("scheduler_class", [DDIMScheduler, PNDMScheduler, FlowMatchEulerDiscreteScheduler])
def test_less_strength_takes_the_last_steps(scheduler_class):
    scheduler = scheduler_class()
    every = set_steps(scheduler, 10)
    few = set_steps(scheduler, 10, strength=0.35)
    assert torch.equal(few, every[-3 - (len(every) - 10) :])


@pytest.mark.parametrize("scheduler_class", [HeunDiscreteScheduler, FlowMatchHeunDiscreteScheduler])
def test_schedulers_that_step_twice_skip_pairs(scheduler_class):
    scheduler = scheduler_class()
    every = set_steps(scheduler, 10)
    assert torch.equal(set_steps(scheduler, 10, strength=0.5), every[10:])


def test_steps_of_ones_own_go_to_schedulers_that_take_them():
    assert set_steps(DDPMScheduler(), 99, timesteps=[900, 500, 100]).tolist() == [900, 500, 100]
    scheduler = FlowMatchEulerDiscreteScheduler()
    torch.testing.assert_close(set_steps(scheduler, 99, sigmas=[1.0, 0.5]), torch.tensor([1000.0, 500.0]))
    with pytest.raises(ValueError, match="DDIMScheduler takes no sigmas"):
        set_steps(DDIMScheduler(), 9, sigmas=[1.0, 0.5])
    with pytest.raises(ValueError, match="one of them"):
        set_steps(scheduler, 9, sigmas=[1.0], timesteps=[1])


def test_a_strength_that_leaves_no_step_is_refused():
    with pytest.raises(ValueError, match="strength 0.05 of 10 steps"):
        set_steps(DDIMScheduler(), 10, strength=0.05)


def test_noise_is_put_on_as_the_scheduler_takes_it_off():
    latents, noise = torch.full((1, 1, 2, 2), 3.0), torch.ones(1, 1, 2, 2)
    flow = FlowMatchEulerDiscreteScheduler()
    steps = set_steps(flow, 4)
    sigma = steps[1] / 1000
    torch.testing.assert_close(noised(flow, latents, noise, steps[1]), (1 - sigma) * latents + sigma * noise)
    diffusion = DDIMScheduler()
    steps = set_steps(diffusion, 4)
    alpha = diffusion.alphas_cumprod[steps[1]]
    expected = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    torch.testing.assert_close(noised(diffusion, latents, noise, steps[1]), expected)


def test_the_first_latents_have_the_schedulers_noise_level():
    noise = torch.ones(1, 1, 2, 2)
    assert torch.equal(first_latents(FlowMatchEulerDiscreteScheduler(), noise), noise)
    scheduler = HeunDiscreteScheduler()
    set_steps(scheduler, 5)
    assert first_latents(scheduler, noise).mean() > 10


def test_generators_go_to_schedulers_that_draw_noise():
    drawn = generators(1)
    assert step_arguments(DDPMScheduler(), drawn) == {"generator": drawn}
    assert step_arguments(PNDMScheduler(), drawn) == {}
