"""The pairs of a run: which datasets, what share each has of the training, what is held out."""

from __future__ import annotations

import logging
from itertools import chain
from typing import NamedTuple

from datasets import Dataset, concatenate_datasets

from ..data.mixing import StreamedPairs, mix_of
from ..data.pairs import load_pairs
from ..data.schema import ORIGINS, PAIR_FEATURES
from .arguments import PretrainingScriptArguments


logger = logging.getLogger(__name__)

# Of a stream, the tokenizer reads so many reports.
STREAMED_TEXTS = 20_000


class Splits(NamedTuple):
    """
    What a run learns from and what it is measured on while it learns.

    Args:
        train (`Dataset` or `StreamedPairs`): All training pairs, dataset behind dataset.
        validation (`Dataset`, *optional*): Pairs of the validation splits, where there are any.
        sizes (`dict[str, int]`): Training pairs of each dataset, in their order; empty for streams.
    """

    train: Dataset | StreamedPairs
    validation: Dataset | None
    sizes: dict[str, int]


def load_splits(script_args: PretrainingScriptArguments) -> Splits:
    """
    The training pairs and, where there are any, the validation pairs of all datasets together.

    Args:
        script_args (`PretrainingScriptArguments`): Names the datasets.

    Raises:
        ValueError: If a dataset cannot be used, or one of `--real-dataset` holds a pair that is not real.
    """
    if script_args.streaming:
        return Splits(_load_streams(script_args), _stream_validation(script_args), {})
    validation = _load_parts(script_args, "validation")
    limit = script_args.max_eval_samples
    validation = None if not validation else _head(concatenate_datasets(list(validation.values())), limit)

    parts = _load_parts(script_args, "train")
    left = script_args.max_train_samples
    for name, part in parts.items():
        parts[name] = _head(part, left)
        left = None if left is None else max(left - len(part), 0)
    train = concatenate_datasets(list(parts.values()))
    if script_args.shuffle_pairs:
        train = _shuffle_pairs(train)
    return Splits(train, validation, {name: len(part) for name, part in parts.items()})


def read_texts(train: Dataset | StreamedPairs) -> list[str]:
    """
    The distinct reports that a fresh tokenizer learns from; of streams, those of the first pairs.

    Args:
        train (`Dataset` or `StreamedPairs`): From [`load_splits`].
    """
    if isinstance(train, StreamedPairs):
        first = chain.from_iterable(stream.take(STREAMED_TEXTS // len(train.datasets)) for stream in train.datasets)
        return list(dict.fromkeys(row["report"] for row in first))
    return train.unique("report")


def describe_mix(splits: Splits, script_args: PretrainingScriptArguments) -> dict[str, dict[str, float | str]]:
    """
    What the record says of each dataset: `num_pairs`, its `share` of what is drawn and the `origin` of its pairs.

    Args:
        splits (`Splits`): From [`load_splits`].
        script_args (`PretrainingScriptArguments`): Holds the weights.
    """
    if isinstance(splits.train, StreamedPairs):
        names = [*script_args.dataset, *script_args.real_dataset]
        return {name: {"share": float(share)} for name, share in zip(names, splits.train.shares, strict=True)}
    described = mix_of(splits.sizes, script_args.mix)
    start = 0
    for name, size in splits.sizes.items():
        found = splits.train.select(range(start, start + size)).unique("origin")
        described[name]["origin"] = "+".join(sorted(ORIGINS[origin] for origin in found))
        start += size
    return described


def _load_parts(script_args: PretrainingScriptArguments, split: str) -> dict[str, Dataset]:
    parts = {}
    for name in (*script_args.dataset, *script_args.real_dataset):
        part = load_pairs(name, split=split, revision=script_args.dataset_revision, optional=split != "train")
        if part is None:
            continue
        if name in script_args.real_dataset and set(part.unique("origin")) - {ORIGINS.index("real")}:
            raise ValueError(f"{name} ({split}) has pairs that are not real; name it with --dataset.")
        parts[name] = part.filter(lambda text: bool(text.strip()), input_columns=script_args.text_column)
    return parts


def _load_streams(script_args: PretrainingScriptArguments) -> StreamedPairs:
    names = (*script_args.dataset, *script_args.real_dataset)
    streams = [load_pairs(name, streaming=True, revision=script_args.dataset_revision) for name in names]
    real = [name in script_args.real_dataset for name in names]
    return StreamedPairs(streams, script_args.mix, must_be_real=real, text_column=script_args.text_column)


def _stream_validation(script_args: PretrainingScriptArguments) -> Dataset | None:
    """The first validation pairs of every dataset, as many of each: nothing else is fetched or stored."""
    names = (*script_args.dataset, *script_args.real_dataset)
    options = {"split": "validation", "streaming": True, "optional": True, "revision": script_args.dataset_revision}
    streams = [stream for stream in (load_pairs(name, **options) for name in names) if stream is not None]
    if not streams:
        return None
    first = [row for stream in streams for row in stream.take(script_args.max_eval_samples // len(streams))]
    return Dataset.from_list([row for row in first if row[script_args.text_column].strip()], features=PAIR_FEATURES)


def _head(pairs: Dataset, limit: int | None) -> Dataset:
    return pairs if limit is None else pairs.select(range(min(limit, len(pairs))))


def _shuffle_pairs(pairs: Dataset) -> Dataset:
    """Every image gets the report of the study half the dataset further on: the texts stay, the pairing goes."""
    texts = ["report", "findings", "impression"]
    offset = len(pairs) // 2
    order = [(index + offset) % len(pairs) for index in range(len(pairs))]
    moved = pairs.select_columns(texts).select(order)
    return concatenate_datasets([pairs.remove_columns(texts), moved], axis=1)
