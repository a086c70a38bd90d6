"""The loop of text-to-CXR training, by Accelerate: draws named by seed and step, averaged weights, resume."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import get_scheduler

from ..data.bfloat16 import warn_of_emulated_bfloat16
from ..pipelines.text_conditioning import encode_tokens, tokenize_prompts, unet_conditions
from .diffusion_draws import DiffusionDraws, RankSampler, seeded_noise
from .diffusion_objectives import denoising_loss
from .finding_focus import FindingFocus
from .optimizers import build_optimizer
from .prompt_cache import MAX_BYTES, PromptCache
from .text_to_cxr_arguments import DiffusionTrainingArguments


LOG_NAME = "log.jsonl"
_CHECKPOINT = "checkpoint-"


class ConditionedDenoiser(nn.Module):
    """
    A UNet and the text encoder that tells it what to draw, as one module to wrap, train and average.

    Args:
        unet (`UNet2DConditionModel`): The denoiser.
        text_encoder (`PreTrainedModel`): CLIP's, or one of the BERT family.
    """

    def __init__(self, unet: nn.Module, text_encoder: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        What the noisy latents are made of.

        Args:
            noisy (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`): Latents with noise.
            timesteps (`torch.Tensor` of shape `(batch_size,)`): How much.
            input_ids (`torch.Tensor` of shape `(batch_size, length)`, *optional*): Captions.
            attention_mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*): 1 for tokens, 0 for padding.
            prompt_embeds (`torch.Tensor` of shape `(batch_size, length, dim)`, *optional*): Captions that are encoded.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_channels, height, width)`: The prediction.
        """
        if prompt_embeds is None:
            prompt_embeds = encode_tokens(input_ids, self.text_encoder, attention_mask=attention_mask)
        conditions = unet_conditions(self.unet, prompt_embeds, attention_mask)
        return self.unet(noisy, timesteps, **conditions, return_dict=False)[0]


class DiffusionCollator:
    """
    Drawn rows to tensors: latents, noise, times, caption tokens.

    Args:
        latents (`Callable`): From rows to latents, such as `PixelLatents`.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        text_encoder (`PreTrainedModel`): Says how captions are padded.
        focus (`FindingFocus`, *optional*): Weighs the places of the latents.
    """

    def __init__(
        self,
        latents: Callable[..., torch.Tensor],
        tokenizer: Any,
        text_encoder: Any,
        *,
        focus: FindingFocus | None = None,
    ) -> None:
        self.latents = latents
        self.focus = focus
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.tokenizes = is_trained(text_encoder)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """
        A batch.

        Args:
            rows (`Sequence[dict]`): Of [`DiffusionDraws`].

        Returns:
            `dict`: `latents` and `noise` of shape `(batch_size, num_channels, height, width)`, `times` of shape
            `(batch_size,)`, `captions`, their `input_ids` and `attention_mask` where the text encoder is trained, and
            `focus` where places are weighed.
        """
        latents, captions = self.latents(rows), [row["caption"] for row in rows]
        return {
            "latents": latents,
            "noise": seeded_noise([row["noise_seed"] for row in rows], latents.shape[1:]),
            "times": torch.tensor([row["time"] for row in rows]),
            "captions": captions,
            **(tokenize_prompts(captions, self.tokenizer, self.text_encoder) if self.tokenizes else {}),
            **({} if self.focus is None else {"focus": self.focus(rows, latents)}),
        }


