"""What the class token attends to in the last layer of a tower, at the price of one row of one attention map."""

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


def has_plain_attention(tower: PreTrainedModel) -> bool:
    """
    Whether the attention of the class token can be recomputed, whatever implementation the tower runs with.

    Args:
        tower (`PreTrainedModel`):
            Any encoder.
    """
    return tower.config.model_type in _PLAIN_FAMILIES


class ClsAttention:
    """
    Watches a tower while it runs and keeps what its class token attends to, averaged over heads, without gradient.

    Fast attention gives no maps, and to run all layers slowly for one row of the last is a waste. So the row is
    computed beside the last layer, from the states that this layer sees: within the layer, where its weights are also
    whole under FSDP. It is the attention before dropout. Of other families the tower's own maps are asked for, which
    it only gives with `attn_implementation="eager"`.

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
        self._tower = tower
        self._mask = mask
        self._handles: list[Any] = []
        self.values: torch.Tensor | None = None

    def __enter__(self) -> Self:
        if has_plain_attention(self._tower):
            layer = [module for module in self._tower.modules() if _projections(module) is not None][-1]
            self._handles = [layer.register_forward_hook(self._compute, with_kwargs=True)]
        else:
            self._handles = [
                self._tower.register_forward_pre_hook(_ask_for_maps, with_kwargs=True),
                self._tower.register_forward_hook(self._read),
            ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def _compute(self, layer: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """The row of the last attention's map that belongs to the class token."""
        # Behind the layer, not ahead of it: autocast keeps the first cast of a weight, here one without gradient.
        states = args[0] if args else kwargs["hidden_states"]
        query, key = _projections(layer)
        heads = (layer.num_attention_heads, -1)
        queries = query(states[:, :1]).unflatten(-1, heads)  # (batch_size, 1, num_heads, head_dim)
        keys = key(states).unflatten(-1, heads)
        scores = torch.einsum("bqhd,blhd->bhl", queries, keys) * keys.shape[-1] ** -0.5
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if self._mask is not None:
            scores = scores.masked_fill(self._mask.unsqueeze(1) == 0, torch.finfo(scores.dtype).min)
        self.values = scores.softmax(dim=-1).mean(dim=1)

    def _read(self, tower: PreTrainedModel, args: tuple, outputs: Any) -> None:
        """After a tower of another family has run."""
        maps = outputs.attentions
        if not maps or maps[-1] is None:
            family, given = tower.config.model_type, tower.config._attn_implementation
            raise ValueError(f'A {family} tower shows its attention with attn_implementation="eager"; got {given!r}.')
        values = maps[-1][:, :, 0].detach()
        self.values = values.to(torch.promote_types(values.dtype, torch.float32)).mean(dim=1)


def _projections(module: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """Of queries and of keys, where a module has them."""
    for names in _PROJECTIONS:
        if all(isinstance(getattr(module, name, None), nn.Module) for name in names):
            return getattr(module, names[0]), getattr(module, names[1])
    return None


def _ask_for_maps(tower: PreTrainedModel, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    return args, {**kwargs, "output_attentions": True}
