import json
import os
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from tiny_generators import tiny_flow_pipeline, tiny_stable_diffusion

from synthcxr.pipelines import CxrSynthesisPipeline, FittedPrompt
from synthcxr.pipelines.text_conditioning import unet_conditions


PROMPTS = ["Large left pleural effusion.", "Normal chest. The lungs are clear. No pneumothorax.", "Mild.", "Nodule."]
DIFFUSION = {
    "PNDMScheduler": {"skip_prk_steps": True},
    "DDIMScheduler": {"clip_sample": False},
    "DPMSolverMultistepScheduler": {},
    "UniPCMultistepScheduler": {},
    "EulerDiscreteScheduler": {},
    "HeunDiscreteScheduler": {},
}
FLOW = {
    "FlowMatchEulerDiscreteScheduler": {},
    "FlowMatchHeunDiscreteScheduler": {},
    "DPMSolverMultistepScheduler": {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
    "UniPCMultistepScheduler": {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
}
NOISY = {
    "DDPMScheduler": {"clip_sample": False},
    "EulerAncestralDiscreteScheduler": {},
    "LCMScheduler": {},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++"},
}


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def with_scheduler(pipeline, name, settings):
    """The same models, another scheduler."""
    scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **settings)
    swapped = CxrSynthesisPipeline(**{**pipeline.components, "scheduler": scheduler}, **pixel_settings(pipeline))
    swapped.set_progress_bar_config(disable=True)
    return swapped


def pixel_settings(pipeline):
    names = ("pixel_fold", "pixel_mean", "pixel_std", "default_num_inference_steps", "default_guidance_scale")
    return {name: pipeline.config[name] for name in names if name in pipeline.config}


@pytest.fixture(scope="module")
def ours(stable_diffusion):
    """Our pipeline of the parts of `diffusers`' own, by version. Read only."""
    pipelines = {}
    for version, pipeline in stable_diffusion.items():
        pipelines[version] = CxrSynthesisPipeline.from_pipe(pipeline)
        pipelines[version].set_progress_bar_config(disable=True)
    return pipelines


@pytest.fixture(scope="module")
def pipelines(flow_pipeline, ours):
    return {"flow": flow_pipeline, 1: ours[1], 2: ours[2]}


@pytest.fixture
def photograph():
    """A gradient of all levels."""
    return Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32).astype(np.uint8))


@pytest.fixture
def rows_seen(flow_pipeline):
    """Rows of every call of the UNet."""
    rows = []
    handle = flow_pipeline.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    yield rows
    handle.remove()


# Stable Diffusion, as diffusers draws it


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("scheduler", ["PNDMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"])
def test_stable_diffusion_is_drawn_as_diffusers_draws_it(version, scheduler, stable_diffusion):
    components = dict(stable_diffusion[version].components)
    config = components["scheduler"].config
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    arguments = {"num_inference_steps": 5, "guidance_scale": 3.0, "latents": noise, "output_type": "np"}
    drawn = []
    for pipeline_class in (diffusers.StableDiffusionPipeline, CxrSynthesisPipeline):
        components["scheduler"] = getattr(diffusers, scheduler).from_config(config)
        extra = {"requires_safety_checker": False} if pipeline_class is not CxrSynthesisPipeline else {}
        pipeline = pipeline_class(**components, **extra)
        pipeline.set_progress_bar_config(disable=True)
        drawn.append(pipeline(PROMPTS[:2], negative_prompt=["mild", "left"], **arguments).images)
    np.testing.assert_allclose(drawn[1][..., 0], drawn[0].mean(axis=-1), atol=1e-5)
    assert drawn[1].std() > 0.01


