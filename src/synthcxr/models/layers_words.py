"""From word pieces to words: which piece belongs to which word, and the sum over the pieces of each."""

from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.utils import logging


logger = logging.get_logger(__name__)

# What a piece can be.
_STARTS, _CONTINUES, _CLOSES = 0, 1, 2
# Arguments of `from_pretrained` that say where on the Hub, and which version: the same for weights and tokenizer.
_PLACE = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


class WordIndex(nn.Module):
    """
    Knows of every entry of a vocabulary whether it starts a word, continues one, or closes the text (`[SEP]`).

    A table in a buffer that is saved with the weights: a text reaches the model as `input_ids` alone (from the stock
    pipelines too), and no model should have to ask its tokenizer. [`set_word_pieces`] fills it; until then every piece
    is a word of its own, `[SEP]` included, which the first text is a reason to warn of.

    Args:
        vocab_size (`int`):
            Entries of the text tower's word embeddings.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.register_buffer("piece_kinds", torch.zeros(vocab_size, dtype=torch.uint8))
        # Looked at once: to look is to wait for the device.
        self._checked = False

    def reset(self) -> None:
        """Forget the vocabulary, unless a checkpoint has filled the table."""
        init.zeros_(self.piece_kinds)

    def resize(self, vocab_size: int) -> None:
        """
        Follow resized embeddings; new entries start words.

        Args:
            vocab_size (`int`):
                Entries now.
        """
        kept = self.piece_kinds[:vocab_size]
        self.piece_kinds = torch.cat([kept, kept.new_zeros(vocab_size - len(kept))])

    def set_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """
        Fill the table: `##` continues a word in BERT's vocabularies; where pieces that start one are marked (with the
        `Ġ` of byte-level vocabularies or the `▁` of SentencePiece), all others continue.

        Args:
            tokenizer (`PreTrainedTokenizerBase`):
                The one that the text tower was, or will be, trained with.
        """
        vocabulary = tokenizer.get_vocab()
        if max(vocabulary.values()) >= len(self.piece_kinds):
            raise ValueError(
                f"The tokenizer has the entry {max(vocabulary.values())}, but the text tower's vocabulary has "
                f"{len(self.piece_kinds)} entries; expected the tower's own tokenizer."
            )
        kinds = torch.full((len(self.piece_kinds),), _STARTS, dtype=torch.uint8)
        kinds[_continuations(vocabulary)] = _CONTINUES
        kinds[tokenizer.all_special_ids] = _STARTS
        closing = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
        if closing is not None:
            kinds[closing] = _CLOSES
        self.piece_kinds.copy_(kinds)
        self._checked = True

    def closing(self, input_ids: torch.Tensor) -> torch.Tensor:
        """
        Where are the tokens that close a text?

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens.

        Returns:
            `torch.Tensor` of shape `(batch_size, sequence_length)`: `True` at `[SEP]`.
        """
        return self._kinds(input_ids) == _CLOSES

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """
        Number the words of every text; `[CLS]` and `[SEP]` are words of their own.

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens; the first is `[CLS]`, which nothing continues.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                0 at what belongs to no word: padding, and what else the caller leaves out.

        Returns:
            `torch.Tensor` of shape `(batch_size, sequence_length)`: Per piece the index of its word from 0, -1 where
            the mask is 0.
        """
        valid = attention_mask != 0
        starts = self._kinds(input_ids) != _CONTINUES
        starts[:, :2] = True
        return ((starts & valid).cumsum(dim=1) - 1).masked_fill(~valid, -1)

    def _kinds(self, input_ids: torch.Tensor) -> torch.Tensor:
        if not (self._checked or torch.compiler.is_compiling() or self.piece_kinds.is_meta):
            self._checked = True
            if not self.piece_kinds.any():
                logger.warning(
                    "This model does not know its words: every word piece counts as one, and so does [SEP]. Call "
                    "`set_word_pieces(model, tokenizer)`."
                )
        # A model that is spread over devices may have the table elsewhere.
        return self.piece_kinds.to(input_ids.device)[input_ids]


def sum_word_pieces(states: torch.Tensor, word_index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Sum the vectors of the pieces of each word.

    As many words as pieces are laid out, so that no shape depends on the values: nothing waits for a GPU.

    Args:
        states (`torch.Tensor` of shape `(batch_size, sequence_length, dim)`):
            One vector per piece.
        word_index (`torch.Tensor` of shape `(batch_size, sequence_length)`):
            From [`WordIndex`]; pieces at -1 are left out.

    Returns:
        `tuple`: The words `(batch_size, sequence_length, dim)`, zeros behind the last one, and the mask of the words
        `(batch_size, sequence_length)`, 1 or 0, of the indices' dtype.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.layers_words import sum_word_pieces

    >>> pieces = torch.tensor([[[1.0], [2.0], [4.0], [8.0]]])
    >>> words, mask = sum_word_pieces(pieces, torch.tensor([[0, 1, 1, -1]]))
    >>> words.flatten().tolist(), mask.tolist()
    ([1.0, 6.0, 0.0, 0.0], [[1, 1, 0, 0]])

    ```
    """
    batch_size, length, dim = states.shape
    word_index = word_index.to(states.device)
    # One more place per text takes what belongs to no word.
    place = torch.where(word_index < 0, length, word_index)
    place = place + (length + 1) * torch.arange(batch_size, device=states.device).unsqueeze(1)
    words = states.new_zeros(batch_size * (length + 1), dim).index_add(0, place.flatten(), states.flatten(0, 1))
    num_words = word_index.amax(dim=1, keepdim=True) + 1  # (batch_size, 1)
    word_mask = torch.arange(length, device=states.device) < num_words
    return words.view(batch_size, length + 1, dim)[:, :length], word_mask.to(word_index.dtype)


