"""`PretrainingTrainer`: the stock `Trainer` with draws that survive a kill and measures that mean something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..data.bfloat16 import warn_of_emulated_bfloat16
from ..data.collators import DrawnDataset, EpochSampler
from ..data.mixing import MixedSampler, StreamedPairs
from .arguments import PretrainingArguments
from .gradient_cache import average_gradients, cached_backward
from .optimizers import MuonAdamW, hidden_matrices


class PretrainingTrainer(Trainer):
    """
    Contrastive pre-training of a dual encoder.

    Which pairs meet in a batch, which sentence is read and how an image is augmented depend on the seed, the pair and
    the epoch alone, so a run that was killed goes on with the very batches that it would have seen.

    Args:
        eval_collator (`Callable`, *optional*): Batches of the evaluation: whole texts and images as they are. Needed
            to evaluate.
        evaluate_model (`Callable[[PreTrainedModel], dict[str, float]]`, *optional*): Measures of the model on held-out
            pairs (retrieval, zero-shot AUROC); they join the loss in every evaluation.
        mix (`tuple`, *optional*): Sizes of the datasets that the training pairs consist of, and the weight of each;
            otherwise every pair is drawn once per epoch.
        kwargs: As for `Trainer`; `train_dataset` is a `DrawnDataset`, or a `StreamedPairs`.
    """

    # The loss is a mean over the batch: Trainer divides it by the accumulation steps.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        *args: Any,
        eval_collator: Callable[[Any], dict[str, Any]] | None = None,
        evaluate_model: Callable[[PreTrainedModel], dict[str, float]] | None = None,
        mix: tuple[Sequence[int], Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(kwargs.get("train_dataset"), StreamedPairs):
            # Every process reads the stream and keeps its own batches; what is not a tensor cannot be sent to it.
            kwargs["args"].accelerator_config.dispatch_batches = False
        super().__init__(*args, **kwargs)
        if self.args.bf16:
            warn_of_emulated_bfloat16(self.args.device)
        self._eval_collator = eval_collator
        self._evaluate_model = evaluate_model
        # Without labels, Trainer reports an evaluation loss only when told that the model gives one.
        self.can_return_loss = True
        self.label_names = []
        self._mix = mix
        self._epoch_sampler: EpochSampler | MixedSampler | None = None
        self.add_callback(_SetEpoch(self))

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not isinstance(dataset, DrawnDataset):
            raise ValueError(f"train_dataset is a {type(dataset).__name__}; expected a DrawnDataset.")
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if self._mix is None:
            self._epoch_sampler = EpochSampler(len(dataset), seed=seed)
        else:
            self._epoch_sampler = MixedSampler(*self._mix, seed=seed)
        return self._epoch_sampler

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """
        One batch forward and backward; what the model does not train yet in this epoch keeps no gradient.

        Raises:
            ValueError: If gradients shall be cached where the weights are cut into pieces.
        """
        if self.args.mini_batch_size is None:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            loss = self._cached_step(model, inputs)
        if self._epoch_sampler is None:
            return loss  # a stream has no epochs: nothing would ever be let go
        # Behind the backward pass, where every process has reduced what it waits for, and ahead of the clipping. An
        # optimizer passes over what has no gradient: no step, no decay.
        for parameter in self.accelerator.unwrap_model(self.model).frozen_parameters(int(self.state.epoch or 0)):
            parameter.grad = None
        return loss

    def _cached_step(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or self.args.n_gpu > 1:
            raise ValueError("--mini-batch-size works in one process or with DDP, one device each.")
        model.train()
        accumulated = self.current_gradient_accumulation_steps
        with self.accelerator.no_sync(model), self.compute_loss_context_manager():
            loss = cached_backward(
                model,
                self._prepare_inputs(inputs),
                mini_batch_size=self.args.mini_batch_size,
                backward=lambda loss: self.accelerator.backward(loss / accumulated),
            )
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1:
            average_gradients(model)
        return loss / accumulated

    @staticmethod
    def get_optimizer_cls_and_kwargs(
        args: PretrainingArguments, model: PreTrainedModel | None = None
    ) -> tuple[type[Optimizer], dict[str, Any]]:
        """The stock optimizer, or [`MuonAdamW`] where Muon has a learning rate."""
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if args.muon_learning_rate is not None:
            options = {name: value for name, value in options.items() if name != "fused"}
            return MuonAdamW, options
        return kind, options

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Optimizer:
        """
        The optimizer, with groups of their own for what has another learning rate or takes other steps.

        Raises:
            ValueError: If Muon is asked for where matrices are cut into pieces.
        """
        fresh = self.optimizer is None
        if fresh and self.args.muon_learning_rate is not None and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError("--muon-learning-rate needs whole matrices; FSDP and DeepSpeed cut them, use DDP.")
        optimizer = super().create_optimizer(*args, **kwargs)
        if fresh:
            self._split_groups(optimizer)
        return optimizer

    def _split_groups(self, optimizer: Optimizer) -> None:
        text_rate, muon_rate = self.args.text_learning_rate, self.args.muon_learning_rate
        if text_rate is not None:
            named = self.model.named_parameters()
            # Of the model within a `LowDataRecipe`, too.
            text = {parameter for name, parameter in named if name.removeprefix("model.").startswith("text_")}
            for group in list(optimizer.param_groups):
                _split_group(optimizer, group, text, lr=text_rate)
        if muon_rate is not None:
            matrices = hidden_matrices(self.model)
            for group in list(optimizer.param_groups):
                scale = group["lr"] / self.args.learning_rate  # below 1 in a text tower that shall keep what it knows
                _split_group(optimizer, group, matrices, lr=muon_rate * scale, orthogonal=True)

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        """Evaluation batches: as in training, but through `eval_collator`."""
        training_collator, self.data_collator = self.data_collator, self._eval_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training_collator

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """The mean loss of the validation batches and the measures of `evaluate_model`, under one prefix."""
        metrics = super().evaluate(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        # All processes, or none would have the pieces of the weights that the others hold.
        if self._evaluate_model is not None and (self.is_world_process_zero() or self.is_fsdp_enabled):
            measured = self._evaluate_model(self.accelerator.unwrap_model(self.model))
            measured = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
            self.log(measured)
            metrics |= measured
        return metrics


def _split_group(optimizer: Optimizer, group: dict[str, Any], chosen: set[Any], **options: Any) -> None:
    """Move the chosen parameters of a group to a new one with other options."""
    moved = [parameter for parameter in group["params"] if parameter in chosen]
    group["params"] = [parameter for parameter in group["params"] if parameter not in chosen]
    if moved:
        optimizer.add_param_group({**group, "params": moved, **options})


class _SetEpoch(TrainerCallback):
    """Tells the sampler its epoch before the batches of the epoch are drawn, resumed or not, whatever wraps it."""

    def __init__(self, trainer: PretrainingTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by `Trainer`; `state.epoch` is fractional when an epoch is resumed in its middle."""
        if self._trainer._epoch_sampler is not None:  # a stream has no epochs
            self._trainer._epoch_sampler.set_epoch(int(state.epoch or 0))