@pytest.mark.parametrize("version", [1, 2])
def test_a_folder_of_stable_diffusion_loads_unchanged(version, stable_diffusion, ours, tmp_path):
    stable_diffusion[version].save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    # As published: with a safety checker, which must not even be looked for.
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index["requires_safety_checker"] = True
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    loaded = CxrSynthesisPipeline.from_pretrained(tmp_path)
    assert loaded.safety_checker is None
    assert loaded.scheduler.config.prediction_type == {1: "epsilon", 2: "v_prediction"}[version]
    loaded.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 3, "output_type": "np"}
    images = [pipe(PROMPTS[0], generator=generators(3), **arguments).images for pipe in (loaded, ours[version])]
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize(("kind", "schedulers"), [(2, DIFFUSION), ("flow", FLOW)], ids=["diffusion", "flow"])
def test_schedulers_lead_to_one_image(kind, schedulers, pipelines):
    images = []
    for name, settings in schedulers.items():
        pipeline = with_scheduler(pipelines[kind], name, settings)
        arguments = {"num_inference_steps": 16, "guidance_scale": 1.0, "output_type": "latent"}
        images.append(pipeline(PROMPTS[0], generator=generators(1), **arguments).images)
    images = torch.cat(images)
    middle = images.median(dim=0).values
    distances = (images - middle).flatten(1).std(dim=1) / middle.std()
    assert distances.max() < 0.15, dict(zip(schedulers, distances.tolist(), strict=True))


# Batches


@pytest.mark.parametrize("kind", ["flow", 1])
def test_an_image_does_not_depend_on_its_batch(kind, pipelines):
    arguments = {"num_inference_steps": 2, "guidance_scale": 2.0, "negative_prompt": "mild", "output_type": "latent"}
    together = pipelines[kind](PROMPTS, generator=generators(0, 1, 2, 3), **arguments).images
    for row, prompt in enumerate(PROMPTS):
        alone = pipelines[kind](prompt, generator=generators(row), **arguments).images
        torch.testing.assert_close(together[row], alone[0], atol=2e-5, rtol=1e-4)
    assert (together[0] - together[2]).std() > 0.1


@pytest.mark.parametrize("name", NOISY)
def test_an_image_does_not_depend_on_its_batch_when_steps_draw_noise(name, pipelines):
    pipeline = with_scheduler(pipelines[1], name, NOISY[name])
    arguments = {"num_inference_steps": 3, "guidance_scale": 1.0, "output_type": "latent"}
    together = pipeline(PROMPTS[:2], generator=generators(0, 1), **arguments).images
    alone = pipeline(PROMPTS[1], generator=generators(1), **arguments).images
    torch.testing.assert_close(together[1], alone[0], atol=1e-4, rtol=1e-4)


def test_another_text_encoder_takes_the_place_of_clip(flow_pipeline, ours, tmp_path):
    text = {name: getattr(flow_pipeline, name) for name in ("text_encoder", "tokenizer")}
    CxrSynthesisPipeline(**{**ours[1].components, **text}).save_pretrained(tmp_path)
    pipeline = CxrSynthesisPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 2, "output_type": "latent"}
    together = pipeline(PROMPTS[:2], generator=generators(0, 1), **arguments).images
    alone = pipeline(PROMPTS[0], generator=generators(0), **arguments).images
    torch.testing.assert_close(together[0], alone[0], atol=1e-4, rtol=1e-4)
    other = pipeline(PROMPTS[1], generator=generators(0), **arguments).images
    assert (alone - other).abs().max() > 1e-3


def test_images_of_one_prompt_have_their_own_generators(flow_pipeline):
    arguments = {"output_type": "latent", "guidance_scale": 2.0}
    several = flow_pipeline(PROMPTS[:2], num_images_per_prompt=2, generator=generators(0, 1, 2, 3), **arguments).images
    assert len(several) == 4
    alone = flow_pipeline(PROMPTS[1], generator=generators(2), **arguments).images
    torch.testing.assert_close(several[2], alone[0], atol=2e-5, rtol=1e-4)


def test_one_generator_serves_a_batch(flow_pipeline):
    runs = [flow_pipeline(PROMPTS[:2], generator=generators(5)[0], output_type="np").images for _ in range(2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0][0] - runs[0][1]).max() > 0.05


# Guidance


def test_guidance_costs_a_second_pass_only_where_it_acts(flow_pipeline, rows_seen):
    arguments = {"num_inference_steps": 4, "output_type": "latent"}
    flow_pipeline(PROMPTS[0], guidance_scale=1.0, **arguments)
    flow_pipeline(PROMPTS[0], guidance_scale=3.0, **arguments)
    flow_pipeline(PROMPTS[0], guidance_scale=3.0, guidance_interval=(0.25, 0.75), **arguments)
    assert rows_seen == [1, 1, 1, 1, 2, 2, 2, 2, 1, 2, 2, 1]


