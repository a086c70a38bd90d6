"""A small simulated dataset that the tests of this folder share."""

from pathlib import Path

import numpy as np
import pytest
from datasets import disable_progress_bars

from synthcxr.data import Pair, build_pairs
from synthcxr.simulation import sample_cohort


disable_progress_bars()

NUM_STUDIES = 24


@pytest.fixture(scope="session")
def specs():
    return sample_cohort(NUM_STUDIES, preset="balanced", seed=3)


@pytest.fixture(scope="session")
def folder(specs, tmp_path_factory) -> Path:
    """A finished dataset of simulated pairs in three splits, two shards or more in `train`."""
    output_dir = tmp_path_factory.mktemp("simulated") / "pairs"
    splits = {"train": 0.5, "validation": 0.25, "test": 0.25}
    return build_pairs(specs, image_size=64, output_dir=output_dir, splits=splits, shard_size=6, progress=False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Tables that `load_dataset` derives go to a temporary folder, not to the user's."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")


@pytest.fixture
def pair_arguments():
    """What a valid pair is made of, to be changed by one value."""
    mask = np.zeros((40, 50), bool)
    mask[5:15, 10:30] = True
    return {
        "id": "row-7",
        "image": np.arange(2000, dtype=np.uint8).reshape(40, 50),
        "report": "FINDINGS: Left pleural effusion.\nIMPRESSION: Effusion.",
        "origin": "simulated",
        "source": "a-test@1",
        "labels": ["pleural_effusion"],
        "boxes": [[10, 5, 20, 10]],
        "box_categories": ["pleural_effusion"],
        "box_masks": [mask],
        "regions": {"left_lung": mask, "heart": ~mask},
        "entities": [("pleural effusion", "finding")],
        "age": 54.5,
        "seed": 2**62,
        "quality": {"image_quality": 0.5},
    }


@pytest.fixture
def pair(pair_arguments) -> Pair:
    return Pair(**pair_arguments)
