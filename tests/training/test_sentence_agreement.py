"""Sentences that hold for several images, against a slow and obvious version."""

import math

import pytest
import torch

from synthcxr.data.finding_statements import statement_vector
from synthcxr.training.sentence_agreement import agreement_loss, true_sentences


REPORTS = (
    "Large left pleural effusion. No pneumothorax.",
    "Bilateral pleural effusions. Left lower lobe consolidation.",
    "The lungs are clear. No pleural effusion or pneumothorax.",
    "Possible right pleural effusion.",
)


def vectors(texts):
    return torch.stack([torch.from_numpy(statement_vector(text).copy()) for text in texts])


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("There is a left pleural effusion.", [True, True, False, False]),
        ("Right effusion.", [False, True, False, False]),
        ("A pleural effusion is seen.", [True, True, False, False]),
        ("No pleural effusion.", [False, False, True, True]),
        ("There is an opacity in the left lung.", [False, True, False, False]),
        ("The lungs are clear.", [True, False, True, True]),
        ("No pneumothorax.", [True, True, True, True]),
        ("Left effusion without pneumothorax.", [True, True, False, False]),
        ("Single view of the chest.", [False, False, False, False]),
        ("Possible pneumonia.", [False, False, False, False]),
    ],
)
def test_a_sentence_holds_where_the_report_says_as_much(sentence, expected):
    assert true_sentences(vectors([sentence]), vectors(REPORTS)).squeeze(1).tolist() == expected


def test_what_a_report_denies_and_affirms_does_not_contradict_its_own_sentence():
    """ "No focal opacity" stands beside a nodule, which is an opacity by the ontology."""
    report = "There is a nodule in the left lung. No focal airspace opacity."
    assert true_sentences(vectors(["No focal airspace opacity."]), vectors([report])).tolist() == [[True]]


def slow_loss(images, sentences, holds, temperature):
    """Sums over images, views and directions, one softmax at a time."""
    count = len(images)
    images = [row / row.norm() for row in images]
    sentences = [row / row.norm() for row in sentences]
    losses = []
    for start in range(0, len(sentences), count):
        for one in range(count):
            for forward in (True, False):
                scores, right = [], []
                for other in range(count):
                    image, place = (one, other) if forward else (other, one)
                    scores.append(images[image] @ sentences[start + place] / temperature)
                    right.append(bool(holds[image, start + place]) or image == place)
                total = torch.stack(scores).logsumexp(0)
                chosen = [total - score for score, is_right in zip(scores, right, strict=True) if is_right]
                losses.append(sum(chosen) / len(chosen))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("num_views", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_loss_and_its_gradient_equal_the_slow_version(num_views, share):
    generator = torch.Generator().manual_seed(0)
    images, sentences = (torch.randn(n, 7, generator=generator, dtype=torch.float64) for n in (5, 5 * num_views))
    holds = torch.rand(5, 5 * num_views, generator=generator) < share
    found = []
    for loss in (lambda *args: agreement_loss(*args, temperature=0.1), lambda *args: slow_loss(*args, 0.1)):
        leaves = [images.clone().requires_grad_(), sentences.clone().requires_grad_()]
        value = loss(*leaves, holds)
        value.backward()
        found.append([value.detach(), *(leaf.grad for leaf in leaves)])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)


def test_of_sentences_that_hold_everywhere_nothing_is_learnt_but_that():
    images = torch.eye(4).requires_grad_()
    loss = agreement_loss(images, torch.ones(4, 4), torch.ones(4, 4, dtype=torch.bool), temperature=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4), abs=1e-5)
    assert images.grad.abs().max() < 1e-6
