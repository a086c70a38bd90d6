"""What a tower can learn from images or from texts alone: SimSiam and masked words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase


# BERT's (Devlin et al., 2019): of the word pieces 15 % are asked for; of these 80 % are hidden and 10 % exchanged.
MASKED_SHARE = 0.15
_HIDDEN, _EXCHANGED = 0.8, 0.1


class SimSiam(nn.Module):
    """
    Two views of an image predict each other (Chen and He, 2021, arXiv 2011.10566): the heads behind a tower.

    Nothing is negative and nothing averages over time; what keeps the answer from being constant is that the
    prediction's target takes no gradient. The statistics of the batch normalisation are those of each process.

    Args:
        input_dim (`int`): Width of the pooled states of the tower.
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.projector = nn.Sequential(
            *_hidden_layer(input_dim, input_dim),
            *_hidden_layer(input_dim, input_dim),
            nn.Linear(input_dim, input_dim, bias=False),
            nn.BatchNorm1d(input_dim, affine=False),
        )
        bottleneck = max(1, input_dim // 4)
        self.predictor = nn.Sequential(*_hidden_layer(input_dim, bottleneck), nn.Linear(bottleneck, input_dim))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """
        How far the views are from predicting each other.

        Args:
            first (`torch.Tensor` of shape `(batch_size, input_dim)`):
                Pooled states of one view.
            second (`torch.Tensor` of shape `(batch_size, input_dim)`):
                Those of another view of the same images.

        Returns:
            `torch.Tensor` of shape `(batch_size,)`: -1 (they do) to 1.
        """
        targets = [self.projector(view) for view in (first, second)]
        predictions = [self.predictor(target) for target in targets]
        cosines = [
            F.cosine_similarity(prediction.float(), target.detach().float(), dim=-1)
            for prediction, target in zip(predictions, reversed(targets), strict=True)
        ]
        return -(cosines[0] + cosines[1]) / 2


class MaskedLanguage(nn.Module):
    """
    Hidden word pieces are to be guessed from the rest of the text: BERT's head, tied to the word embeddings.

    The tie is a function: the weights are handed in at every call and registered once, in the tower.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Names the mask and the special tokens, which are never hidden.
        hidden_size (`int`): Width of the text tower.
        vocab_size (`int`): Entries of its word embeddings.

    Raises:
        ValueError: If the tokenizer has no mask token, or more entries than the tower.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        if tokenizer.mask_token_id is None:
            raise ValueError(f"The tokenizer {tokenizer.name_or_path!r} has no mask token; masked language needs one.")
        if len(tokenizer) > vocab_size:
            raise ValueError(f"The tokenizer has {len(tokenizer)} entries, the text tower {vocab_size}.")
        self.mask_token_id = tokenizer.mask_token_id
        self.num_words = len(tokenizer)
        self.transform = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.LayerNorm(hidden_size))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        special = torch.zeros(vocab_size, dtype=torch.bool)
        special[tokenizer.all_special_ids] = True
        self.register_buffer("special", special, persistent=False)

    def forward(
        self, text_model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Hide, read, guess.

        Args:
            text_model (`PreTrainedModel`):
                The text tower.
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Whole texts.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                0 at padding.

        Returns:
            `tuple`: Per text the cross-entropies of its hidden pieces, summed, and their number, both `(batch_size,)`.
        """
        masked_ids, places, asked = self.hide(input_ids, attention_mask)
        states = text_model(input_ids=masked_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
        states = states.gather(1, places.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
        words = text_model.get_input_embeddings().weight
        scores = F.linear(self.transform(states), words, self.bias)  # (batch_size, num_places, vocab_size)
        losses = F.cross_entropy(scores.flatten(0, 1).float(), input_ids.gather(1, places).flatten(), reduction="none")
        return (losses.view(asked.shape) * asked).sum(dim=1), asked.sum(dim=1).float()

    @torch.no_grad()
    def hide(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Choose 15 % of the word pieces of every text, one at least, by torch's own random numbers.

        A number of places that follows from the padded length alone: nothing waits for the device, and the vocabulary
        is scored at these places only.

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`): Whole texts.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`): 0 at padding.

        Returns:
            `tuple`: The texts with hidden and exchanged pieces; the places `(batch_size, num_places)`; and which of
            these are asked for, of the same shape, dtype bool.
        """
        eligible = (attention_mask != 0) & ~self.special[input_ids]
        num_places = max(1, round(MASKED_SHARE * input_ids.shape[1]))
        draws = torch.rand(input_ids.shape, device=input_ids.device).masked_fill(~eligible, -1.0)
        values, places = draws.topk(num_places, dim=1)
        wanted = (MASKED_SHARE * eligible.sum(dim=1, keepdim=True)).round().clamp(min=1)
        asked = (torch.arange(num_places, device=input_ids.device) < wanted) & (values >= 0)

        whole = input_ids.gather(1, places)
        fate = torch.rand(places.shape, device=input_ids.device)
        others = torch.randint(self.num_words, places.shape, device=input_ids.device)
        shown = torch.where(fate < _HIDDEN + _EXCHANGED, others, whole).masked_fill(fate < _HIDDEN, self.mask_token_id)
        return input_ids.scatter(1, places, torch.where(asked, shown, whole)), places, asked


def _hidden_layer(input_dim: int, output_dim: int) -> tuple[nn.Module, ...]:
    # No bias: the normalisation would take it away.
    return nn.Linear(input_dim, output_dim, bias=False), nn.BatchNorm1d(output_dim), nn.ReLU(inplace=True)
