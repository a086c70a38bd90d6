"""Rows: the schema of a pair, reading radiographs, building and loading datasets, batches for training."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .build_pairs import build_pairs
from .pairs import load_pairs
from .reading import read_radiograph
from .schema import PAIR_FEATURES, Pair
from .shipped import shipped_checkpoint
from .sources import load_kermany_pediatric, load_nih_chestxray14, prepare_source
from .splitting import split_by_patient


# These need torch; building and loading datasets do not.
_NEED_TORCH = {
    "DrawnDataset": "collators",
    "EpochSampler": "collators",
    "MixedSampler": "mixing",
    "PairCollator": "collators",
    "RadiographAugmentation": "transforms",
    "StreamedPairs": "mixing",
}

__all__ = [
    "PAIR_FEATURES",
    "DrawnDataset",
    "EpochSampler",
    "MixedSampler",
    "Pair",
    "PairCollator",
    "RadiographAugmentation",
    "StreamedPairs",
    "build_pairs",
    "load_kermany_pediatric",
    "load_nih_chestxray14",
    "load_pairs",
    "prepare_source",
    "read_radiograph",
    "shipped_checkpoint",
    "split_by_patient",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_NEED_TORCH[name]}", __name__), name)
