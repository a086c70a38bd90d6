"""Words from word pieces: against a loop over tokens, and with the vocabularies that there are."""

import logging

import pytest
import torch
from tiny_models import make_text_config
from tokenizers import Tokenizer, models
from torch import nn
from transformers import BertModel, BertTokenizer, PreTrainedTokenizerFast

from synthcxr.models.layers_words import WordIndex, load_word_pieces, set_word_pieces, sum_word_pieces


PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] pleural eff ##us ##ion cardio ##meg ##aly no . ##s".split()
TEXTS = ["No pleural effusion.", "Cardiomegaly.", "", "Effusions. Cardiomegaly. No effusions."]


@pytest.fixture
def tokenizer():
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)})


@pytest.fixture
def word_index(tokenizer):
    index = WordIndex(len(PIECES))
    index.set_tokenizer(tokenizer)
    return index


def slow_words(tokens, states):
    """Piece by piece, as one would write it down."""
    words = []
    for token, state in zip(tokens, states, strict=True):
        if token == "[PAD]":
            continue
        if token.startswith("##"):
            words[-1] = words[-1] + state
        else:
            words.append(state)
    return words


def test_the_sums_equal_a_loop_over_the_tokens(tokenizer, word_index):
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(*inputs["input_ids"].shape, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    words, mask = sum_word_pieces(states, word_index(inputs["input_ids"], inputs["attention_mask"]))
    assert words.shape == states.shape
    for row, ids in enumerate(inputs["input_ids"].tolist()):
        expected = slow_words(tokenizer.convert_ids_to_tokens(ids), states[row])
        assert mask[row].tolist() == [1] * len(expected) + [0] * (len(ids) - len(expected))
        torch.testing.assert_close(words[row, : len(expected)], torch.stack(expected))
        assert not words[row, len(expected) :].any()
    slow = [
        word.square().sum()
        for row, ids in enumerate(inputs["input_ids"].tolist())
        for word in slow_words(tokenizer.convert_ids_to_tokens(ids), states[row])
    ]
    gradients = [torch.autograd.grad(loss, states)[0] for loss in (words.square().sum(), sum(slow))]
    torch.testing.assert_close(*gradients)


def test_a_report_has_as_many_words_as_one_counts(tokenizer, word_index):
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    index = word_index(inputs["input_ids"], inputs["attention_mask"])
    # [CLS], words and full stops, [SEP].
    assert (index.amax(dim=1) + 1).tolist() == [6, 4, 2, 9]
    closing = word_index.closing(inputs["input_ids"])
    assert closing.sum(dim=1).tolist() == [1, 1, 1, 1]
    without = word_index(inputs["input_ids"], inputs["attention_mask"].masked_fill(closing, 0))
    assert (without.amax(dim=1) + 1).tolist() == [5, 3, 1, 8]
    assert (without[closing] == -1).all()


def test_longer_padding_changes_no_word(tokenizer, word_index):
    short = tokenizer(TEXTS, padding=True, return_tensors="pt")
    long = tokenizer(TEXTS, padding="max_length", max_length=40, return_tensors="pt")
    length = short["input_ids"].shape[1]
    index = word_index(long["input_ids"], long["attention_mask"])
    assert torch.equal(index[:, :length], word_index(short["input_ids"], short["attention_mask"]))
    assert (index[:, length:] == -1).all()


def test_nothing_continues_the_first_token(word_index):
    """A cut text may go on with the rest of a word; it is no part of `[CLS]`."""
    rest = torch.tensor([[PIECES.index("[CLS]"), PIECES.index("##ion"), PIECES.index("##s"), PIECES.index("[SEP]")]])
    assert word_index(rest, torch.ones_like(rest)).tolist() == [[0, 1, 1, 2]]


def test_without_a_tokenizer_every_piece_is_a_word():
    ids = torch.tensor([[2, 6, 7, 8, 3]])
    assert WordIndex(len(PIECES))(ids, torch.ones_like(ids)).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("mark", ["Ġ", "▁"], ids=["byte-level", "sentencepiece"])
def test_vocabularies_that_mark_the_start_of_a_word_work_too(mark):
    pieces = ["<s>", "</s>", "<pad>", f"{mark}lung", "s", f"{mark}clear", "No"]
    model = models.WordLevel({piece: entry for entry, piece in enumerate(pieces)}, unk_token="<pad>")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    index = WordIndex(len(pieces))
    index.set_tokenizer(tokenizer)
    ids = torch.tensor([[0, 6, 3, 4, 5, 1, 2]])  # <s> No lung s clear </s> <pad>
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0]])
    assert index(ids, mask).tolist() == [[0, 1, 2, 2, 3, 4, -1]]
    assert index.closing(ids).tolist() == [[False, False, False, False, False, True, False]]


def test_a_tokenizer_of_another_vocabulary_is_refused(tokenizer):
    with pytest.raises(ValueError, match="has the entry 14, but the text tower's vocabulary has 9 entries"):
        WordIndex(9).set_tokenizer(tokenizer)


def test_resizing_keeps_what_is_known(word_index):
    before = word_index.piece_kinds.clone()
    word_index.resize(20)
    assert torch.equal(word_index.piece_kinds[:15], before)
    assert not word_index.piece_kinds[15:].any()
    word_index.resize(8)
    assert torch.equal(word_index.piece_kinds, before[:8])


def test_a_model_without_words_needs_no_tokenizer(tokenizer, word_index):
    set_word_pieces(nn.Linear(2, 2), tokenizer)
    model = nn.Sequential(WordIndex(len(PIECES)))
    set_word_pieces(model, tokenizer)
    assert torch.equal(model[0].piece_kinds, word_index.piece_kinds)


def test_a_text_tower_without_its_tokenizer_is_reported(tokenizer, word_index, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        BertModel(make_text_config()).save_pretrained(tmp_path)
        model = nn.Sequential(WordIndex(len(PIECES)))
        load_word_pieces(model, tmp_path)
        assert "has no tokenizer: every word piece counts as a word" in caplog.text
        assert not model[0].piece_kinds.any()
        caplog.clear()
        tokenizer.save_pretrained(tmp_path)
        load_word_pieces(model, tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
    assert "no tokenizer" not in caplog.text
    assert torch.equal(model[0].piece_kinds, word_index.piece_kinds)


def test_the_words_compile_in_one_piece(word_index):
    def words(ids, mask, states):
        return sum_word_pieces(states, word_index(ids, mask))

    ids = torch.tensor([[2, 6, 7, 8, 3], [2, 12, 3, 0, 0]])
    mask, states = (ids != 0).long(), torch.randn(2, 5, 3)
    compiled = torch.compile(words, backend="eager", fullgraph=True)
    for one, other in zip(compiled(ids, mask, states), words(ids, mask, states), strict=True):
        torch.testing.assert_close(one, other)
