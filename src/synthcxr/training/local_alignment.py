"""GLoRIA's local loss (Huang et al., ICCV 2021) for models that compare wholes only: regions with words."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedConfig

from ..models import GloriaConfig
from ..models.layers_distributed import gather_batch
from ..models.layers_towers import hidden_width
from ..models.layers_words import WordIndex, sum_word_pieces
from ..models.loss_local_alignment import two_way_cross_entropy, word_region_scores


class LocalAlignment(nn.Module):
    """
    Two linear projections, of patches and of words, and the loss between them; for training only.

    Args:
        config (`PreTrainedConfig`): Of the dual encoder: both towers and `projection_dim`.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        vision_width, text_width = hidden_width(config.vision_config), hidden_width(config.text_config)
        self.region_projection = nn.Linear(vision_width, config.projection_dim, bias=False)
        self.word_projection = nn.Linear(text_width, config.projection_dim, bias=False)
        for projection in (self.region_projection, self.word_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.word_index = WordIndex(config.text_config.vocab_size)

    def forward(
        self, patches: torch.Tensor, states: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """
        From the towers' states to what the loss compares.

        Args:
            patches (`torch.Tensor` of shape `(batch_size, hidden_size, grid_height, grid_width)`):
                Patches of the vision tower.
            states (`torch.Tensor` of shape `(batch_size, sequence_length, hidden_size)`):
                Last hidden states of the text tower.
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                0 at padding.

        Returns:
            `dict`: `local_regions` `(batch_size, num_regions, projection_dim)`; `local_words` `(batch_size,
            sequence_length, projection_dim)`: `[CLS]`, the words, then zeros; `local_word_mask`, 0 at the zeros.
        """
        in_words = attention_mask.masked_fill(self.word_index.closing(input_ids), 0)
        words, word_mask = sum_word_pieces(states, self.word_index(input_ids, in_words))
        return {
            "local_regions": self.region_projection(patches.flatten(2).transpose(1, 2)),
            "local_words": self.word_projection(words),
            "local_word_mask": word_mask,
        }

    def compute_loss(
        self, local_regions: torch.Tensor, local_words: torch.Tensor, local_word_mask: torch.Tensor
    ) -> torch.Tensor:
        """
        `word_region_loss` with GLoRIA's temperatures; over the pairs of all processes.

        Args:
            local_regions (`torch.Tensor` of shape `(batch_size, num_regions, projection_dim)`): Regions.
            local_words (`torch.Tensor` of shape `(batch_size, num_words, projection_dim)`): Words.
            local_word_mask (`torch.Tensor` of shape `(batch_size, num_words)`): 0 at padding.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        # Every process scores its own texts against the images of all.
        scores = word_region_scores(
            gather_batch(local_regions),
            local_words,
            local_word_mask,
            attention_temperature=GloriaConfig.attention_temperature,
            score_temperature=GloriaConfig.score_temperature,
        )
        logits = GloriaConfig.loss_temperature * gather_batch(scores.T.contiguous())  # texts down, images across
        return two_way_cross_entropy(logits)
