"""Publishing: cards rendered from data, checks, and the folder that goes to the Hub."""

from .cards import render_dataset_card, render_model_card, save_card, set_repo_id, template_path
from .dataset_statistics import SplitStatistics, describe_dataset
from .publish import Publication, publish


__all__ = [
    "Publication",
    "SplitStatistics",
    "describe_dataset",
    "publish",
    "render_dataset_card",
    "render_model_card",
    "save_card",
    "set_repo_id",
    "template_path",
]
