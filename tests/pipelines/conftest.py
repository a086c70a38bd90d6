"""The tiny pipelines, built once: tests that change one build their own."""

import pytest
import torch
from tiny_generators import tiny_bert_tokenizer, tiny_clip_tokenizer, tiny_flow_pipeline, tiny_stable_diffusion


@pytest.fixture(scope="session")
def bert_tokenizer():
    return tiny_bert_tokenizer()


@pytest.fixture(scope="session")
def clip_tokenizer():
    return tiny_clip_tokenizer()


@pytest.fixture(scope="session")
def flow_pipeline():
    """Ours. Read only."""
    return tiny_flow_pipeline()


@pytest.fixture(scope="session")
def stable_diffusion():
    """`diffusers`' own pipelines by version. Read only."""
    return {version: tiny_stable_diffusion(version) for version in (1, 2)}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tiny tensors on many threads are slow, and sums differ with the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
