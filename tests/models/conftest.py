"""One small model of every kind, and a batch that fits it."""

import pytest
import torch
from tiny_models import FAMILIES, make_batch, make_model


@pytest.fixture(params=FAMILIES)
def family(request):
    """The name of a model and of its variant."""
    return request.param


@pytest.fixture
def model(family):
    """In eval mode, with random weights."""
    return make_model(family).eval()


@pytest.fixture
def batch():
    """Three pairs; the second text is the longest."""
    return make_batch()


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors on many threads are slow, and sums differ with the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
