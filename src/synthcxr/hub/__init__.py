"""Publishing: cards rendered from data, checks, and the folder that goes to the Hub."""

from .cards import render_dataset_card, render_model_card, save_card, set_repo_id
from .dataset_statistics import SplitStatistics, describe_dataset
from .generator_cards import render_adapter_card, render_pipeline_card
from .publish import Publication, publish
from .rendering import template_path


__all__ = [
    "Publication",
    "SplitStatistics",
    "describe_dataset",
    "publish",
    "render_adapter_card",
    "render_dataset_card",
    "render_model_card",
    "render_pipeline_card",
    "save_card",
    "set_repo_id",
    "template_path",
]
