"""The batches of text-to-CXR training: which pair, which words, which noise and how much of it, from seed and step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler

from ..data.collators import DrawnDataset, row_seed
from .captions import CaptionColumn, draw_caption


class PairOrder:
    """
    Which pair is drawn at which position of the training, the same however often it is interrupted.

    Args:
        labels (`Sequence[Sequence[int]]`): Findings of every pair; read only when balanced.
        balance (`float`): 0 for every pair once an epoch; otherwise pairs are drawn with replacement, by the inverse
            frequency of their rarest finding to this power.
        seed (`int`): Names the orders.
    """

    def __init__(self, labels: Sequence[Sequence[int]], *, balance: float, seed: int) -> None:
        self.num_pairs = len(labels)
        self.seed = seed
        self.shares = _shares(labels, balance) if balance else None
        self._orders: dict[int, np.ndarray] = {}

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self.num_pairs)
        if epoch not in self._orders:
            # A batch may reach back into the epoch before.
            self._orders = {kept: self._order(kept) for kept in (epoch - 1, epoch) if kept >= 0}
        return int(self._orders[epoch][place])

    def _order(self, epoch: int) -> np.ndarray:
        stream = np.random.default_rng(row_seed(self.seed, "order", epoch))
        if self.shares is None:
            return stream.permutation(self.num_pairs)
        return stream.choice(self.num_pairs, size=self.num_pairs, p=self.shares)


class DiffusionDraws(torch.utils.data.Dataset):
    """
    Positions of the training to rows with a caption, a noise seed and a time.

    Args:
        rows (`datasets.Dataset`): Pairs.
        objective (`FlowMatching` or `Diffusion`): Draws the times.
        order (`PairOrder`): Of the rows.
        column (`str`): What is read, see [`draw_caption`].
        caption_dropout (`float`): Share of draws without a caption.
        seed (`int`): Names the draws.
        with_masks (`bool`, *optional*, defaults to `False`): Give the findings' masks, too, in `objects`.
    """

    def __init__(
        self,
        rows: Dataset,
        *,
        objective: Any,
        order: PairOrder,
        column: CaptionColumn,
        caption_dropout: float,
        seed: int,
        with_masks: bool = False,
    ) -> None:
        self.rows = DrawnDataset(rows, with_masks=with_masks)
        self.objective = objective
        self.order = order
        self.column = column
        self.caption_dropout = caption_dropout
        self.seed = seed

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """All rows of a batch at once; `DataLoader` calls this by itself."""
        indices = [self.order[position] for position in positions]
        return [
            self._draw(row, index, position)
            for row, index, position in zip(self.rows.__getitems__(indices), indices, positions, strict=True)
        ]

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.__getitems__([position])[0]

    def _draw(self, row: Mapping[str, Any], index: int, position: int) -> dict[str, Any]:
        stream = np.random.default_rng(row_seed(self.seed, row["id"], position))
        return {
            "index": index,
            "image": row["image"],
            "objects": row.get("objects"),
            "caption": draw_caption(row, column=self.column, dropout=self.caption_dropout, stream=stream),
            "time": self.objective.draw_time(stream),
            "noise_seed": int(stream.integers(2**63)),
        }


class RankSampler(Sampler[list[int]]):
    """
    Batches of positions for one process, from any step on.

    Args:
        batch_size (`int`): Positions per batch.
        first, last (`int`): Batches of this process, `last` not included.
        rank, num_processes (`int`): Which of how many.
    """

    def __init__(self, *, batch_size: int, first: int, last: int, rank: int, num_processes: int) -> None:
        self.batch_size = batch_size
        self.numbers = range(first * num_processes + rank, last * num_processes + rank, num_processes)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[list[int]]:
        for number in self.numbers:
            yield list(range(number * self.batch_size, (number + 1) * self.batch_size))


def seeded_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """
    Standard normal noise, image by image, so that it does not depend on the batch.

    Args:
        seeds (`Sequence[int]`): One per image.
        shape (`tuple[int, ...]`): Of one image.

    Returns:
        `torch.Tensor` of shape `(batch_size, *shape)`.
    """
    generator = torch.Generator()
    return torch.stack([torch.randn(shape, generator=generator.manual_seed(seed)) for seed in seeds])


def _shares(labels: Sequence[Sequence[int]], power: float) -> np.ndarray:
    counts: dict[int, int] = {}
    for row in labels:
        for label in row:
            counts[label] = counts.get(label, 0) + 1
    most = max(counts.values(), default=1)
    weights = np.array([max(((most / counts[label]) ** power for label in row), default=1.0) for row in labels])
    return weights / weights.sum()
