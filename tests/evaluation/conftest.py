"""What the tests of this floor share."""

import pytest
from evaluation.known_encoders import PerfectEncoder, make_dataset, make_rows
from tiny_artefacts import checkpoint as checkpoint
from tiny_artefacts import dataset_folder as dataset_folder


@pytest.fixture(scope="session")
def dataset():
    return make_dataset(make_rows())


@pytest.fixture
def perfect(dataset):
    return PerfectEncoder(dataset)
