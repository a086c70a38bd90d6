"""The contrastive losses: known values, and the slow obvious way."""

import math
import re

import pytest
import torch
from torch.nn import functional as F

from synthcxr.models.loss_contrastive import info_nce_loss, sigmoid_loss


def embeddings(batch_size, dim=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch_size, dim, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(2)
    ]


def slow_info_nce(images, texts, temperature, image_to_text, text_to_image):
    total = 0
    for i in range(len(images)):
        to_texts = [torch.cosine_similarity(images[i], text, dim=0) / temperature for text in texts]
        to_images = [torch.cosine_similarity(image, texts[i], dim=0) / temperature for image in images]
        total = total - image_to_text * torch.log(to_texts[i].exp() / sum(value.exp() for value in to_texts))
        total = total - text_to_image * torch.log(to_images[i].exp() / sum(value.exp() for value in to_images))
    return total / len(images)


def slow_sigmoid(images, texts, temperature, bias):
    total = 0
    for i in range(len(images)):
        for j in range(len(texts)):
            logit = torch.cosine_similarity(images[i], texts[j], dim=0) / temperature + bias
            total = total - torch.log(torch.sigmoid(logit if i == j else -logit))
    return total / len(images)


def assert_equal_with_gradients(fast, slow, inputs):
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-8)
    fast_gradients, slow_gradients = torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, inputs)
    for one, other in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.75, 0.25), (1.0, 1.0)])
def test_info_nce_equals_the_slow_loop(batch_size, temperature, weights):
    images, texts = embeddings(batch_size)
    fast = info_nce_loss(
        images, texts, temperature=temperature, image_to_text_weight=weights[0], text_to_image_weight=weights[1]
    )
    assert_equal_with_gradients(fast, slow_info_nce(images, texts, temperature, *weights), [images, texts])


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize(("temperature", "bias"), [(0.1, -10.0), (1.0, 0.0), (0.5, 2.0)])
def test_sigmoid_loss_equals_the_slow_loop(batch_size, temperature, bias):
    images, texts = embeddings(batch_size)
    fast = sigmoid_loss(images, texts, temperature=temperature, bias=bias)
    assert_equal_with_gradients(fast, slow_sigmoid(images, texts, temperature, bias), [images, texts])


@pytest.mark.parametrize("loss", [info_nce_loss, sigmoid_loss])
def test_a_learnt_temperature_gets_the_right_gradient(loss):
    images, texts = embeddings(4)
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: loss(images.detach(), texts.detach(), temperature=t), (temperature,))


def test_embeddings_without_information_give_the_logarithm_of_the_batch():
    constant = torch.ones(8, 3)
    assert info_nce_loss(constant, constant, temperature=0.1).item() == pytest.approx(math.log(8))


def test_the_second_weight_completes_the_first_to_one():
    images, texts = embeddings(5)
    implied = info_nce_loss(images, texts, temperature=0.1, image_to_text_weight=0.75)
    stated = info_nce_loss(images, texts, temperature=0.1, image_to_text_weight=0.75, text_to_image_weight=0.25)
    assert implied.item() == stated.item()


def test_the_directions_are_not_the_same():
    images, texts = embeddings(5)
    one = info_nce_loss(images, texts, temperature=0.1, image_to_text_weight=1.0)
    other = info_nce_loss(images, texts, temperature=0.1, image_to_text_weight=0.0)
    assert one.item() != pytest.approx(other.item(), rel=1e-3)
    assert one.item() == pytest.approx(info_nce_loss(texts, images, temperature=0.1, image_to_text_weight=0.0).item())


@pytest.mark.parametrize("loss", [info_nce_loss, sigmoid_loss])
def test_shuffling_the_reports_raises_the_loss(loss):
    images = torch.eye(6)
    assert loss(images, images.roll(1, dims=0), temperature=0.1) > loss(images, images, temperature=0.1)


@pytest.mark.parametrize("loss", [info_nce_loss, sigmoid_loss])
def test_the_length_of_an_embedding_does_not_matter(loss):
    images, texts = embeddings(5)
    torch.testing.assert_close(
        loss(images, texts, temperature=0.1), loss(7 * images, 0.1 * texts, temperature=0.1), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("loss", [info_nce_loss, sigmoid_loss])
def test_bf16_embeddings_are_compared_in_single_precision(loss):
    images, texts = embeddings(16, dim=32, dtype=torch.bfloat16)
    exact = loss(images.double(), texts.double(), temperature=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(images, texts, temperature=0.02)
    for value in (inside, loss(images, texts, temperature=0.02)):
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("loss", [info_nce_loss, sigmoid_loss])
def test_losses_compile_without_a_graph_break(loss):
    images, texts = embeddings(4, dtype=torch.float32)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(images, texts, temperature=0.1), loss(images, texts, temperature=0.1), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("loss", "slow"),
    [
        (info_nce_loss, lambda images, texts: slow_info_nce(images, texts, 0.2, 0.5, 0.5)),
        (sigmoid_loss, lambda images, texts: slow_sigmoid(images, texts, 0.2, 0.0)),
    ],
)
def test_views_of_the_texts_are_compared_one_by_one(loss, slow):
    images, _ = embeddings(5)
    views = [embeddings(5, seed=seed)[1] for seed in (1, 2, 3)]
    fast = loss(images, torch.cat(views), temperature=0.2)
    assert_equal_with_gradients(fast, sum(slow(images, view) for view in views) / 3, [images, *views])


@pytest.mark.parametrize("loss", [info_nce_loss, sigmoid_loss])
@pytest.mark.parametrize("images", [(4, 2), (0, 2)])
@pytest.mark.parametrize("texts", [(3, 2), (2, 2), (4, 5), (0, 2)])
def test_rows_that_do_not_pair_are_refused(loss, images, texts):
    with pytest.raises(
        ValueError, match=re.escape(f"image_embeds {images} and text_embeds {texts}, expected as many")
    ):
        loss(torch.ones(images), torch.ones(texts), temperature=0.1)


def test_info_nce_at_full_size_agrees_with_cross_entropy():
    """The batch of an ordinary step, in single precision."""
    images, texts = embeddings(128, dim=128, dtype=torch.float32)
    logits = F.normalize(images.double(), dim=-1) @ F.normalize(texts.double(), dim=-1).T / 0.07
    expected = (F.cross_entropy(logits, torch.arange(128)) + F.cross_entropy(logits.T, torch.arange(128))) / 2
    assert info_nce_loss(images, texts, temperature=0.07).item() == pytest.approx(expected.item(), rel=1e-5)
