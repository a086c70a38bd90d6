"""Nearest neighbours among the texts of earlier batches (DeCLIP, arXiv 2110.05208, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..models.loss_contrastive import cosine_similarity


class NeighbourQueue(nn.Module):
    """
    The last embeddings of texts, first in, first out, each with the key of its report.

    It lies in buffers, so a checkpoint holds it and a resumed run finds the same neighbours. Nothing waits for the
    device: places that are still empty are masked.

    Args:
        size (`int`): Texts that are kept.
        dim (`int`): Width of an embedding.

    Raises:
        ValueError: If the queue would be empty.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"The queue of neighbours has {size} places; expected 1 or more.")
        self.register_buffer("embeds", torch.zeros(size, dim))
        self.register_buffer("keys", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("next_place", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def nearest(self, text_embeds: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The most similar text of another report.

        Args:
            text_embeds (`torch.Tensor` of shape `(batch_size, dim)`): Embeddings, normalised here.
            keys (`torch.Tensor` of shape `(batch_size,)` and dtype int64): Keys of their reports; a text with the same
                key is a duplicate, or the same report in an earlier epoch, and no neighbour.

        Returns:
            `tuple`: The neighbours `(batch_size, dim)`, and which of them are any `(batch_size,)`, dtype bool; the
            others are arbitrary.
        """
        allowed = self.filled & (keys.unsqueeze(1) != self.keys)  # (batch_size, size)
        cosines = cosine_similarity(text_embeds, self.embeds).masked_fill(~allowed, float("-inf"))
        return self.embeds[cosines.argmax(dim=1)], allowed.any(dim=1)

    @torch.no_grad()
    def push(self, text_embeds: torch.Tensor, keys: torch.Tensor) -> None:
        """
        Take in a batch; the oldest texts leave. Of a batch beyond the queue's size, the last texts stay.

        Args:
            text_embeds (`torch.Tensor` of shape `(batch_size, dim)`): Embeddings, normalised here.
            keys (`torch.Tensor` of shape `(batch_size,)` and dtype int64): Keys of their reports.
        """
        size = len(self.keys)
        text_embeds, keys = text_embeds[-size:], keys[-size:]
        places = (self.next_place + torch.arange(len(keys), device=keys.device)) % size
        self.embeds.index_copy_(0, places, F.normalize(text_embeds.to(self.embeds.dtype), dim=-1))
        self.keys.index_copy_(0, places, keys)
        self.filled.index_fill_(0, places, True)
        self.next_place.add_(len(keys)).remainder_(size)
