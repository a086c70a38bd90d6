import json

import pytest
import torch
from diffusers.training_utils import EMAModel
from tiny_generators import tiny_flow_pipeline

from synthcxr.data.pairs import load_pairs
from synthcxr.training.diffusion_objectives import FlowMatching
from synthcxr.training.diffusion_trainer import (
    ConditionedDenoiser,
    DiffusionCollator,
    DiffusionTrainer,
)
from synthcxr.training.generator_runs import training_draws, validation_batches
from synthcxr.training.latent_source import PixelLatents
from synthcxr.training.text_to_cxr_arguments import DiffusionTrainingArguments


OBJECTIVE = FlowMatching(num_train_timesteps=1000)


@pytest.fixture(scope="module")
def pairs(pairs_folder):
    return load_pairs(pairs_folder)


def make_trainer(pairs, output_dir, *, freeze_text=False, dropout=0.0, ema_decay=0.9, on_checkpoint=None, **kwargs):
    settings = {"max_steps": 4, "checkpointing_steps": 2, "per_device_train_batch_size": 4, "logging_steps": 1}
    settings |= {"warmup_steps": 0, "use_cpu": True, "disable_tqdm": True, "sample_steps": 0, **kwargs}
    args = DiffusionTrainingArguments(output_dir=str(output_dir), dataset=["pairs"], **settings)
    output_dir.mkdir(exist_ok=True)
    pipeline = tiny_flow_pipeline()
    pipeline.text_encoder.requires_grad_(not freeze_text)
    for module in pipeline.text_encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    latents = PixelLatents(image_size=32, pixel_fold=4, pixel_mean=0.0, pixel_std=0.5)
    collator = DiffusionCollator(latents, pipeline.tokenizer, pipeline.text_encoder)
    return DiffusionTrainer(
        ConditionedDenoiser(pipeline.unet, pipeline.text_encoder),
        training_draws(args, pairs, OBJECTIVE),
        collator,
        args,
        ema_decay=ema_decay,
        validation=validation_batches(args, pairs.select(range(6)), OBJECTIVE, collator),
        on_checkpoint=on_checkpoint,
    )


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.bare.state_dict().items()}


def logged(output_dir, name):
    entries = map(json.loads, (output_dir / "log.jsonl").read_text().splitlines())
    return [entry[name] for entry in entries if name in entry]


def test_a_stopped_run_goes_on_to_the_weights_of_one_that_was_not(pairs, tmp_path):
    settings = {"muon_learning_rate": 0.02, "dropout": 0.2}
    whole = make_trainer(pairs, tmp_path / "whole", **settings)
    torch.manual_seed(0)
    whole.train()
    first = make_trainer(pairs, tmp_path / "parts", max_steps=2, **settings)
    torch.manual_seed(0)
    first.train()
    second = make_trainer(pairs, tmp_path / "parts", **settings)
    before = first.clock.seconds()
    metrics = second.train()
    assert metrics["resumed_from"] == 2
    assert metrics["runtime_seconds"] > second.clock.before > 0.5 * before
    for name, value in weights_of(whole).items():
        assert torch.equal(value, second.bare.state_dict()[name]), name
    for ours, theirs in zip(whole.ema.shadow_params, second.ema.shadow_params, strict=True):
        assert torch.equal(ours, theirs)
    assert logged(tmp_path / "parts", "eval_loss") == logged(tmp_path / "whole", "eval_loss")


def test_accumulated_passes_are_the_step_of_a_larger_batch(pairs, tmp_path):
    large = make_trainer(pairs, tmp_path / "large", max_steps=1, per_device_train_batch_size=8)
    large.train()
    # Accelerate shares the number of passes between all accelerators: the second is made when the first is done.
    small = make_trainer(pairs, tmp_path / "small", max_steps=1, gradient_accumulation_steps=2)
    small.train()
    for name, value in weights_of(large).items():
        torch.testing.assert_close(value, small.bare.state_dict()[name], atol=2e-5, rtol=1e-4, msg=name)


