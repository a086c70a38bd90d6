"""Publishing: cards rendered from data, checks, and the folder that goes to the Hub."""

from .cards import render_dataset_card, render_model_card, save_card
from .checkpoints import read_training_record, write_training_record
from .dataset_statistics import SplitStatistics, describe_dataset
from .publish import Publication, publish


__all__ = [
    "Publication",
    "SplitStatistics",
    "describe_dataset",
    "publish",
    "read_training_record",
    "render_dataset_card",
    "render_model_card",
    "save_card",
    "write_training_record",
]
