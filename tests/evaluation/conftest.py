"""What the tests of this floor share."""

import pytest
from evaluation.known_encoders import PerfectEncoder, make_dataset, make_rows
from tiny_artefacts import checkpoint as checkpoint
from tiny_artefacts import dataset_folder as dataset_folder
from transformers import AutoProcessor, set_seed

from synthcxr.evaluation import load_encoder
from synthcxr.models import GloriaConfig, GloriaModel, set_word_pieces


@pytest.fixture(scope="session")
def dataset():
    return make_dataset(make_rows())


@pytest.fixture
def perfect(dataset):
    return PerfectEncoder(dataset)


@pytest.fixture(scope="session")
def gloria(checkpoint):
    """An encoder that compares images with texts region by region; random weights."""
    processor = AutoProcessor.from_pretrained(checkpoint)
    set_seed(0)
    model = GloriaModel(GloriaConfig.tiny(vocab_size=len(processor.tokenizer)))
    set_word_pieces(model, processor.tokenizer)
    return load_encoder(model, processor, batch_size=3)
