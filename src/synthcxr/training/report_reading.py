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
from ..pipelines import CxrSynthesisPipeline
from ..pipelines.text_conditioning import encode_tokens, mean_token, tokenize_prompts
from .captions import draw_caption
from .diffusion_draws import PairOrder
from .optimizers import build_optimizer
from .text_to_cxr_arguments import TextToCxrArguments


MIN_POSITIVES = 50
_CAPTIONS_FOR_STATISTICS = 2048
_READ_AT_ONCE = 128
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
        return self.classifier(self.read(input_ids, attention_mask))

    def read(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch_size, length)` to the mean token, `(batch_size, hidden_size)`."""
        return mean_token(encode_tokens(input_ids, self.text_encoder, attention_mask=attention_mask), attention_mask)


def teach_reading(
    pipeline: CxrSynthesisPipeline, train: Dataset, validation: Dataset | None, args: TextToCxrArguments
) -> dict[str, float]:
    """
    Train a text encoder for `args.reading_steps` to tell from captions what the images show, and tell the UNet.

    A fresh encoder's words are noise to the UNet for thousands of steps, while it learns to draw without them. What a
    caption leaves out stays a target: the encoder then says how likely it is. Afterwards the UNet begins with what the
    encoder can say, see [`hand_over`].

    Args:
        pipeline (`CxrSynthesisPipeline`): Its text encoder, a BERT, is trained in place, with its tokenizer.
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
    tokenizer = pipeline.tokenizer
    reader = FindingReader(pipeline.text_encoder, len(labels)).to(device).train()
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
    positions = range(args.reading_steps * size, args.reading_steps * size + _CAPTIONS_FOR_STATISTICS)
    captions = _draw_captions(texts.select([order[position] for position in positions]), positions, args)
    hand_over(reader.eval(), pipeline.unet.class_embedding.linear_1, tokenizer, captions)
    last = torch.stack(losses[-max(1, len(losses) // 10) :])
    metrics = {"reading_steps": args.reading_steps, "reading_loss": round(float(last.mean()), 5)}
    if validation is not None:
        metrics["reading_macro_auroc"] = round(_macro_auroc(reader, tokenizer, validation, labels, args), 5)
    return metrics


@torch.no_grad()
def hand_over(reader: FindingReader, layer: nn.Linear, tokenizer: Any, captions: list[str]) -> None:
    """
    Let the layer through which a UNet reads the mean token begin with the findings that a reader tells from it.

    Mean tokens of different captions are nearly the same: the side of an effusion is a thirtieth of their length. So
    what is common to all captions is taken off every token, in the bias of the encoder's last normalisation, and the
    first units of the layer are the reader's logits, with the variance 1, once upwards and once downwards.

    Args:
        reader (`FindingReader`): That has learnt.
        layer (`nn.Linear`): From the mean token; changed in place, as are the reader's tokens and classifier.
        tokenizer (`PreTrainedTokenizerBase`): Of the reader.
        captions (`list[str]`): What is common is measured on them.
    """
    device = reader.classifier.weight.device
    batches = [captions[start : start + _READ_AT_ONCE] for start in range(0, len(captions), _READ_AT_ONCE)]
    tokens = [tokenize_prompts(batch, tokenizer, reader.text_encoder) for batch in batches]
    means = torch.cat([reader.read(**{name: ids.to(device) for name, ids in batch.items()}) for batch in tokens])
    common = means.mean(dim=0)
    reader.text_encoder.encoder.layer[-1].output.LayerNorm.bias -= common
    reader.classifier.bias += reader.classifier.weight @ common
    rows = reader.classifier.weight / (means @ reader.classifier.weight.T).std(dim=0).clamp(min=1e-3)[:, None]
    rows = torch.cat([rows, -rows])[: len(layer.weight)]
    layer.weight[: len(rows)] = rows.to(layer.weight.device)
    layer.bias[: len(rows)] = 0


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