class DiffusionTrainer:
    """
    Trains what requires a gradient in a denoiser.

    Every batch follows from seed and step, so a run that was stopped goes on to the weights of one that was not.

    Args:
        denoiser (`ConditionedDenoiser`): Its trainable parameters are trained.
        draws (`DiffusionDraws`): Of training pairs.
        collator (`DiffusionCollator`): Rows to tensors.
        args (`DiffusionTrainingArguments`): Optimisation.
        ema_decay (`float`, *optional*): Average the weights with at most this decay.
        validation (`list[dict]`, *optional*): Collated batches of held-out pairs, their noise and times fixed.
        on_checkpoint (`Callable[[int, Path], None]`, *optional*): Called with the step and a folder to write to when a
            checkpoint is made, with the averaged weights in place.
    """

    def __init__(
        self,
        denoiser: ConditionedDenoiser,
        draws: DiffusionDraws,
        collator: DiffusionCollator,
        args: DiffusionTrainingArguments,
        *,
        ema_decay: float | None = None,
        validation: Sequence[dict[str, Any]] = (),
        on_checkpoint: Callable[[int, Path], None] | None = None,
    ) -> None:
        self.args, self.draws, self.collator, self.validation = args, draws, collator, validation
        self.on_checkpoint = on_checkpoint
        self.output_dir = Path(args.output_dir)
        self.accelerator = Accelerator(
            mixed_precision=args.mixed_precision,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            cpu=args.use_cpu,
        )
        if args.mixed_precision == "bf16":
            warn_of_emulated_bfloat16(self.accelerator.device)
        self.parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
        optimizer = build_optimizer(denoiser, args)
        decay = {"num_decay_steps": args.decay_steps, "decay_type": "linear"}
        self.schedule = get_scheduler(
            args.lr_scheduler_type,
            optimizer,
            num_warmup_steps=args.warmup_steps,
            num_training_steps=args.max_steps,
            scheduler_specific_kwargs=decay if args.lr_scheduler_type == "warmup_stable_decay" else None,
        )
        self.bare = denoiser
        self.prompts = None
        if not is_trained(denoiser.text_encoder):
            room = 0 if args.captions == "mixed" else MAX_BYTES  # sentences drawn at random do not come again
            self.prompts = PromptCache(collator.tokenizer, denoiser.text_encoder, max_bytes=room)
        self.denoiser, self.optimizer = self.accelerator.prepare(denoiser, optimizer)
        self.ema = None
        self.clock = _Clock()
        self.accelerator.register_for_checkpointing(self.schedule, self.clock)
        if ema_decay is not None:
            self.ema = EMAModel(self.parameters, decay=ema_decay, use_ema_warmup=True, power=0.75)
            self.ema.to(self.accelerator.device)
            self.accelerator.register_for_checkpointing(self.ema)

    def train(self) -> dict[str, Any]:
        """
        Train up to `args.max_steps`.

        Returns:
            `dict`: `steps`, `resumed_from`, `images_per_second`, the last `eval_loss`, and `runtime_seconds` of the
            whole run, interruptions left out.
        """
        first = self._resume()
        self.clock.start()
        self._train_mode()
        steps = range(first, self.args.max_steps)
        batches = iter(self._loader(first))
        bar = tqdm(
            total=self.args.max_steps,
            initial=first,
            desc=self.output_dir.name,
            unit="step",
            disable=self.args.disable_tqdm or not self.accelerator.is_main_process,
        )
        started, losses, metrics = time.perf_counter(), [], {}
        for step in steps:
            losses.append(self._step(batches))
            bar.update()
            done = step + 1
            if done % self.args.logging_steps == 0 or done == self.args.max_steps:
                self._log(done, torch.stack(losses).mean(), bar)
                losses = []
            if done % self.args.checkpointing_steps == 0 or done == self.args.max_steps:
                metrics = self._checkpoint(done)
        bar.close()
        seconds = time.perf_counter() - started
        images = len(steps) * self.args.gradient_accumulation_steps * self.accelerator.num_processes
        images *= self.args.per_device_train_batch_size
        speed = round(images / seconds, 1) if images else None
        metrics["runtime_seconds"] = round(self.clock.seconds(), 1)
        return {"steps": self.args.max_steps, "resumed_from": first or None, "images_per_second": speed, **metrics}

    def _loader(self, first: int) -> DataLoader:
        passes = self.args.gradient_accumulation_steps
        sampler = RankSampler(
            batch_size=self.args.per_device_train_batch_size,
            first=first * passes,
            last=self.args.max_steps * passes,
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
        )
        workers = self.args.dataloader_num_workers
        return DataLoader(
            self.draws,
            batch_sampler=sampler,
            collate_fn=self.collator,
            num_workers=workers,
            generator=torch.Generator(),  # a loader draws from it when it starts, also in a run that goes on
        )

    def _step(self, batches: Iterator[dict[str, Any]]) -> torch.Tensor:
        """One optimiser step; the mean loss of its passes, still on its device."""
        total = torch.zeros((), device=self.accelerator.device)
        for _ in range(self.args.gradient_accumulation_steps):
            batch = next(batches)
            with self.accelerator.accumulate(self.denoiser):
                loss = self._loss(self.denoiser, batch)
                self.accelerator.backward(loss)
                total += loss.detach() / self.args.gradient_accumulation_steps
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.parameters, self.args.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.schedule.step()
        if self.ema is not None:
            self.ema.step(self.parameters)
        return total

    def _loss(self, denoiser: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        captions, batch = batch["captions"], self._on_device(batch)
        latents, noise, times = (batch.pop(name) for name in ("latents", "noise", "times"))
        focus = batch.pop("focus", None)
        if self.prompts is not None:
            batch["prompt_embeds"], batch["attention_mask"] = self.prompts(captions)
        noisy, timesteps, target, weights = self.draws.objective.add_noise(latents, noise, times)
        return denoising_loss(denoiser(noisy, timesteps, **batch), target, weights, focus=focus)

    def _on_device(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """A batch without its captions, where it is trained on."""
        device = self.accelerator.device
        return {name: values.to(device, non_blocking=True) for name, values in batch.items() if name != "captions"}

    def _log(self, step: int, loss: torch.Tensor, bar: tqdm) -> None:
        value = float(self.accelerator.reduce(loss, reduction="mean"))
        if not math.isfinite(value):
            raise ValueError(f"the loss is {value} at step {step}; lower --learning-rate, or use bf16 for fp16.")
        bar.set_postfix(loss=f"{value:.4f}")
        if self.accelerator.is_main_process:
            rate = self.schedule.get_last_lr()[0]
            write_log(self.output_dir, {"step": step, "loss": round(value, 5), "learning_rate": rate})

    def _checkpoint(self, step: int) -> dict[str, Any]:
        """Save what resuming needs, then measure and export with the averaged weights."""
        folder = self.output_dir / f"{_CHECKPOINT}{step}"
        growing = self.output_dir / f".{folder.name}.tmp"
        if self.accelerator.is_main_process:
            shutil.rmtree(growing, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(growing))
        self.accelerator.wait_for_everyone()
        metrics: dict[str, Any] = {}
        with self._averaged():
            if self.accelerator.is_main_process:
                metrics = self._evaluate()
                if self.on_checkpoint is not None:
                    self.on_checkpoint(step, growing)
                    self._train_mode()
        if metrics:
            write_log(self.output_dir, {"step": step, **metrics})
        if self.accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(growing, folder)
            for old in list_checkpoints(self.output_dir)[: -self.args.save_total_limit]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()
        return metrics

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        if not self.validation:
            return {}
        self.bare.eval()
        with self.accelerator.autocast():
            losses = [self._loss(self.bare, batch) * len(batch["times"]) for batch in self.validation]
        self._train_mode()
        total = sum(len(batch["times"]) for batch in self.validation)
        return {"eval_loss": round(float(torch.stack(losses).sum()) / total, 5)}

    def _train_mode(self) -> None:
        self.denoiser.train()
        if self.prompts is not None:
            self.bare.text_encoder.eval()  # encoded once for all draws: without dropout

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        if self.ema is None:
            yield
            return
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def last_checkpoint(self) -> Path:
        """The newest checkpoint of the run."""
        return list_checkpoints(self.output_dir)[-1]

    def _resume(self) -> int:
        """Go to where the newest checkpoint was; the steps that are done."""
        checkpoints = list_checkpoints(self.output_dir)
        if not checkpoints:
            return 0
        self.accelerator.load_state(str(checkpoints[-1]))
        if self.ema is not None:
            self.ema.to(self.accelerator.device)  # what is restored lies on the CPU
        return _step_of(checkpoints[-1])


class _Clock:
    """Seconds of a run, which go on where the checkpoint was."""

    def __init__(self) -> None:
        self.before = 0.0
        self.started = time.perf_counter()

    def start(self) -> None:
        self.started = time.perf_counter()

    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.started

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds()}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.before = state["seconds"]


def write_log(output_dir: Path, entry: dict[str, Any]) -> None:
    """Append an entry to the log of a run; for the main process to call."""
    output_dir.mkdir(parents=True, exist_ok=True)
    with (output_dir / LOG_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry | {"time": round(time.time(), 1)}) + "\n")


def list_checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [path for path in output_dir.glob(f"{_CHECKPOINT}*") if path.name[len(_CHECKPOINT) :].isdigit()]
    return sorted(found, key=_step_of)


def is_trained(module: nn.Module) -> bool:
    """Whether anything in it requires a gradient."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name[len(_CHECKPOINT) :])