def test_guidance_leads_from_the_negative_prompt_to_the_prompt(flow_pipeline):
    def draw(prompt, scale, negative=None):
        arguments = {"num_inference_steps": 1, "output_type": "latent", "generator": generators(0)}
        return flow_pipeline(prompt, guidance_scale=scale, negative_prompt=negative, **arguments).images

    conditional, negative = draw(PROMPTS[0], 1.0), draw(PROMPTS[1], 1.0)
    guided = draw(PROMPTS[0], 3.0, PROMPTS[1])
    torch.testing.assert_close(guided, negative + 3 * (conditional - negative), atol=1e-5, rtol=1e-4)
    assert (conditional - negative).abs().max() > 1e-3
    # A prompt led away from itself is unchanged, whatever the scale.
    torch.testing.assert_close(draw(PROMPTS[0], 9.0, PROMPTS[0]), conditional, atol=1e-5, rtol=1e-4)


def test_the_checkpoint_names_its_own_steps_and_guidance(rows_seen, flow_pipeline):
    named = tiny_flow_pipeline(default_num_inference_steps=5, default_guidance_scale=1.0)
    named.unet = flow_pipeline.unet
    named(PROMPTS[0])
    assert rows_seen == [1] * 5


# Prompts


def test_prompts_are_cleaned_and_cut_and_the_call_says_so_once(flow_pipeline, caplog):
    report = "INDICATION: ___ pain. FINDINGS: " + "The heart is enlarged. " * 9 + "IMPRESSION: Large effusion."
    with caplog.at_level("WARNING", logger="synthcxr"):
        output = flow_pipeline([report, report, "Normal chest."], num_inference_steps=1)
    assert output.prompts[0].text.startswith("Large effusion. The heart is enlarged.")
    assert [prompt.num_marks for prompt in output.prompts] == [1, 1, 0]
    assert output.prompts[0].num_sentences_cut > 0
    assert len(caplog.messages) == 1
    assert "2 de-identification marks were taken out of 2 of 3 prompts" in caplog.text


def test_a_report_draws_what_its_fitted_prompt_draws(flow_pipeline):
    report = "FINDINGS: Small nodule. IMPRESSION: Normal chest ___."
    fitted = FittedPrompt("Normal chest. Small nodule.", 1, 0)
    outputs = [flow_pipeline(prompt, generator=generators(0), output_type="np") for prompt in (report, fitted)]
    assert outputs[0].prompts == outputs[1].prompts == [fitted]
    np.testing.assert_array_equal(outputs[0].images, outputs[1].images)


@pytest.mark.parametrize("kind", ["flow", 1])
def test_embeddings_may_be_passed_instead_of_prompts(kind, pipelines):
    pipeline = pipelines[kind]
    embeds, negative_embeds, mask, negative_mask = pipeline.encode_prompt(PROMPTS[:2], negative_prompt="mild")
    assert (mask is None) == (kind == 1)
    arguments = {"num_inference_steps": 2, "output_type": "latent"}
    expected = pipeline(PROMPTS[:2], negative_prompt="mild", generator=generators(0, 1), **arguments)
    output = pipeline(
        prompt_embeds=embeds,
        prompt_mask=mask,
        negative_prompt_embeds=negative_embeds[:1],
        negative_prompt_mask=None if negative_mask is None else negative_mask[:1],
        generator=generators(0, 1),
        **arguments,
    )
    torch.testing.assert_close(output.images, expected.images)
    assert output.prompts == []
    assert not embeds.requires_grad


def test_cached_embeddings_of_any_padding_draw_the_same_image(flow_pipeline):
    embeds, _, mask, _ = flow_pipeline.encode_prompt(PROMPTS[:2], do_classifier_free_guidance=False)
    arguments = {"output_type": "latent", "guidance_scale": 2.0}
    padded = flow_pipeline(prompt_embeds=embeds[:1], prompt_mask=mask[:1], generator=generators(0), **arguments)
    alone = flow_pipeline(PROMPTS[0], generator=generators(0), **arguments)
    assert mask[0].sum() < mask.shape[1]
    torch.testing.assert_close(padded.images, alone.images, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["flow", 1])
