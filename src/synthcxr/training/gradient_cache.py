"""Large contrastive batches in the memory of small ones (GradCache: Gao et al., 2021, arXiv 2101.06983)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.utils import extract_model_from_parallel
from torch import distributed, nn


def cached_backward(
    model: nn.Module,
    inputs: Mapping[str, Any],
    *,
    mini_batch_size: int,
    backward: Callable[[torch.Tensor], None] = torch.Tensor.backward,
) -> torch.Tensor:
    """
    Gradients of a whole batch, with the activations of one mini-batch in memory at a time.

    Every mini-batch is embedded without a graph; the loss of the whole batch, from the embeddings alone, gives their
    gradients; then every mini-batch is embedded again, with the same dropout, and its gradients are carried on into
    the weights. That is exact, except that batch normalisation sees mini-batches.

    Args:
        model (`nn.Module`): Has `loss_inputs`, the names of the outputs that its `compute_loss` needs. A wrapper such
            as `DistributedDataParallel` is called as it is and does not synchronise: see [`average_gradients`].
        inputs (`Mapping`): A batch; tensors have the batch first.
        mini_batch_size (`int`): Pairs that are embedded at a time.
        backward (`Callable`, *optional*): What starts the loss' backward pass, such as one that scales it.

    Returns:
        `torch.Tensor` of shape `()`: The loss, detached. Gradients have been added to those of the weights.
    """
    module = extract_model_from_parallel(model, keep_torch_compile=False)
    batches = _split(inputs, mini_batch_size)
    states = []
    with torch.no_grad(), _unchanged_buffers(module):
        cached = []
        for batch in batches:
            states.append(_random_state(batch))
            output = model(**batch)
            cached.append({name: _leaf(output[name]) for name in module.loss_inputs})
    loss = module.compute_loss(**{name: _join(name, cached, batches) for name in module.loss_inputs})
    backward(loss)
    after = _random_state(batches[0])
    for batch, state, leaves in zip(batches, states, cached, strict=True):
        _set_random_state(state)
        output = model(**batch)
        learnt = [name for name, leaf in leaves.items() if leaf.grad is not None and output[name].requires_grad]
        torch.autograd.backward([output[name] for name in learnt], [leaves[name].grad for name in learnt])
    _set_random_state(after)
    return loss.detach()


def average_gradients(model: nn.Module) -> None:
    """
    The mean of every weight's gradient over all processes, in place, as `DistributedDataParallel` would leave it.

    Args:
        model (`nn.Module`): With the same weights having gradients in every process.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    under_way = [distributed.all_reduce(gradient, async_op=True) for gradient in gradients]
    for work, gradient in zip(under_way, gradients, strict=True):
        work.wait()
        gradient.div_(distributed.get_world_size())


def _split(inputs: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    tensors = {name: values.split(size) for name, values in inputs.items() if isinstance(values, torch.Tensor)}
    others = {name: values for name, values in inputs.items() if name not in tensors} | {"return_loss": False}
    count = len(next(iter(tensors.values())))
    return [others | {name: parts[index] for name, parts in tensors.items()} for index in range(count)]


def _leaf(values: torch.Tensor) -> torch.Tensor:
    return values.detach().requires_grad_(values.is_floating_point())


def _join(name: str, cached: list[dict[str, torch.Tensor]], batches: list[dict[str, Any]]) -> torch.Tensor:
    """
    An output of the whole batch from those of the mini-batches.

    Texts may have several views, of which every mini-batch has all: `(num_views * mini_batch_size, ...)`, view by
    view. The second dimension may be padded to the longest text of a mini-batch: zeros fill it.
    """
    sizes = [len(batch["pixel_values"]) for batch in batches]
    parts = [leaves[name].unflatten(0, (-1, size)) for leaves, size in zip(cached, sizes, strict=True)]
    if parts[0].dim() > 2:
        longest = max(part.shape[2] for part in parts)
        parts = [_pad(part, longest) for part in parts]
    return torch.cat(parts, dim=1).flatten(0, 1)


def _pad(part: torch.Tensor, longest: int) -> torch.Tensor:
    missing = longest - part.shape[2]
    return F.pad(part, [0, 0] * (part.dim() - 3) + [0, missing]) if missing else part


@contextmanager
def _unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """What batch normalisation keeps of a pass is put back: every mini-batch shall count once."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    yield
    for buffer, values in before:
        buffer.copy_(values)


def _random_state(batch: Mapping[str, Any]) -> dict[torch.device, torch.Tensor]:
    device = batch["pixel_values"].device
    states = {torch.device("cpu"): torch.get_rng_state()}
    if device.type != "cpu":
        states[device] = torch.get_device_module(device).get_rng_state(device)
    return states


def _set_random_state(states: dict[torch.device, torch.Tensor]) -> None:
    for device, state in states.items():
        if device.type == "cpu":
            torch.set_rng_state(state)
        else:
            torch.get_device_module(device).set_rng_state(state, device)
