"""Section matching: the text tower learns which findings lead to which impression, before it meets an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel

from ..data.collators import DrawnDataset, TokenCache, row_seed, select_sentences
from ..models import CxrProcessor
from .arguments import PretrainingArguments
from .trainers import PretrainingTrainer


def adapt_text_tower(
    model: PreTrainedModel, processor: CxrProcessor, train: Dataset, *, num_epochs: float, args: PretrainingArguments
) -> dict[str, float]:
    """
    Train the text tower and its projection on reports alone, in place.

    The loss is the model's own for wholes, between the FINDINGS of a report and some sentences of its IMPRESSION:
    radiology section matching (Boecking et al., ECCV 2022). An image tower that starts from random weights then meets
    texts that already lie apart by what they say; from two random towers, the pair learns little but healthy against
    ill at first.

    Args:
        model (`PreTrainedModel`): Dual encoder.
        processor (`CxrProcessor`): Its processor.
        train (`Dataset`): Pairs; rows without both sections are left out.
        num_epochs (`float`): Passes over the reports.
        args (`PretrainingArguments`): Gives batch size, learning rate, precision, device and seed.

    Returns:
        `dict[str, float]`: What the training reports, `train_loss` among it.

    Raises:
        ValueError: If fewer reports than a batch have both sections.
    """
    reports = train.filter(_has_both, input_columns=["findings", "impression"])
    if len(reports) < args.per_device_train_batch_size:
        raise ValueError(
            f"{len(reports)} of {len(train)} reports have findings and an impression; "
            f"section matching needs {args.per_device_train_batch_size}, a batch."
        )
    trainer = PretrainingTrainer(
        model=SectionMatchingModel(model),
        args=_arguments(args, num_epochs),
        train_dataset=DrawnDataset(reports),
        data_collator=SectionCollator(processor, max_length=processor.tokenizer.model_max_length, seed=args.seed),
    )
    return trainer.train().metrics


class SectionMatchingModel(nn.Module):
    """
    The loss of a dual encoder between two texts of a report.

    Args:
        model (`PreTrainedModel`): Dual encoder; only its text tower and text projection get gradients.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """None: two texts reach nothing that a model holds back."""
        return []

    def forward(
        self, findings: Mapping[str, torch.Tensor], impression: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """
        Compare findings with impressions.

        Args:
            findings (`Mapping[str, torch.Tensor]`):
                `input_ids` and `attention_mask` of shape `(batch_size, sequence_length)`.
            impression (`Mapping[str, torch.Tensor]`):
                The same of the same reports' impressions; their length may differ.
        """
        embeds = [
            nn.functional.normalize(self.model.get_text_features(**text), dim=-1) for text in (findings, impression)
        ]
        return {"loss": self.model.compute_global_loss(*embeds)}


class SectionCollator:
    """
    Rows to `findings` and `impression`, tokenised: all of the one, a random selection of sentences of the other.

    The selection follows from `(seed, row["id"], row["draw"])` alone, as in `PairCollator`. Short selections teach the
    tower what one sentence, such as a zero-shot prompt, says by itself.

    Args:
        processor (`CxrProcessor`): Gives the tokenizer.
        max_length (`int`): Longest text in tokens.
        seed (`int`, *optional*, defaults to 0): Names the streams.
    """

    def __init__(self, processor: CxrProcessor, *, max_length: int, seed: int = 0) -> None:
        self.tokens = TokenCache(processor.tokenizer, max_length=max_length)
        self.seed = seed

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, torch.Tensor]]:
        """A batch of two texts per report."""
        impressions = [
            select_sentences(row["impression"], row_seed(self.seed, row["id"], row.get("draw", 0))) for row in rows
        ]
        return {"findings": self.tokens([row["findings"] for row in rows]), "impression": self.tokens(impressions)}


def _has_both(findings: str | None, impression: str | None) -> bool:
    return bool(findings and findings.strip() and impression and impression.strip())


def _arguments(args: PretrainingArguments, num_epochs: float) -> PretrainingArguments:
    """Those of the run, but for its length and what it saves: a stopped adaptation is done again, in a minute."""
    kept = ("per_device_train_batch_size", "learning_rate", "muon_learning_rate", "weight_decay", "warmup_steps")
    kept += ("lr_scheduler_type", "max_grad_norm", "bf16", "fp16", "use_cpu", "seed", "data_seed", "disable_tqdm")
    kept += ("dataloader_num_workers",)
    return PretrainingArguments(
        output_dir=args.output_dir,
        ddp_find_unused_parameters=True,  # images take no part
        num_train_epochs=num_epochs,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        **{name: getattr(args, name) for name in kept},
    )
