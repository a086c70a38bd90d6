"""
Batches across processes, with gradients.

Every process computes the same loss of the gathered batch. Its gradient reaches each process once per process, and
`DistributedDataParallel` averages over processes: what remains is the gradient of one process with the whole batch.
"""

from typing import Any

import torch
import torch.distributed as dist


def is_distributed() -> bool:
    """Whether more than one process takes part in this run."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather_batch(tensor: torch.Tensor, *, num_views: int = 1) -> torch.Tensor:
    """
    Join the batches of all processes along the first dimension, in the order of the processes.

    The gradient of a process is the sum of what all processes send back for its rows. A block of a score matrix is
    gathered the same way: each process scores its own texts against the gathered images and gathers the rows.

    Args:
        tensor (`torch.Tensor` of shape `(num_views * batch_size, ...)`):
            Rows of this process, view by view; of the same shape on every process.
        num_views (`int`, *optional*, defaults to 1):
            Views of every study, at least 1. The result is again view by view: the first view of all processes, then
            the second.

    Returns:
        `torch.Tensor` of shape `(num_views * num_processes * batch_size, ...)`: All rows; `tensor` itself with one
        process.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.layers_distributed import gather_batch

    >>> gather_batch(torch.ones(2, 3)).shape  # one process
    torch.Size([2, 3])

    ```
    """
    if num_views < 1 or len(tensor) % num_views:
        raise ValueError(f"{len(tensor)} rows cannot be {num_views} views of a batch; expected a multiple.")
    if not is_distributed():
        return tensor
    gathered = _GatherBatch.apply(tensor)
    if num_views == 1:
        return gathered
    by_process = gathered.unflatten(0, (dist.get_world_size(), num_views, len(tensor) // num_views))
    return by_process.transpose(0, 1).flatten(0, 2)


def gather_pairs(image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The embeddings of all processes' pairs, so that the negatives of one are those of all.

    Args:
        image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Images of this process.
        text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
            Their texts, view by view.

    Returns:
        `tuple`: Images `(num_processes * batch_size, projection_dim)` and texts
        `(num_views * num_processes * batch_size, projection_dim)`; the arguments themselves with one process.
    """
    num_views = len(text_embeds) // len(image_embeds)
    return gather_batch(image_embeds), gather_batch(text_embeds, num_views=num_views)


class _GatherBatch(torch.autograd.Function):
    """All-gather whose gradient is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        """`(batch_size, ...)` to `(num_processes * batch_size, ...)`."""
        num_processes = dist.get_world_size()
        gathered = tensor.new_empty(num_processes * len(tensor), *tensor.shape[1:])
        dist.all_gather(list(gathered.chunk(num_processes)), tensor.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        """`(num_processes * batch_size, ...)` to `(batch_size, ...)`."""
        grad = grad.contiguous().clone()  # autograd may still need its own
        dist.all_reduce(grad)
        return grad.chunk(dist.get_world_size())[dist.get_rank()]
