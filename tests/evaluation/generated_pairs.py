"""Pairs that pass for generated ones, and a classifier too small to be good."""

import numpy as np
from datasets import Dataset, Features
from transformers import ResNetConfig, set_seed

from synthcxr.data.pairs import load_pairs
from synthcxr.data.schema import ORIGINS, PAIR_FEATURES, Pair
from synthcxr.evaluation.finding_targets import all_labels
from synthcxr.evaluation.image_features import FeatureExtractor
from synthcxr.models import CxrClassificationConfig, CxrForImageClassification, CxrImageProcessor


def make_pairs(*fields, image_size=(20, 20)):
    """One row per set of fields of a `Pair`."""
    random = np.random.default_rng(0)
    rows = []
    for index, given in enumerate(fields):
        pixels = random.integers(0, 256, image_size, dtype=np.uint8)
        usual = {"id": f"row-{index}", "image": pixels, "report": f"Report {index}.", "origin": "simulated"}
        rows.append(Pair(**{**usual, "source": "test", "study_id": f"study-{index}", **given}).to_row())
    return Dataset.from_list(rows, features=Features(PAIR_FEATURES))


def as_generated(pairs_folder, split, *, times=1, **fields):
    """The rows of a split as if a generator had drawn them from their reports, perfectly."""
    rows = []
    for time in range(times):
        for row in load_pairs(pairs_folder, split).to_list():
            drawn = {"id": f"drawn-{time}-{row['id']}", "origin": ORIGINS.index("synthetic"), "prompt": row["report"]}
            rows.append(row | drawn | {"source": "generator@1", **fields})
    return Dataset.from_list(rows, features=Features(PAIR_FEATURES))


def save_pairs(dataset, folder, split="train"):
    (folder / "data").mkdir(parents=True)
    dataset.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def make_classifier(image_size=64):
    set_seed(0)
    tower = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    config = CxrClassificationConfig.of_labels(list(all_labels()), vision_config=tower)
    return CxrForImageClassification(config).eval(), CxrImageProcessor(size=image_size)


def make_extractor():
    return FeatureExtractor(*make_classifier(), name="tiny")