def test_measures_and_exports_see_the_averaged_weights(pairs, tmp_path):
    seen = []
    trainer = make_trainer(
        pairs, tmp_path, on_checkpoint=lambda step, folder: seen.append((step, folder, weights_of(trainer)))
    )
    trainer.train()
    assert [step for step, *_ in seen] == [2, 4]
    exported = [value for name, value in seen[-1][2].items() if name in dict(trainer.bare.named_parameters())]
    named = dict(trainer.bare.named_parameters())
    averaged = dict(zip(named, trainer.ema.shadow_params, strict=True))
    assert all(torch.equal(seen[-1][2][name], averaged[name]) for name in named)
    assert any(not torch.equal(value, own) for value, own in zip(exported, named.values(), strict=True))
    assert not seen[-1][1].exists()  # a checkpoint gets its name when it is whole
    assert (trainer.last_checkpoint() / "model.safetensors").exists()


def test_the_average_is_that_of_a_plain_loop(pairs, tmp_path):
    trainer = make_trainer(pairs, tmp_path, max_steps=3)
    assert isinstance(trainer.ema, EMAModel)
    average = {name: value.clone() for name, value in trainer.bare.named_parameters()}
    original, step = trainer.ema.step, 0

    def checked(parameters):
        nonlocal step
        original(parameters)
        step += 1
        decay = max(0.0, min(0.9, 1 - (1 + max(0, step - 1)) ** -0.75)) if step > 1 else 0.0
        for name, value in trainer.bare.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * value.detach()

    trainer.ema.step = checked
    trainer.train()
    for slow, fast in zip(average.values(), trainer.ema.shadow_params, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)


def test_a_frozen_text_encoder_stays_as_it_is_and_gives_the_same_loss(pairs, tmp_path):
    frozen, trained = (make_trainer(pairs, tmp_path / str(freeze), freeze_text=freeze) for freeze in (True, False))
    before = {name: value.clone() for name, value in frozen.bare.text_encoder.state_dict().items()}
    frozen.train()
    trained.train()
    assert all(torch.equal(value, frozen.bare.text_encoder.state_dict()[name]) for name, value in before.items())
    first = [logged(tmp_path / str(freeze), "loss")[0] for freeze in (True, False)]
    assert first[0] == pytest.approx(first[1], rel=1e-4)


def test_old_checkpoints_are_removed_and_half_ones_are_passed_over(pairs, tmp_path):
    (tmp_path / ".checkpoint-9.tmp").mkdir()
    trainer = make_trainer(pairs, tmp_path, max_steps=6, save_total_limit=1)
    assert trainer.train()["resumed_from"] is None
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-6"]


def test_training_lowers_the_held_out_loss(pairs, tmp_path):
    trainer = make_trainer(
        pairs, tmp_path, max_steps=60, checkpointing_steps=30, learning_rate=3e-3, muon_learning_rate=0.02
    )
    trainer.train()
    first, last = logged(tmp_path, "eval_loss")
    assert last < first < 2


def test_a_loss_that_is_no_number_ends_the_run_with_a_line(pairs, tmp_path):
    with pytest.raises(ValueError, match="the loss is nan at step .*lower --learning-rate"):
        make_trainer(pairs, tmp_path, max_steps=5, learning_rate=1e30).train()


def test_a_rate_that_decays_at_the_end_stays_at_its_peak_before(pairs, tmp_path):
    settings = {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 2, "decay_steps": 4, "max_steps": 8}
    make_trainer(pairs, tmp_path, **settings, learning_rate=1e-3, logging_steps=1, checkpointing_steps=8).train()
    # Logged after a step is the rate of the next one.
    assert logged(tmp_path, "learning_rate") == pytest.approx([5e-4, 1e-3, 1e-3, 1e-3, 7.5e-4, 5e-4, 2.5e-4, 0.0])
