import copy

import pytest
import torch
from distributed_steps import make_pairs, make_step_model, step_in_one_process, steps_in_groups
from tiny_models import FAMILIES, make_batch, make_model

from synthcxr.training.gradient_cache import cached_backward


def gradients(model):
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mini_batch_size", [3, 8, 100])
def test_cached_gradients_equal_those_of_the_whole_batch(family, mini_batch_size):
    plain, batch = make_step_model(family), make_pairs()
    cached = copy.deepcopy(plain)
    loss = plain(**batch, return_loss=True).loss
    loss.backward()
    cached_loss = cached_backward(cached, batch, mini_batch_size=mini_batch_size)
    assert cached_loss.item() == pytest.approx(loss.item(), abs=1e-9)
    assert not cached_loss.requires_grad
    assert largest_difference(gradients(plain), gradients(cached)) < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_both_passes_drop_the_same_units(family):
    plain, batch = make_step_model(family, dropout=0.3), make_pairs()
    cached = copy.deepcopy(plain)
    torch.manual_seed(3)
    cached_loss = cached_backward(cached, batch, mini_batch_size=5)
    after = torch.rand(3)

    # The same, with all graphs kept: the mini-batches draw their masks in the same order.
    torch.manual_seed(3)
    halves = [{name: values[rows] for name, values in batch.items()} for rows in (slice(0, 5), slice(5, 8))]
    outputs = [plain(**half) for half in halves]
    joined = {}
    for name in plain.loss_inputs:
        parts = [output[name].unflatten(0, (-1, size)) for output, size in zip(outputs, (5, 3), strict=True)]
        if parts[0].ndim > 2 and parts[0].shape[2] > parts[1].shape[2]:  # words: the second half has shorter texts
            missing = parts[0].shape[2] - parts[1].shape[2]
            parts[1] = torch.nn.functional.pad(parts[1], [0, 0] * (parts[1].ndim - 3) + [0, missing])
        joined[name] = torch.cat(parts, dim=1).flatten(0, 1)
    loss = plain.compute_loss(**joined)
    loss.backward()
    assert torch.rand(3).equal(after)  # and leave the stream where it would be
    assert cached_loss.item() == pytest.approx(loss.item(), abs=1e-9)
    assert largest_difference(gradients(plain), gradients(cached)) < 1e-9


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    torch.multiprocessing.spawn(steps_in_groups, args=(str(folder), (4, 2)), nprocs=4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {1: step_in_one_process()}
    torch.set_num_threads(threads)
    return found | {size: torch.load(folder / f"steps-{size}.pt") for size in (2, 4)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_processes", [2, 4])
@pytest.mark.parametrize("way", ["plain", "cached", "sharded"])
def test_processes_together_have_the_gradients_of_one(steps, family, num_processes, way):
    loss, gradients = steps[1][family]
    their_loss, their_gradients = steps[num_processes][family][way]
    assert their_loss == pytest.approx(loss, abs=1e-9)
    assert their_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (their_gradients[name] - gradient).abs().max() < 1e-9, name


def test_the_gradients_are_not_those_of_processes_on_their_own(steps):
    """The check above would pass for a loss that never looks at other pairs; this one looks."""
    model = make_step_model("convirt")
    halves = [{name: values[rows] for name, values in make_pairs().items()} for rows in (slice(0, 4), slice(4, None))]
    alone = sum(model(**half, return_loss=True).loss for half in halves) / 2
    assert alone.item() < steps[1]["convirt"][0] - 0.1  # log 4 instead of log 8


def test_gradients_of_two_batches_add_up():
    model, batch = make_step_model("convirt"), make_pairs()
    cached_backward(model, batch, mini_batch_size=3)
    once = {name: gradient.clone() for name, gradient in gradients(model).items()}
    cached_backward(model, batch, mini_batch_size=3)
    twice = {name: gradient / 2 for name, gradient in gradients(model).items()}
    assert largest_difference(once, twice) < 1e-9


def test_batch_normalisation_counts_every_mini_batch_once():
    model = make_model("convirt").train()
    counters = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert counters
    cached_backward(model, make_batch(6), mini_batch_size=2)
    assert {counter.num_batches_tracked.item() for counter in counters} == {3}


def test_memory_grows_with_the_mini_batch_and_not_with_the_batch():
    """What backward needs, in floats that the graph keeps, of the largest graph alive."""
    kept = {}
    for batch_size in (8, 32):
        for mini_batch_size in (8, None):
            model, batch = make_step_model("convirt"), make_pairs(batch_size)
            alive = _KeptByGraphs()
            with torch.autograd.graph.saved_tensors_hooks(alive.pack, alive.unpack):
                if mini_batch_size is None:
                    model(**batch, return_loss=True).loss.backward()
                else:
                    cached_backward(model, batch, mini_batch_size=mini_batch_size)
            kept[batch_size, mini_batch_size] = alive.peak
    assert kept[32, None] > 3 * kept[8, None]
    assert kept[32, 8] < 1.3 * kept[8, 8]


class _KeptByGraphs:
    """Counts floats between the moment that a graph keeps them and the moment that it lets go."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, tensor):
        return _Kept(tensor, self)

    def unpack(self, kept):
        return kept.tensor


class _Kept:
    def __init__(self, tensor, counter):
        self.tensor, self.counter = tensor, counter
        counter.now += tensor.numel()
        counter.peak = max(counter.peak, counter.now)

    def __del__(self):
        self.counter.now -= self.tensor.numel()
