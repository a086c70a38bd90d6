"""The loss of telling where findings are."""

import pytest
import torch
import torch.nn.functional as F

from synthcxr.ontology import FINDING_IDS
from synthcxr.training.finding_outlines import FindingOutlines


def test_the_loss_equals_the_slow_version():
    torch.manual_seed(0)
    outlines = FindingOutlines([3, 5])
    states = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    maps = torch.rand(2, len(FINDING_IDS), 16, 16) ** 40  # little is covered
    expected = torch.zeros(2)
    for reader, values in zip(outlines.readers, states, strict=True):
        logits, size = reader(values), 16 // values.shape[-1]
        for image in range(2):
            for finding in range(len(FINDING_IDS)):
                for y in range(values.shape[-1]):
                    for x in range(values.shape[-1]):
                        cell = maps[image, finding, y * size : (y + 1) * size, x * size : (x + 1) * size]
                        target = (cell.mean() > 0.05).float()
                        loss = F.binary_cross_entropy_with_logits(logits[image, finding, y, x], target)
                        expected[image] += loss.detach() / values.shape[-1] ** 2
    torch.testing.assert_close(outlines(states, maps), expected)


def test_an_untrained_reader_expects_nothing_anywhere():
    torch.manual_seed(0)
    outlines = FindingOutlines([4])
    nothing = outlines([torch.zeros(1, 4, 7, 7)], torch.zeros(1, len(FINDING_IDS), 16, 16))
    assert nothing.item() == pytest.approx(len(FINDING_IDS) * 0.01815, rel=1e-3)  # log(1 + exp(-4))
