"""A fresh text encoder learns to read, findings and their sides, before it tells a generator what to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch import nn
from tqdm.auto import tqdm

from ..data.collators import row_seed
from ..evaluation.finding_targets import PRESENT, UNKNOWN, learnable_labels, read_targets
from ..evaluation.metrics import auroc
from ..pipelines.text_conditioning import encode_tokens, mean_token, tokenize_prompts
from .captions import draw_caption
from .diffusion_draws import PairOrder
from .optimizers import build_optimizer
from .text_to_cxr_arguments import TextToCxrArguments


MIN_POSITIVES = 50
_TEXTS = ["id", "report", "findings", "impression"]


class FindingReader(nn.Module):
    """
    A text encoder and a linear layer on the mean of its tokens.

    Every token takes part in the mean, so that every token learns to carry what the caption says around it: negations
    and sides are resolved before the UNet reads.

    Args:
        text_encoder (`PreTrainedModel`): Trained in place.
        num_labels (`int`): Findings and sides.
    """

    def __init__(self, text_encoder: nn.Module, num_labels: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.classifier = nn.Linear(text_encoder.config.hidden_size, num_labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """
        What captions say.

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, length)`): Captions.
            attention_mask (`torch.Tensor` of shape `(batch_size, length)`): 1 for tokens, 0 for padding.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_labels)`: Logits.
        """
        tokens = encode_tokens(input_ids, self.text_encoder, attention_mask=attention_mask)
        return self.classifier(mean_token(tokens, attention_mask))


def teach_reading(
    text_encoder: Any, tokenizer: Any, train: Dataset, validation: Dataset | None, args: TextToCxrArguments
) -> dict[str, float]:
    """
    Train a text encoder for `args.reading_steps` to tell from captions what the images show.

    A fresh encoder's words are noise to the UNet for thousands of steps, while it learns to draw without them. What a
    caption leaves out stays a target: the encoder then says how likely it is.

    Args:
        text_encoder (`PreTrainedModel`): One that takes a mask; trained in place.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        train (`datasets.Dataset`): Pairs with labels.
        validation (`datasets.Dataset`, *optional*): Held-out pairs.
        args (`TextToCxrArguments`): Captions, optimisation.

    Returns:
        `dict`: `reading_loss` of the last tenth, and the `reading_macro_auroc` of held-out captions.

    Raises:
        ValueError: If no finding is frequent enough.
    """
    targets = read_targets(train, as_reported=True)
    labels = learnable_labels(targets, min_positives=MIN_POSITIVES)
    if not labels:
        raise ValueError(f"--reading-steps: no finding is in {MIN_POSITIVES} pairs; leave it out.")
    matrix = torch.from_numpy(np.stack([targets[label] for label in labels], axis=1))
    device = PartialState(cpu=args.use_cpu).device
    reader = FindingReader(text_encoder, len(labels)).to(device).train()
    optimizer = build_optimizer(reader, replace(args, text_learning_rate=None))
    order = PairOrder(train["labels"][:], balance=args.balance_findings, seed=args.seed)
    texts, size, losses = train.select_columns(_TEXTS), args.per_device_train_batch_size, []
    for step in tqdm(range(args.reading_steps), desc="reading", unit="step", disable=args.disable_tqdm):
        for group in optimizer.param_groups:  # linear to zero: the encoder's next lessons start from a settled state
            group.setdefault("peak", group["lr"])
            group["lr"] = group["peak"] * (1 - step / args.reading_steps)
        positions = range(step * size, (step + 1) * size)
        indices = [order[position] for position in positions]
        captions = _draw_captions(texts.select(indices), positions, args)
        logits = _read(reader, tokenizer, captions, args)
        losses.append(_known_loss(logits, matrix[indices].to(device)))
        losses[-1].backward()
        losses[-1] = losses[-1].detach()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), args.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    last = torch.stack(losses[-max(1, len(losses) // 10) :])
    metrics = {"reading_steps": args.reading_steps, "reading_loss": round(float(last.mean()), 5)}
    if validation is not None:
        metrics["reading_macro_auroc"] = round(_macro_auroc(reader.eval(), tokenizer, validation, labels, args), 5)
    return metrics


def _draw_captions(rows: Dataset, positions: Sequence[int], args: TextToCxrArguments) -> list[str]:
    streams = [np.random.default_rng(row_seed(args.seed, "reading", position)) for position in positions]
    return [
        draw_caption(row, column=args.captions, dropout=0.0, stream=stream)
        for row, stream in zip(rows, streams, strict=True)
    ]


def _read(reader: FindingReader, tokenizer: Any, captions: list[str], args: TextToCxrArguments) -> torch.Tensor:
    device = reader.classifier.weight.device
    tokens = tokenize_prompts(captions, tokenizer, reader.text_encoder)
    with torch.autocast(device.type, torch.bfloat16, enabled=args.mixed_precision == "bf16"):
        return reader(**{name: values.to(device) for name, values in tokens.items()}).float()


def _known_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    known = (targets != UNKNOWN).float()
    losses = nn.functional.binary_cross_entropy_with_logits(logits, targets.clamp(min=0).float(), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def _macro_auroc(
    reader: FindingReader, tokenizer: Any, validation: Dataset, labels: list[str], args: TextToCxrArguments
) -> float:
    targets, size = read_targets(validation, as_reported=True), args.per_device_train_batch_size
    captions = _draw_captions(validation.select_columns(_TEXTS), range(len(validation)), args)
    batches = [captions[start : start + size] for start in range(0, len(captions), size)]
    scores = np.concatenate([_read(reader, tokenizer, batch, args).cpu().numpy() for batch in batches])
    areas = []
    for index, label in enumerate(labels):
        known = targets[label] != UNKNOWN
        areas.append(auroc(targets[label][known] == PRESENT, scores[known, index]))
    return float(np.nanmean(areas))