def test_prompts_are_encoded_in_one_place_and_drawn_in_another(kind, pipelines):
    parts, settings = pipelines[kind].components, pixel_settings(pipelines[kind])
    of_text = {"text_encoder", "tokenizer"}
    encoder = CxrSynthesisPipeline(**{name: part if name in of_text else None for name, part in parts.items()})
    names = ("prompt_embeds", "negative_prompt_embeds", "prompt_mask", "negative_prompt_mask")
    conditions = dict(zip(names, encoder.encode_prompt(PROMPTS[0]), strict=True))
    drawer = CxrSynthesisPipeline(
        **{name: None if name in of_text else part for name, part in parts.items()}, **settings
    )
    drawer.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 2, "output_type": "np"}
    apart = drawer(**conditions, generator=generators(0), **arguments).images
    np.testing.assert_array_equal(apart, pipelines[kind](PROMPTS[0], generator=generators(0), **arguments).images)


# Images to start from


@pytest.mark.parametrize("kind", ["flow", 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_around_a_mask_come_back_exactly(kind, bits, pipelines, photograph):
    image = photograph
    if bits == 16:
        image = Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64)
    mask = np.zeros((32, 32), bool)
    mask[5:14, 9:20] = True
    arguments = {"num_inference_steps": 2, "bits": bits, "generator": generators(0)}
    (drawn,) = pipelines[kind](PROMPTS[0], image=image, mask_image=Image.fromarray(mask), **arguments).images
    assert drawn.mode == {8: "L", 16: "I;16"}[bits]
    before, after = np.asarray(image), np.asarray(drawn)
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).mean() > 0.5


def test_a_region_is_redrawn_with_a_view_of_what_is_around(flow_pipeline, photograph):
    """The known part steers the unknown one: in another image the same noise gives another region."""
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    inverted = Image.fromarray(255 - np.asarray(photograph))
    arguments = {"mask_image": mask, "output_type": "np", "num_inference_steps": 4}
    regions = [
        flow_pipeline(PROMPTS[0], image=image, generator=generators(0), **arguments).images[0, mask]
        for image in (photograph, inverted)
    ]
    assert np.abs(regions[0] - regions[1]).mean() > 0.002


@pytest.mark.parametrize("kind", ["flow", 1])
def test_less_strength_stays_closer_to_the_image(kind, pipelines, photograph):
    pipeline = pipelines[kind]
    arguments = {"image": photograph, "num_inference_steps": 10, "guidance_scale": 1.0, "output_type": "latent"}
    original = pipeline._encode(torch.from_numpy(np.asarray(photograph) / 255.0).float()[None, None])
    distances = [
        float((pipeline(PROMPTS[0], strength=strength, generator=generators(0), **arguments).images - original).std())
        for strength in (0.1, 0.4, 1.0)
    ]
    assert distances[0] < distances[1] < distances[2]
    assert distances[0] < 0.5 * distances[2]


@pytest.mark.parametrize("scheduler", ["PNDMScheduler", "EulerDiscreteScheduler"])
def test_an_image_is_changed_as_diffusers_changes_it(scheduler, ours, photograph):
    components = {**ours[1].components, "scheduler": with_scheduler(ours[1], scheduler, {}).scheduler}
    arguments = {"num_inference_steps": 6, "strength": 0.5, "guidance_scale": 3.0, "output_type": "latent"}
    mine = with_scheduler(ours[1], scheduler, {})
    latents = mine._encode(torch.from_numpy(np.asarray(photograph) / 255.0).float()[None, None])
    theirs = diffusers.StableDiffusionImg2ImgPipeline(**components, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    # It takes latents as they are; of pixels it would draw from the posterior instead of taking the mode.
    expected = theirs(PROMPTS[0], image=latents, generator=generators(4), **arguments).images
    changed = mine(PROMPTS[0], image=photograph, generator=generators(4), **arguments).images
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=1e-4)


