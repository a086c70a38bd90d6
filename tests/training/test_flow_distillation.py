import copy

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from tiny_generators import tiny_flow_pipeline

from synthcxr.data.pairs import load_pairs
from synthcxr.pipelines import CxrSynthesisPipeline
from synthcxr.training.diffusion_trainer import ConditionedDenoiser, DiffusionCollator
from synthcxr.training.flow_distillation import (
    FlowDistillationArguments,
    FlowDistillationTrainer,
    FlowWindows,
    distil_text_to_cxr,
)
from synthcxr.training.generator_runs import training_draws
from synthcxr.training.latent_source import PixelLatents


@pytest.fixture(scope="module")
def pairs(pairs_folder):
    return load_pairs(pairs_folder)


def make_trainer(pairs, output_dir, *, guidance_scale, num_steps, num_windows=3):
    args = FlowDistillationArguments(
        output_dir=str(output_dir),
        dataset=["pairs"],
        model_name_or_path="teacher",
        per_device_train_batch_size=3,
        use_cpu=True,
        disable_tqdm=True,
    )
    pipeline = tiny_flow_pipeline()
    pipeline.text_encoder.requires_grad_(requires_grad=False)
    latents = PixelLatents(image_size=32, pixel_fold=4, pixel_mean=0.0, pixel_std=0.5)
    return FlowDistillationTrainer(
        ConditionedDenoiser(copy.deepcopy(pipeline.unet), pipeline.text_encoder),
        training_draws(args, pairs, FlowWindows(pipeline.scheduler, num_windows)),
        DiffusionCollator(latents, pipeline.tokenizer, pipeline.text_encoder),
        args,
        teacher=pipeline.unet,
        guidance_scale=guidance_scale,
        num_steps=num_steps,
    )


def batch_of(trainer, times):
    rows = trainer.draws.__getitems__(list(range(len(times))))
    return trainer.collator([row | {"time": time} for row, time in zip(rows, times, strict=True)])


def test_windows_lie_between_the_steps_of_the_scheduler():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    windows = FlowWindows(scheduler, 4)
    assert windows.edges[0] == 1
    assert windows.edges[-1] == 0
    assert len(windows.edges) == 5
    start, end, sigma = (values.flatten() for values in windows.sigmas(torch.tensor([0.0, 1.5, 3.999])))
    torch.testing.assert_close(start, windows.edges[[0, 1, 3]])
    torch.testing.assert_close(end, windows.edges[[1, 2, 4]])
    torch.testing.assert_close(sigma[1], (windows.edges[1] + windows.edges[2]) / 2)
    stream = np.random.default_rng(0)
    assert all(0 <= windows.draw_time(stream) < 4 for _ in range(100))


def test_a_student_that_is_its_teacher_has_nothing_to_learn_at_the_start_of_a_window(pairs, tmp_path):
    trainer = make_trainer(pairs, tmp_path, guidance_scale=1.0, num_steps=1)
    trainer.bare.eval()
    assert float(trainer._loss(trainer.bare, batch_of(trainer, [0.0, 1.0, 2.0]))) == pytest.approx(0, abs=1e-8)
    assert float(trainer._loss(trainer.bare, batch_of(trainer, [0.5, 1.7, 2.2]))) > 1e-8


def test_the_loss_is_that_of_a_loop_over_images_and_steps(pairs, tmp_path):
    trainer = make_trainer(pairs, tmp_path, guidance_scale=2.5, num_steps=3)
    trainer.bare.eval()
    times = [0.3, 1.0, 2.9]
    batch = batch_of(trainer, times)
    edges, unet = trainer.draws.objective.edges, trainer.teacher
    errors = []
    for place, moment in enumerate(times):
        window = int(moment)
        start, end = edges[window], edges[window + 1]
        first = (1 - start) * batch["latents"][place : place + 1] + start * batch["noise"][place : place + 1]
        conditions = [trainer.prompts([text])[0] for text in (batch["captions"][place], "")]
        with torch.no_grad():
            latents = first
            for step in range(3):
                sigma = start + (end - start) * step / 3
                prompted, empty = (
                    unet(latents, sigma[None] * 1000, states, class_labels=states.mean(dim=1)).sample
                    for states in conditions
                )
                latents = latents + (end - start) / 3 * (empty + 2.5 * (prompted - empty))
            velocity = (first - latents) / (start - end)
            share = moment - window
            between = first + share * (end - start) * velocity
            sigma = start + share * (end - start)
            states = conditions[0]
            prediction = trainer.bare.unet(between, sigma[None] * 1000, states, class_labels=states.mean(dim=1)).sample
        errors.append(float((prediction - velocity).square().mean()))
    assert float(trainer._loss(trainer.bare, batch)) == pytest.approx(np.mean(errors), rel=1e-4)


def test_a_distilled_generator_draws_in_its_steps_and_goes_on_after_a_stop(pairs_folder, tmp_path):
    tiny_flow_pipeline().save_pretrained(tmp_path / "teacher")
    settings = {"dataset": [str(pairs_folder)], "model_name_or_path": str(tmp_path / "teacher"), "num_windows": 2}
    settings |= {"per_device_train_batch_size": 4, "checkpointing_steps": 2, "max_eval_samples": 4, "sample_steps": 0}
    settings |= {"use_cpu": True, "disable_tqdm": True, "teacher_steps": 2, "learning_rate": 1e-3}

    def run(name, max_steps):
        args = FlowDistillationArguments(output_dir=str(tmp_path / name), max_steps=max_steps, **settings)
        return distil_text_to_cxr(args)

    (tmp_path / "teacher" / "training.json").write_text("{")
    with pytest.raises(ValueError, match=r"teacher/training.json is damaged"):
        run("damaged", 1)
    (tmp_path / "teacher" / "training.json").write_text('{"request": {"seed": 3}}')
    whole, _, parts = run("whole", 4), run("parts", 2), run("parts", 4)
    assert parts["started_from"] == {"request": {"seed": 3}}
    assert parts["metrics"]["resumed_from"] == 2
    assert parts["metrics"]["eval_loss"] == whole["metrics"]["eval_loss"]
    student = CxrSynthesisPipeline.from_pretrained(tmp_path / "parts")
    teacher = CxrSynthesisPipeline.from_pretrained(tmp_path / "teacher")
    assert (student.config.default_num_inference_steps, student.config.default_guidance_scale) == (2, 1.0)
    assert student("a nodule").images[0].size == (32, 32)
    assert any(
        not torch.equal(ours, theirs)
        for ours, theirs in zip(student.unet.parameters(), teacher.unet.parameters(), strict=True)
    )


def test_only_a_flow_can_be_distilled(pairs_folder, tmp_path):
    pipeline = tiny_flow_pipeline()
    pipeline.scheduler = DDIMScheduler()
    pipeline.save_pretrained(tmp_path / "teacher")
    args = FlowDistillationArguments(
        output_dir=str(tmp_path / "run"), dataset=[str(pairs_folder)], model_name_or_path=str(tmp_path / "teacher")
    )
    with pytest.raises(ValueError, match="no generator of a flow: DDIMScheduler"):
        distil_text_to_cxr(args)
