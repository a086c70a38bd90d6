"""Several datasets in one training, each with its share: the order follows from the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Image, IterableDataset
from torch.utils.data import IterableDataset as TorchIterableDataset
from torch.utils.data import Sampler

from .collators import TRAINING_COLUMNS, row_seed
from .schema import ORIGINS


_REAL = ORIGINS.index("real")


class MixedSampler(Sampler[int]):
    """
    The order of an epoch over several datasets that lie one behind the other in a `DrawnDataset`.

    An epoch has as many pairs as all datasets together; every dataset fills its share of it, spread evenly, so that
    every batch has the mix. A dataset that is too small for its share is read again in another order and, since rows
    carry their draw, with other augmentation; one that is too large goes on in the next epoch where it stopped.

    Args:
        sizes (`Sequence[int]`): Rows of each dataset, in their order.
        weights (`Sequence[float]`): Share of each, in any unit; 0 leaves a dataset out.
        seed (`int`, *optional*, defaults to 0): Names the orders.

    Raises:
        ValueError: If weights and sizes do not fit each other, or nothing has a share.

    Example:

    ```python
    >>> from synthcxr.data import MixedSampler

    >>> sampler = MixedSampler([6, 2], [1, 1])
    >>> [index % 8 < 6 for index in sampler]
    [True, False, True, False, True, False, True, False]

    ```
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], *, seed: int = 0) -> None:
        self.shares = check_shares(sizes, weights)
        self.sizes = tuple(sizes)
        self.seed = seed
        self.epoch = 0
        self.counts = _apportion(sum(sizes), self.shares)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self.sizes)

    def __iter__(self) -> Iterator[int]:
        offsets = np.cumsum([0, *self.sizes])
        indices, places = [], []
        for dataset, (size, count) in enumerate(zip(self.sizes, self.counts, strict=True)):
            if count == 0:
                continue
            draws, rows = divmod(np.arange(count) + self.epoch * count, size)
            orders = {draw: self._order(dataset, draw) for draw in range(draws[0], draws[-1] + 1)}
            rows = np.concatenate([orders[draw][rows[draws == draw]] for draw in orders])
            indices.append(draws * len(self) + offsets[dataset] + rows)
            places.append((np.arange(count) + 0.5) / count)
        yield from np.concatenate(indices)[np.argsort(np.concatenate(places), kind="stable")].tolist()

    def _order(self, dataset: int, draw: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(row_seed(self.seed, f"order {dataset}", draw))
        return torch.randperm(self.sizes[dataset], generator=generator).numpy()


class StreamedPairs(TorchIterableDataset):
    """
    Pairs of one or several streamed datasets, without end: train on them for so many steps.

    The dataset that lags most behind its share gives the next row; one that ends begins anew, shuffled otherwise. As
    in a `DrawnDataset`, rows carry how often their dataset was begun as `draw`.

    Args:
        datasets (`Sequence[IterableDataset]`): Streams of pairs.
        weights (`Sequence[float]`, *optional*): Share of each, in any unit; equal ones by default.
        must_be_real (`Sequence[bool]`, *optional*): Of which datasets every row must be real.
        text_column (`str`, *optional*, defaults to `"report"`): Rows without words in it are passed over.
        seed (`int`, *optional*, defaults to 0): Names the orders.
        buffer_size (`int`, *optional*, defaults to 1024): Rows among which the next is drawn, per dataset.

    Raises:
        ValueError: If weights and datasets do not fit each other, or, when read, a dataset gives no row, or one
            that should be real and is not.
    """

    def __init__(
        self,
        datasets: Sequence[IterableDataset],
        weights: Sequence[float] | None = None,
        *,
        must_be_real: Sequence[bool] = (),
        text_column: str = "report",
        seed: int = 0,
        buffer_size: int = 1024,
    ) -> None:
        self.shares = check_shares([1] * len(datasets), [1.0] * len(datasets) if weights is None else weights)
        self.seed = seed
        self.must_be_real = tuple(must_be_real) or (False,) * len(datasets)
        self.datasets = [
            dataset.select_columns([*TRAINING_COLUMNS, "origin"])  # first: what is left is not decoded
            .cast_column("image", Image(mode="L", decode=False))
            .filter(lambda text: bool(text.strip()), input_columns=text_column)
            .shuffle(seed=seed, buffer_size=buffer_size)
            for dataset in datasets
        ]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        streams = [self._rows(index) for index in range(len(self.datasets))]
        given = np.zeros(len(streams))
        while True:
            behind = self.shares * (given.sum() + 1) - given
            chosen = int(behind.argmax())
            given[chosen] += 1
            yield next(streams[chosen])

    def _rows(self, index: int) -> Iterator[dict[str, Any]]:
        draw = 0
        while True:
            self.datasets[index].set_epoch(draw)
            row = None
            for row in self.datasets[index]:
                if self.must_be_real[index] and row["origin"] != _REAL:
                    raise ValueError(f"Pair {row['id']!r} is not real; name its dataset with --dataset.")
                yield row | {"draw": draw}
            if row is None:
                raise ValueError(
                    f"Dataset {index + 1} of {len(self.datasets)} gives no row to a data loader worker; use no more "
                    "workers than it has files."
                )
            draw += 1


def check_shares(sizes: Sequence[int], weights: Sequence[float]) -> np.ndarray:
    """
    Weights as shares `(num_datasets,)` that sum to 1.

    Args:
        sizes (`Sequence[int]`): Rows of each dataset.
        weights (`Sequence[float]`): Weight of each.

    Raises:
        ValueError: If there are not as many, one is below 0, all are 0, or a dataset without rows has a share.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if len(shares) != len(sizes):
        raise ValueError(f"{len(shares)} weights for {len(sizes)} datasets; expected one each.")
    if not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() == 0:
        raise ValueError(f"weights are {list(weights)}; expected numbers of 0 or more, not all 0.")
    if any(size < 1 and share > 0 for size, share in zip(sizes, shares, strict=True)):
        raise ValueError(f"datasets of {list(sizes)} rows have weights {list(weights)}; an empty one has no share.")
    return shares / shares.sum()


def mix_of(sizes: Mapping[str, int], weights: Sequence[float] | None) -> dict[str, dict[str, float]]:
    """What a training reads of each dataset: `num_pairs` that it has, `share` of the pairs that are drawn."""
    shares = check_shares(list(sizes.values()), list(sizes.values()) if weights is None else weights)
    return {
        name: {"num_pairs": size, "share": round(float(share), 6)}
        for (name, size), share in zip(sizes.items(), shares, strict=True)
    }


def _apportion(total: int, shares: np.ndarray) -> list[int]:
    """Whole numbers that sum to `total`, by the largest remainder."""
    exact = total * shares
    counts = np.floor(exact).astype(int)
    left = np.argsort(counts - exact, kind="stable")[: total - counts.sum()]
    counts[left] += 1
    return counts.tolist()