def test_the_last_step_of_a_flow_takes_off_the_noise_that_was_put_on(flow_pipeline, photograph):
    arguments = {"num_inference_steps": 4, "strength": 0.25, "guidance_scale": 1.0, "output_type": "latent"}
    drawn = flow_pipeline(PROMPTS[0], image=photograph, generator=generators(0), **arguments).images
    original = flow_pipeline._encode(torch.from_numpy(np.asarray(photograph) / 255.0).float()[None, None])
    noise = torch.randn(original.shape, generator=generators(0)[0])
    timestep = flow_pipeline.scheduler.timesteps[-1]
    sigma = timestep / 1000
    noisy = (1 - sigma) * original + sigma * noise
    embeds, _, mask, _ = flow_pipeline.encode_prompt(PROMPTS[0])
    with torch.no_grad():
        velocity = flow_pipeline.unet(noisy, timestep, **unet_conditions(flow_pipeline.unet, embeds, mask)).sample
    torch.testing.assert_close(drawn, noisy - sigma * velocity, atol=1e-5, rtol=1e-4)


def test_full_strength_forgets_the_image(flow_pipeline, photograph):
    images = [
        flow_pipeline(PROMPTS[0], image=image, generator=generators(0), output_type="np").images
        for image in (photograph, None)
    ]
    np.testing.assert_array_equal(images[0], images[1])


# Outputs


def test_outputs_of_every_kind_hold_the_same_image(flow_pipeline):
    def draw(**arguments):
        return flow_pipeline(PROMPTS[:2], generator=generators(0, 1), **arguments)

    array, tensor = draw(output_type="np").images, draw(output_type="pt").images
    assert array.shape == (2, 32, 32, 1)
    assert tensor.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(array[..., 0], tensor[:, 0])
    for image, values in zip(draw().images, array, strict=True):
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), (values[..., 0] * 255).round())
    for image, values in zip(draw(bits=16).images, array, strict=True):
        assert image.mode == "I;16"
        assert np.abs(np.asarray(image) - values[..., 0] * 65535.0).max() <= 0.51
    assert draw(output_type="latent").images.shape == (2, 16, 8, 8)
    images, prompts = draw(return_dict=False)
    assert len(images) == len(prompts) == 2


@pytest.mark.parametrize(("kind", "size"), [("flow", (24, 40)), (1, (18, 34))])
def test_other_sizes_are_drawn_too(kind, size, pipelines):
    (image,) = pipelines[kind](PROMPTS[0], height=size[0], width=size[1], num_inference_steps=1).images
    assert image.size == (size[1], size[0])


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": None}, "either prompt or prompt_embeds"),
        ({"prompt_embeds": torch.zeros(1, 5, 16)}, "either prompt or prompt_embeds"),
        ({"prompt": []}, "list of prompts is empty"),
        ({"prompt": ["Effusion.", "___"]}, "Prompt 1: .*holds no words"),
        ({"prompt": ["Effusion.", None]}, "Prompt 1: .*expected a string"),
        ({"height": 30}, "height is 30 pixels; expected a multiple of 4"),
        ({"generator": generators(0, 1)}, "2 generators for 1 images"),
        ({"latents": torch.zeros(1, 16, 4, 4)}, r"latents are of shape .* expected \(1, 16, 8, 8\)"),
        ({"negative_prompt": ["a", "b"]}, "2 negative prompts for 1 prompts"),
        ({"negative_prompt_embeds": torch.zeros(3, 5, 16)}, "3 negative_prompt_embeds do not fit 1"),
        ({"num_inference_steps": 0}, "0 steps leaves none to take"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0; expected 1 or more"),
        ({"strength": 0.0}, "strength is 0.0"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"bits": 12}, "bits is 12"),
        ({"output_type": "jpg"}, "output_type is 'jpg'"),
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval is"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, r"has \['noise'\]"),
        ({"mask_image": np.ones((32, 32), bool)}, "mask_image is given without image"),
        ({"image": np.full((32, 32), np.nan)}, "image has values outside 0 to 1, or NaN"),
        ({"image": np.zeros((30, 32), np.uint8)}, "height is 30 pixels"),
        ({"image": np.zeros((32, 32), np.uint8), "width": 64}, "width is 64, but that of image is 32"),
        ({"sigmas": [1.0, 0.5], "timesteps": [999]}, "pass one of them"),
        ({"image": np.zeros((32, 32), np.uint8), "strength": 0.1, "num_inference_steps": 4}, "leaves none to take"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(arguments, message, flow_pipeline):
    with pytest.raises(ValueError, match=message) as error:
        flow_pipeline(**{"prompt": "Effusion.", **arguments})
    assert "\n" not in str(error.value)


def test_parts_that_do_not_fit_are_refused(flow_pipeline, ours):
    components = flow_pipeline.components
    with pytest.raises(ValueError, match="reads 16 channels, but pixels folded by 2 have 4"):
        CxrSynthesisPipeline(**components, pixel_fold=2)
    with pytest.raises(ValueError, match="reads 16 channels, but the autoencoder has 4"):
        CxrSynthesisPipeline(**{**components, "vae": ours[1].vae})


def test_an_image_that_came_out_as_nan_is_refused():
    pipeline = tiny_flow_pipeline()
    with torch.no_grad():
        pipeline.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"Images \[0\] came out as NaN"):
        pipeline(PROMPTS[0])


