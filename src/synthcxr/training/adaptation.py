"""What adapting either kind of encoder takes: settings, rows, and a run that can be stopped and gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from datasets import Dataset, concatenate_datasets
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from transformers import Trainer

from ..data.pairs import load_pairs
from ..data.whole_files import write_json
from .arguments import PretrainingArguments
from .pretrain import last_whole_checkpoint
from .run_records import refuse_other_settings
from .trainers import PretrainingTrainer


RECORD_NAME = "adaptation.json"


@dataclass
class AdaptationScriptArguments:
    """What to adapt to what. How to train is [`PretrainingArguments`]."""

    dataset: list[str] = field(metadata={"help": "Folders or Hub ids of pairs; only one half of them is read."})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Encoder to start from, a folder or Hub id; a fresh one when absent."}
    )
    model_size: Literal["tiny", "base"] = field(
        default="tiny", metadata={"help": "Size of a fresh encoder: tiny (trains on a CPU) or base."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Commit of the pairs; pin it to publish."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on the first so many rows only."})
    max_eval_samples: int | None = field(default=512, metadata={"help": "Hold out so many rows of the validation."})


class AdaptationTrainer(PretrainingTrainer):
    """Trains one encoder on one half of the pairs: the draws of [`PretrainingTrainer`], the steps of `Trainer`."""

    # A language model of `transformers` divides by its hidden words itself: let `Trainer` find out.
    loss_is_scaled_for_ga = None

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """One batch forward and backward; nothing is held back, and a loss per row needs no large batch."""
        return Trainer.training_step(self, model, inputs, num_items_in_batch)

    def get_eval_dataloader(self, eval_dataset: str | TorchDataset | None = None) -> DataLoader:
        """All held-out rows: a loss per row minds no short batch."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last


class RowSettings(Protocol):
    """Which rows of which datasets; [`AdaptationScriptArguments`] is one."""

    dataset: list[str]
    dataset_revision: str | None
    max_train_samples: int | None
    max_eval_samples: int | None


def load_rows(script_args: RowSettings, split: str) -> Dataset | None:
    """
    The rows of a split of all datasets, cut to what is asked for; nothing where only training may lack none.

    Args:
        script_args (`RowSettings`): Names the datasets.
        split (`str`): `"train"`, or `"validation"`, which a dataset may lack.
    """
    parts = [
        load_pairs(name, split=split, revision=script_args.dataset_revision, optional=split != "train")
        for name in script_args.dataset
    ]
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    rows = concatenate_datasets(parts)
    limit = script_args.max_train_samples if split == "train" else script_args.max_eval_samples
    return rows if limit is None else rows.select(range(min(limit, len(rows))))


def run_adaptation(
    script_args: AdaptationScriptArguments,
    training_args: PretrainingArguments,
    *,
    build_trainer: Callable[[], AdaptationTrainer],
    save: Callable[[AdaptationTrainer, Path], None],
) -> dict[str, Any]:
    """
    Train, measure on held-out rows, save; or go on where a stopped run of the same settings was.

    Args:
        script_args (`AdaptationScriptArguments`): Become part of the record.
        training_args (`PretrainingArguments`): Optimisation.
        build_trainer (`Callable[[], AdaptationTrainer]`): Called unless the folder holds the finished run.
        save (`Callable[[AdaptationTrainer, Path], None]`): Writes the encoder.

    Returns:
        `dict`: The record: `request`, `num_rows`, `metrics`, `runtime_seconds`, `resumed_from`, `finished`.

    Raises:
        ValueError: If the folder holds a run of other settings, or gradients shall be cached.
    """
    if training_args.mini_batch_size is not None:
        raise ValueError("--mini-batch-size is for pairs; use --gradient-accumulation-steps.")
    output_dir = Path(training_args.output_dir)
    request = _request(script_args, training_args)
    record = {"request": request, "finished": False}
    if (output_dir / RECORD_NAME).exists():
        previous = json.loads((output_dir / RECORD_NAME).read_text())
        refuse_other_settings(output_dir, previous["request"], request)
        if previous["finished"]:
            return previous
    trainer = build_trainer()
    output_dir.mkdir(parents=True, exist_ok=True)
    write_json(output_dir / RECORD_NAME, record)

    checkpoint = training_args.resume_from_checkpoint or last_whole_checkpoint(
        output_dir, num_processes=training_args.world_size
    )
    started = time.perf_counter()
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if trainer.eval_dataset is not None:
        metrics |= trainer.evaluate()
    if trainer.is_world_process_zero():
        save(trainer, output_dir)
        record |= {
            "num_rows": len(trainer.train_dataset),
            "metrics": metrics,
            "runtime_seconds": round(time.perf_counter() - started, 1),
            "resumed_from": checkpoint and Path(checkpoint).name,
            "finished": True,
        }
        write_json(output_dir / RECORD_NAME, record)
    return record


def _request(script_args: AdaptationScriptArguments, training_args: PretrainingArguments) -> dict[str, Any]:
    """What makes a run another run."""
    names = ("learning_rate", "weight_decay", "warmup_steps", "lr_scheduler_type", "max_grad_norm", "num_train_epochs")
    names += ("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "muon_learning_rate")
    names += ("bf16", "fp16", "seed", "data_seed", "optim")
    settings = {name: getattr(training_args, name) for name in names} | {"num_processes": training_args.world_size}
    return json.loads(json.dumps(asdict(script_args) | settings, default=str))
