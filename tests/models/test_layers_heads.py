"""Projections of words: normalised over words, never over padding."""

import copy

import pytest
import torch
from torch import nn

from synthcxr.models.layers_heads import ProjectionHead, WordProjectionHead


@pytest.fixture
def heads():
    """One for words and one for rows without padding, of the same weights."""
    torch.manual_seed(0)
    plain = ProjectionHead(6, 4, hidden_dim=8, norm=True).train()
    words = WordProjectionHead(6, 4, hidden_dim=8, norm=True).train()
    words.load_state_dict(plain.state_dict())
    return plain, words


def test_padding_takes_no_part_in_the_statistics(heads):
    """Values, gradients and running statistics are those of the words alone."""
    plain, words = heads
    states = torch.randn(20, 6, generator=torch.Generator().manual_seed(1)) * 3 + 1
    mask = torch.arange(20) % 3 > 0
    expected = plain(states[mask])
    given = words(states, mask.long())[mask]
    torch.testing.assert_close(given, expected)
    for output in (expected, given):
        output.pow(3).sum().backward()
    for (name, one), other in zip(plain.named_parameters(), words.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-4, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(words.state_dict()[name], value, msg=name)


def test_what_stands_at_padding_changes_nothing(heads):
    _, words = heads
    states = torch.randn(20, 6)
    mask = torch.arange(20) < 12
    before = copy.deepcopy(words)(states, mask.long())[:12]
    states[12:] = 100.0
    assert torch.equal(words(states, mask.long())[:12], before)


def test_predictions_use_the_running_statistics(heads):
    plain, words = heads
    states = torch.randn(5, 6)
    torch.testing.assert_close(words.eval()(states, torch.zeros(5)), plain.eval()(states))


def test_half_precision_is_normalised_in_single(heads):
    _, words = heads
    words = words.bfloat16()
    output = words((torch.randn(64, 6) + 50).bfloat16(), torch.ones(64))
    assert output.dtype == torch.bfloat16
    assert output.float().mean(dim=0).abs().max() < 0.02


def test_without_normalisation_it_is_a_plain_head():
    head = WordProjectionHead(6, 4, hidden_dim=8)
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in head)
    torch.testing.assert_close(head(torch.ones(3, 6), torch.ones(3)), nn.Sequential(*head)(torch.ones(3, 6)))


def test_a_norm_that_would_count_padding_is_refused(heads):
    """`convert_sync_batchnorm` takes a norm of words for any other."""
    _, words = heads
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(words)
    with pytest.raises(ValueError, match="A SyncBatchNorm counts padding as words; expected a WordBatchNorm"):
        converted(torch.randn(6, 6), torch.ones(6))
