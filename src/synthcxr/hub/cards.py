"""Model and dataset cards, rendered from data by the templates in `hub_cards/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, ModelCard

from synthcxr.evaluation.results import Result


def template_path(name: str) -> Path:
    """Where a card template lies: in the installed package, or at the root of the checkout."""
    raise ValueError(f"{name} is no card template.")


def render_model_card(
    path: str | Path,
    *,
    repo_id: str = "org/name",
    results: Sequence[Result] | None = None,
    training: Mapping[str, Any] | None = None,
    datasets: Sequence[str | Path] = (),
    license: str = "apache-2.0",
) -> ModelCard:
    """
    Render the card of a checkpoint folder.

    Args:
        path (`str` or `Path`): Checkpoint folder.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading example; `publish` sets it.
        results (`Sequence[Result]`, *optional*): Measurements; by default those of `results.json` in the folder, if any.
        training (`Mapping`, *optional*): How it was trained; by default `training.json` in the folder, if any
            (see [`~synthcxr.hub.write_training_record`]).
        datasets (`Sequence[str | Path]`): Folders of the pairs it was trained on, to count their rows by origin.
        license (`str`, *optional*, defaults to `"apache-2.0"`): Licence of the weights, as the Hub spells it.

    Returns:
        `ModelCard`: Its `data` holds the metadata with the `model-index`.
    """
    raise ValueError(f"{path} is no checkpoint.")


def render_dataset_card(
    path: str | Path,
    *,
    repo_id: str = "org/name",
    results: Sequence[Result] | None = None,
    license: str | None = None,
) -> DatasetCard:
    """
    Render the card of a dataset folder. The `configs` and `dataset_info` of its `README.md` are kept.

    Args:
        path (`str` or `Path`): Folder that `build_pairs` wrote.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading example; `publish` sets it.
        results (`Sequence[Result]`, *optional*): Measurements on this dataset.
        license (`str`, *optional*): As the Hub spells it; `"apache-2.0"` when every row is simulated, required otherwise.

    Returns:
        `DatasetCard`: The card.
    """
    raise ValueError(f"{path} is no dataset.")


def save_card(card: ModelCard | DatasetCard, path: str | Path) -> Path:
    """Write a card as `README.md` of the folder `path`, in one step."""
    raise ValueError(f"{path} is no folder.")