def set_word_pieces(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """
    Tell a model that reads words which entries of its vocabulary continue one; other models need nothing.

    Args:
        model (`nn.Module`):
            Any model.
        tokenizer (`PreTrainedTokenizerBase`):
            Its tokenizer.
    """
    for module in model.modules():
        if isinstance(module, WordIndex):
            module.set_tokenizer(tokenizer)


def load_word_pieces(model: nn.Module, text_name_or_path: str, **kwargs: Any) -> None:
    """
    The same, with the tokenizer that lies beside a pre-trained text tower; its absence is logged.

    Args:
        model (`nn.Module`):
            Any model.
        text_name_or_path (`str`):
            Hub id or folder of the text tower.
        kwargs (`dict`):
            As for `AutoTokenizer.from_pretrained`; `revision` and the like must be those of the weights.

    Raises:
        OSError: When the Hub cannot be asked whether there is a tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(text_name_or_path, **kwargs)
    except ValueError:
        tokenizer = None
    # Where there is no tokenizer, or it could not be fetched, most families make one of nothing but special tokens.
    if tokenizer is not None and len(tokenizer) > len(tokenizer.all_special_ids):
        set_word_pieces(model, tokenizer)
        return
    if not Path(text_name_or_path).is_dir():
        _check_hub(str(text_name_or_path), **kwargs)
    logger.warning(
        "%s has no tokenizer: every word piece counts as a word until `set_word_pieces(model, tokenizer)` is called.",
        text_name_or_path,
    )


class WordReader:
    """What a dual encoder that reads words puts before its base class."""

    word_index: WordIndex

    @classmethod
    def from_vision_text_pretrained(cls, vision_name_or_path: str, text_name_or_path: str, **kwargs: Any) -> Self:
        """
        Put two pretrained encoders together, and learn from the tokenizer beside the text encoder what a word is.

        Args:
            vision_name_or_path (`str`):
                Hub id or folder of any image encoder of `AutoModel`.
            text_name_or_path (`str`):
                Hub id or folder of an encoder of the BERT family.
            kwargs (`dict`):
                Fields of the configuration; with the prefix `vision_` or `text_`, arguments of that tower. The
                tokenizer is looked for where the text tower is: `text_revision` and the like hold for both.
        """
        model = super().from_vision_text_pretrained(vision_name_or_path, text_name_or_path, **kwargs)
        place = {name: kwargs[f"text_{name}"] for name in _PLACE if f"text_{name}" in kwargs}
        load_word_pieces(model, text_name_or_path, **place)
        return model

    def set_input_embeddings(self, value: nn.Module) -> None:
        """
        Exchange the word embeddings.

        Args:
            value (`nn.Module`):
                The new ones.
        """
        super().set_input_embeddings(value)
        self.word_index.resize(value.num_embeddings)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, WordIndex):
            module.reset()


def _check_hub(repo_id: str, **kwargs: Any) -> None:
    """Tell a text tower without a tokenizer from a Hub that does not answer."""
    try:
        hf_hub_download(repo_id, "tokenizer.json", **kwargs)
    except RemoteEntryNotFoundError:
        return
    except LocalEntryNotFoundError as error:
        raise OSError(f"The tokenizer of {repo_id} could not be fetched: {error}") from error


def _continuations(vocabulary: dict[str, int]) -> list[int]:
    """Entries that go on with the word before them."""
    if any(piece.startswith("##") for piece in vocabulary):
        return [entry for piece, entry in vocabulary.items() if piece.startswith("##")]
    marks = ("Ġ", "▁")
    if any(piece.startswith(marks) for piece in vocabulary):
        return [entry for piece, entry in vocabulary.items() if not piece.startswith(marks)]
    return []
