"""
What a training step spends beside the towers, against the straightforward way.

Equality and a loose floor of the ratio of CPU times are asserted; the ratio is reported: add
`-o log_cli=true --log-cli-level=INFO`.
"""

import logging
import time
from statistics import median

import pytest
import torch

from synthcxr.data.collators import TokenCache
from synthcxr.reports import write_report
from synthcxr.simulation import sample_cohort
from synthcxr.training.optimizers import orthogonalise
from synthcxr.training.tokenizer import train_tokenizer


logger = logging.getLogger(__name__)

NUM_PAIRS = 5


def plain_iteration(matrix):
    """Muon's Newton-Schulz iteration as it is published, on the matrix itself."""
    result = matrix / matrix.norm()
    for _ in range(5):
        gram = result @ result.T
        result = torch.addmm(result, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), result, beta=3.4445)
    return result


def compare(plain, fast, record_property, what, *, floor):
    """Interleaved; both once before. `floor` leaves room for a busy machine."""
    plain(), fast()
    ratios = []
    for _ in range(NUM_PAIRS):
        started = time.process_time()
        plain()
        between = time.process_time()
        fast()
        ratios.append((between - started) / (time.process_time() - between))
    logger.info("%s: %.1f times less CPU time (%.1f to %.1f)", what, median(ratios), min(ratios), max(ratios))
    record_property("ratio", median(ratios))
    assert max(ratios) > floor


@pytest.mark.parametrize("channels", [64, 128])
def test_orthogonalising_a_kernel_through_its_gram_matrix(channels, record_property):
    kernel = torch.randn(channels, channels * 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(kernel), plain_iteration(kernel), atol=1e-4, rtol=0)
    repeats = max(1, (256 // channels) ** 2)

    def times(function):
        return lambda: [function(kernel) for _ in range(repeats)]

    what = f"kernel {channels}x{channels}x3x3"
    compare(times(plain_iteration), times(orthogonalise), record_property, what, floor=1.1)


def test_tokens_of_texts_that_were_read_before(record_property):
    texts = [write_report(spec) for spec in sample_cohort(128, preset="balanced", seed=0)]
    tokenizer = train_tokenizer(texts, vocab_size=500)
    cache = TokenCache(tokenizer, max_length=96)

    def plain():
        return tokenizer(texts, padding=True, truncation=True, max_length=96, return_tensors="pt")

    assert cache(texts)["input_ids"].equal(plain()["input_ids"])
    compare(plain, lambda: cache(texts), record_property, "tokens of 128 reports", floor=10)