# What diffusers offers of every pipeline


def test_a_callback_sees_and_changes_every_step(flow_pipeline):
    seen = []

    def end_step(pipeline, step, timestep, tensors):
        seen.append((step, float(timestep), sorted(tensors)))
        pipeline._guidance_scale = 1.0
        return {"latents": torch.zeros_like(tensors["latents"])} if step == 2 else {}

    output = flow_pipeline(
        PROMPTS[0],
        guidance_scale=3.0,
        output_type="latent",
        callback_on_step_end=end_step,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "negative_prompt_embeds"],
    )
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert [timestep for _, timestep, _ in seen] == flow_pipeline.scheduler.timesteps.tolist()
    assert seen[0][2] == ["latents", "negative_prompt_embeds", "prompt_embeds"]
    assert output.images.eq(0).all()
    assert flow_pipeline.guidance_scale == 1.0
    assert flow_pipeline.num_timesteps == 3


def test_a_callback_can_stop_a_call(flow_pipeline, rows_seen):
    def stop(pipeline, step, timestep, tensors):
        pipeline._interrupt = True
        return tensors

    flow_pipeline(PROMPTS[0], callback_on_step_end=stop)
    assert len(rows_seen) == 1
    flow_pipeline(PROMPTS[0])
    assert len(rows_seen) == 1 + 3


def test_callbacks_of_diffusers_work(flow_pipeline, rows_seen):
    cutoff = diffusers.callbacks.SDCFGCutoffCallback(cutoff_step_ratio=0.5)
    flow_pipeline(PROMPTS[0], num_inference_steps=4, guidance_scale=3.0, callback_on_step_end=cutoff)
    assert rows_seen == [2, 2, 2, 1]


def test_progress_is_shown_step_by_step(capfd):
    pipeline = tiny_flow_pipeline()
    pipeline.set_progress_bar_config(disable=False)
    pipeline(PROMPTS[0])
    assert "3/3" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["flow", 1])
def test_bfloat16_draws_nearly_the_same_image(kind, pipelines, tmp_path):
    pipelines[kind].save_pretrained(tmp_path)
    half = CxrSynthesisPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    assert half.unet.dtype == half.text_encoder.dtype == torch.bfloat16
    arguments = {"num_inference_steps": 4, "guidance_scale": 2.0, "output_type": "pt"}
    images = [pipe(PROMPTS[:2], generator=generators(0, 1), **arguments).images for pipe in (half, pipelines[kind])]
    assert images[0].dtype == torch.float32
    assert (images[0] - images[1]).abs().mean() < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="parts are moved to an accelerator and back")
def test_parts_wait_on_the_cpu_for_their_turn(flow_pipeline):
    expected = flow_pipeline(PROMPTS[0], generator=generators(0), output_type="np").images
    pipeline = tiny_flow_pipeline()
    pipeline.enable_model_cpu_offload()
    images = pipeline(PROMPTS[0], generator=generators(0), output_type="np").images
    np.testing.assert_allclose(images, expected, atol=1e-2)
    assert pipeline.unet.device.type == "cpu"


# Adapters


