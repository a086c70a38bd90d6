"""Sinkhorn and the prototypes: the slow obvious way, and what must hold whatever the scores."""

import math

import pytest
import torch

from synthcxr.models.loss_prototype import cross_prototype_loss, sinkhorn


def random_scores(batch_size, num_prototypes, seed=0, dtype=torch.float64):
    """Cosines."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(batch_size, num_prototypes, generator=generator, dtype=torch.float64) - 1).to(dtype)


def slow_sinkhorn(scores, epsilon, num_iterations):
    """As published: exponentials, prototypes and samples made equally heavy in turn."""
    codes = torch.exp(scores / epsilon)
    codes = codes / codes.sum()
    for _ in range(num_iterations):
        codes = codes / codes.sum(dim=0, keepdim=True) / codes.shape[1]
        codes = codes / codes.sum(dim=1, keepdim=True) / codes.shape[0]
    return codes * codes.shape[0]


def slow_loss(images, texts, temperature, epsilon, num_iterations):
    total = 0
    for target, source in ((images, texts), (texts, images)):
        codes = slow_sinkhorn(target.detach(), epsilon, num_iterations)
        for code, row in zip(codes, source, strict=True):
            total = total - sum(code * torch.log(torch.softmax(row / temperature, dim=0)))
    return total / (2 * len(images))


@pytest.mark.parametrize("shape", [(1, 4), (6, 3), (5, 20)])
@pytest.mark.parametrize("num_iterations", [1, 3, 10])
def test_sinkhorn_equals_the_published_iteration(shape, num_iterations):
    scores = random_scores(*shape)
    torch.testing.assert_close(
        sinkhorn(scores, epsilon=0.05, num_iterations=num_iterations), slow_sinkhorn(scores, 0.05, num_iterations)
    )


def test_samples_weigh_one_and_prototypes_nearly_the_same():
    codes = sinkhorn(random_scores(144, 12), epsilon=0.05, num_iterations=3)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(144, dtype=codes.dtype))
    assert (codes.sum(dim=0) / 12 - 1).abs().max() < 0.25
    torch.testing.assert_close(
        sinkhorn(random_scores(144, 12), epsilon=0.05, num_iterations=200).sum(dim=0),
        torch.full((12,), 12.0, dtype=codes.dtype),
    )


def test_scores_of_any_size_are_spread():
    scores = random_scores(8, 4, dtype=torch.float32)
    for factor, offset in ((1e4, 0.0), (1.0, 1e4)):
        codes = sinkhorn(factor * scores + offset, epsilon=0.05, num_iterations=3)
        torch.testing.assert_close(codes.sum(dim=1), torch.ones(8))


def test_half_precision_is_worked_on_in_single():
    scores = random_scores(16, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = sinkhorn(scores, epsilon=0.05, num_iterations=3)
        loss = cross_prototype_loss(scores, scores)
    torch.testing.assert_close(codes, sinkhorn(scores.float(), epsilon=0.05, num_iterations=3), rtol=0, atol=0)
    assert loss == cross_prototype_loss(scores.float(), scores.float())


@pytest.mark.parametrize("shape", [(1, 4), (6, 3), (5, 20)])
@pytest.mark.parametrize("temperature", [0.1, 0.2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_cross_prototype_loss_equals_the_slow_loop(shape, temperature, dtype, tolerance):
    images, texts = (random_scores(*shape, seed=seed, dtype=dtype).requires_grad_() for seed in (0, 1))
    fast = cross_prototype_loss(images, texts, temperature=temperature, epsilon=0.1, num_iterations=2)
    slow = slow_loss(images.double(), texts.double(), temperature, 0.1, 2)
    torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)
    gradients = [torch.autograd.grad(loss, (images, texts)) for loss in (fast, slow)]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_defaults_are_those_of_the_authors():
    images, texts = random_scores(6, 5), random_scores(6, 5, seed=1)
    torch.testing.assert_close(cross_prototype_loss(images, texts), slow_loss(images, texts, 0.2, 0.05, 3))


def test_scores_without_information_cost_the_logarithm_of_the_prototypes():
    assert cross_prototype_loss(torch.zeros(4, 8), torch.zeros(4, 8)).item() == pytest.approx(math.log(8))


def test_agreement_costs_less_than_disagreement():
    scores = 2 * torch.eye(5)
    assert cross_prototype_loss(scores, scores) < cross_prototype_loss(scores, scores.roll(1, dims=0))


def test_no_gradient_flows_through_the_assignments():
    scores = random_scores(4, 3).requires_grad_()
    assert not sinkhorn(scores, epsilon=0.05, num_iterations=3).requires_grad


@pytest.mark.parametrize(("epsilon", "num_iterations"), [(0.0, 3), (0.05, 0)])
def test_settings_that_assign_nothing_are_refused(epsilon, num_iterations):
    with pytest.raises(ValueError, match=f"epsilon {epsilon} and {num_iterations} iterations"):
        sinkhorn(torch.ones(2, 2), epsilon=epsilon, num_iterations=num_iterations)


@pytest.mark.parametrize("shapes", [((4, 3), (3, 3)), ((4, 3), (4, 2)), ((0, 3), (0, 3))])
def test_scores_that_do_not_pair_are_refused(shapes):
    with pytest.raises(ValueError, match="pairs row i with row i"):
        cross_prototype_loss(*(torch.ones(shape) for shape in shapes))


def test_the_loss_compiles_without_a_graph_break():
    images, texts = random_scores(6, 5), random_scores(6, 5, seed=1)
    compiled = torch.compile(cross_prototype_loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images, texts), cross_prototype_loss(images, texts))
