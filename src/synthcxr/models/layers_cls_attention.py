"""What the class token attends to in the last layer of a tower, at the price of one row of one attention map."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel


# Families whose attention is the softmax of scaled dot products and nothing else: no relative positions, no rotations.
_PLAIN_FAMILIES = {
    *("bert", "camembert", "electra", "megatron-bert", "roberta", "xlm-roberta"),
    *("deit", "dinov2", "dinov2_with_registers", "vit", "vit_msn"),
}
_PROJECTIONS = (("query", "key"), ("q_proj", "k_proj"))
# Where a watched module finds who watches. The hooks are functions and stay: so they are copied and pickled with the
# module, two threads with a replica each do not meet, and `torch.compile` sees no hook come or go.
_SLOT = "_cls_attention"


def has_plain_attention(tower: PreTrainedModel) -> bool:
    """
    Whether the attention of the class token can be recomputed, whatever implementation the tower runs with.

    Args:
        tower (`PreTrainedModel`):
            Any encoder.
    """
    return tower.config.model_type in _PLAIN_FAMILIES


def watch(tower: PreTrainedModel) -> None:
    """
    Make a tower ready for [`ClsAttention`], which does so too: done before, it compiles in one graph.

    Args:
        tower (`PreTrainedModel`):
            A transformer whose first token is the class token. It computes as before while nobody looks.
    """
    watched = _watched(tower)
    if hasattr(watched, _SLOT):
        return
    setattr(watched, _SLOT, None)
    if has_plain_attention(tower):
        watched.register_forward_hook(_compute, with_kwargs=True)
    else:
        watched.register_forward_pre_hook(_ask_for_maps, with_kwargs=True)
        watched.register_forward_hook(_read)


class ClsAttention:
    """
    Watches a tower while it runs and keeps what its class token attends to, averaged over heads, without gradient.

    Fast attention gives no maps, and to run all layers slowly for one row of the last is a waste. So the row is
    computed beside the last layer, from the states that this layer sees: within the layer, where its weights are also
    whole under FSDP. It is the attention before dropout, that of adapters included. Of other families the tower's own
    maps are asked for, which it only gives with `attn_implementation="eager"`.

    Args:
        tower (`PreTrainedModel`):
            A transformer whose first token is the class token.
        mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*):
            0 at padding; no padding when absent.

    Attributes:
        values (`torch.Tensor` of shape `(batch_size, length)`):
            After the tower has run: attention, at least in single precision; sums to 1 and is 0 at padding.
    """

    def __init__(self, tower: PreTrainedModel, mask: torch.Tensor | None = None) -> None:
        watch(tower)
        self._module = _watched(tower)
        self.mask = mask
        self.values: torch.Tensor | None = None

    def __enter__(self) -> Self:
        setattr(self._module, _SLOT, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        setattr(self._module, _SLOT, None)


def _watched(tower: PreTrainedModel) -> nn.Module:
    """The last layer with attention, or, where its attention is more than that, the tower itself."""
    if not has_plain_attention(tower):
        return tower
    return [module for module in tower.modules() if _projections(module) is not None][-1]


@torch.no_grad()
def _compute(layer: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
    """The row of the last attention's map that belongs to the class token."""
    watcher = getattr(layer, _SLOT)
    if watcher is None:
        return
    # Behind the layer, not ahead of it: autocast keeps the first cast of a weight, here one without gradient.
    states = args[0] if args else kwargs["hidden_states"]
    query, key = _projections(layer)
    heads = (layer.num_attention_heads, -1)
    with _predicting(query, key):
        queries = query(states[:, :1]).unflatten(-1, heads)  # (batch_size, 1, num_heads, head_dim)
        keys = key(states).unflatten(-1, heads)
    scores = torch.einsum("bqhd,blhd->bhl", queries, keys) * keys.shape[-1] ** -0.5
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if watcher.mask is not None:
        scores = scores.masked_fill(watcher.mask.unsqueeze(1) == 0, torch.finfo(scores.dtype).min)
    watcher.values = scores.softmax(dim=-1).mean(dim=1)


@contextmanager
def _predicting(*modules: nn.Module) -> Iterator[None]:
    """
    Without the dropout of adapters. It would draw random numbers that gradient checkpointing, which repeats the layer
    when nobody looks, does not draw again: the masks of all later layers would be others than in the forward pass.
    """
    # Flag by flag: `eval()` is a method that some adapters merge their weights in.
    parts = [part for module in modules for part in module.modules() if part.training]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True


def _ask_for_maps(tower: PreTrainedModel, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    return None if getattr(tower, _SLOT) is None else (args, {**kwargs, "output_attentions": True})


def _read(tower: PreTrainedModel, args: tuple, outputs: Any) -> None:
    """After a tower of another family has run."""
    watcher = getattr(tower, _SLOT)
    if watcher is None:
        return
    maps = outputs.attentions
    if not maps or maps[-1] is None:
        family, given = tower.config.model_type, tower.config._attn_implementation
        raise ValueError(f'A {family} tower shows its attention with attn_implementation="eager"; got {given!r}.')
    values = maps[-1][:, :, 0].detach()
    watcher.values = values.to(torch.promote_types(values.dtype, torch.float32)).mean(dim=1)


def _projections(module: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """Of queries and of keys, where a module has them."""
    for names in _PROJECTIONS:
        if all(isinstance(getattr(module, name, None), nn.Module) for name in names):
            return getattr(module, names[0]), getattr(module, names[1])
    return None