def adapters(pipeline, targets):
    """LoRA with random weights on the UNet and the text encoder, as `save_lora_weights` takes it."""
    torch.manual_seed(3)
    layers = {}
    for name, targets_of_it in (("unet", ["to_q", "to_v"]), ("text_encoder", targets)):
        module = getattr(pipeline, name)
        module.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=targets_of_it, init_lora_weights=False))
        layers[f"{name}_lora_layers"] = get_peft_model_state_dict(module)
        layers[f"{name}_lora_adapter_metadata"] = module.peft_config["default"].to_dict()
    return layers


@pytest.mark.parametrize("kind", ["flow", 1, 2])
def test_adapters_are_saved_loaded_merged_and_taken_off(kind, pipelines, tmp_path):
    def build():
        if kind == "flow":
            return tiny_flow_pipeline()
        pipeline = CxrSynthesisPipeline(**tiny_stable_diffusion(kind).components)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def draw(pipeline):
        arguments = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "latent"}
        return pipeline(PROMPTS[0], generator=generators(0), **arguments).images

    trained, targets = build(), ["query", "value"] if kind == "flow" else ["q_proj", "v_proj"]
    layers = adapters(trained, targets)
    CxrSynthesisPipeline.save_lora_weights(tmp_path, **layers)
    adapted = draw(trained)
    loaded = build()
    plain = draw(loaded)
    assert (adapted - plain).abs().max() > 1e-3

    loaded.load_lora_weights(tmp_path)
    torch.testing.assert_close(draw(loaded), adapted)
    loaded.fuse_lora()
    loaded.unload_lora_weights()
    torch.testing.assert_close(draw(loaded), adapted, atol=1e-4, rtol=1e-4)
    loaded.unfuse_lora()


# Saved with its code


ALONE = """
import sys
sys.modules["synthcxr"] = None
import numpy as np
import torch
from diffusers import DiffusionPipeline
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1], trust_remote_code=True)
images = pipeline(
    "Large effusion ___. Normal heart.", generator=torch.Generator().manual_seed(0), output_type="np"
).images
np.save("images.npy", images)
pipeline.save_pretrained("again")
"""


def test_a_saved_pipeline_draws_the_same_without_the_package(flow_pipeline, tmp_path):
    saved, elsewhere = tmp_path / "saved", tmp_path / "elsewhere"
    flow_pipeline.save_pretrained(saved)
    elsewhere.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        **{"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, "-I", "-c", ALONE, str(saved)]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = flow_pipeline("Large effusion ___. Normal heart.", generator=generators(0), output_type="np").images
    np.testing.assert_allclose(np.load(elsewhere / "images.npy"), expected, atol=1e-5)

    # What it saves again is whole, too.
    for folder in (saved, elsewhere / "again"):
        index = json.loads((folder / "model_index.json").read_text())
        assert index["_class_name"] == ["pipeline_cxr_synthesis", "CxrSynthesisPipeline"]
    names = {path.name for path in saved.glob("*.py")}
    assert names == {path.name for path in (elsewhere / "again").glob("*.py")}
    again = CxrSynthesisPipeline.from_pretrained(elsewhere / "again")
    assert type(again) is CxrSynthesisPipeline
    again.set_progress_bar_config(disable=True)
    redrawn = again("Large effusion ___. Normal heart.", generator=generators(0), output_type="np").images
    np.testing.assert_array_equal(redrawn, expected)


def test_the_code_is_loaded_from_a_folder_only_when_trusted(flow_pipeline, tmp_path):
    flow_pipeline.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(tmp_path)


def test_weights_are_saved_as_safetensors_only(flow_pipeline, tmp_path):
    flow_pipeline.save_pretrained(tmp_path)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".py", ".safetensors", ".txt"}
    with pytest.raises(ValueError, match="safetensors only"):
        flow_pipeline.save_pretrained(tmp_path, safe_serialization=False)


def test_every_sibling_is_imported_by_the_pipeline_itself(flow_pipeline, tmp_path):
    """From a folder `diffusers` copies the siblings that the module names, not those that they name."""
    flow_pipeline.save_pretrained(tmp_path)
    module = (tmp_path / "pipeline_cxr_synthesis.py").read_text()
    siblings = {path.stem for path in tmp_path.glob("*.py")} - {"pipeline_cxr_synthesis"}
    assert {name for name in siblings if f"from .{name} import" not in module} == set()
