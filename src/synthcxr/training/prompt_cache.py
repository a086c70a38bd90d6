"""Prompts of a frozen text encoder, each encoded once while memory lasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from ..pipelines.text_conditioning import encode_prompts


MAX_BYTES = 1024**3


class PromptCache:
    """
    Captions to what the UNet reads.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        text_encoder (`PreTrainedModel`): Not trained.
        max_bytes (`int`, *optional*, defaults to 1 GiB): Embeddings beyond it are computed anew at every draw. With 0
            nothing is kept, and the captions of a batch are encoded side by side: faster where hardly one comes again.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, *, max_bytes: int = MAX_BYTES) -> None:
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.max_bytes = max_bytes
        self._stored: dict[str, torch.Tensor] = {}
        self._bytes = 0

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embeddings `(batch_size, length, dim)`, and a mask `(batch_size, length)`, `None` where all is read."""
        if not self.max_bytes:
            with torch.autocast(self.text_encoder.device.type, enabled=False):
                return encode_prompts(captions, self.tokenizer, self.text_encoder)
        found = {text: self._stored[text] for text in captions if text in self._stored}
        for text in dict.fromkeys(captions):
            if text not in found:
                # One by one: in a batch, its companions would decide the last bits, and a run that goes on has others.
                # In the encoder's own type, whoever asks first: validation asks under autocast, training does not.
                with torch.autocast(self.text_encoder.device.type, enabled=False):
                    found[text] = encode_prompts([text], self.tokenizer, self.text_encoder)[0][0].cpu()
                self._store(text, found[text])
        rows = [found[text] for text in captions]
        lengths = torch.tensor([len(row) for row in rows])
        embeds, device = pad_sequence(rows, batch_first=True), self.text_encoder.device
        if len({len(row) for row in rows}) == 1:
            return embeds.to(device), None
        mask = (torch.arange(embeds.shape[1]) < lengths[:, None]).long()
        return embeds.to(device), mask.to(device)

    def _store(self, text: str, embeds: torch.Tensor) -> None:
        size = embeds.numel() * embeds.element_size()
        if self._bytes + size <= self.max_bytes:
            self._stored[text] = embeds.clone()
            self._bytes += size
