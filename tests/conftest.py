"""Fixtures that every test shares."""

import os
from pathlib import Path

import pytest


os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

# Runs inside a copy of transformers' own tests, which a slow test builds.
collect_ignore = ["models/upstream_suite.py"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images and reports for measuring; they are no part of the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("real images and reports (../shared/data) are not on this machine")
    return path


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory) -> Path:
    """A small dataset of simulated studies, built once."""
    from synthcxr.data.build_pairs import build_pairs
    from synthcxr.simulation import sample_cohort

    folder = tmp_path_factory.mktemp("pairs")
    splits = {"train": 0.6, "validation": 0.2, "test": 0.2}
    cohort = sample_cohort(120, preset="balanced", seed=3)
    return build_pairs(cohort, image_size=64, output_dir=folder, splits=splits, regions=("heart",), progress=False)
