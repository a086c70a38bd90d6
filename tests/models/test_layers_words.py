"""Words from word pieces: against a loop over tokens, and with the vocabularies that there are."""

import pytest
import torch
from tiny_models import VOCAB_SIZE, make_batch, make_model, make_text_config, make_vision_config
from tokenizers import Tokenizer, models
from torch import nn
from transformers import BertModel, BertTokenizer, ModernBertConfig, PreTrainedTokenizerFast, ViTModel

from synthcxr.models import GloriaModel, MgcaModel
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
    BertModel(make_text_config()).save_pretrained(tmp_path)
    model = nn.Sequential(WordIndex(len(PIECES)))
    load_word_pieces(model, tmp_path)
    assert "has no tokenizer: every word piece counts as a word" in caplog.text
    assert not model[0].piece_kinds.any()
    caplog.clear()
    tokenizer.save_pretrained(tmp_path)
    load_word_pieces(model, tmp_path)
    assert "no tokenizer" not in caplog.text
    assert torch.equal(model[0].piece_kinds, word_index.piece_kinds)


def test_a_family_that_makes_no_tokenizer_of_nothing_is_reported_too(tmp_path, caplog):
    ModernBertConfig().save_pretrained(tmp_path)
    load_word_pieces(nn.Sequential(WordIndex(len(PIECES))), tmp_path)
    assert "has no tokenizer" in caplog.text


def cached_text_tower(cache_dir, tokenizers):
    """A Hub cache with a text tower `someone/bert`, one revision per tokenizer, or without one."""
    root = cache_dir / "models--someone--bert"
    for revision, tokenizer in tokenizers.items():
        snapshot = root / "snapshots" / (revision[0] * 40)
        BertModel(make_text_config()).save_pretrained(snapshot)
        if tokenizer is not None:
            tokenizer.save_pretrained(snapshot)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / revision).write_text(snapshot.name)
    return {"cache_dir": cache_dir, "local_files_only": True}


@pytest.mark.parametrize("model_class", [GloriaModel, MgcaModel])
def test_the_tokenizer_has_the_revision_of_the_weights(tokenizer, model_class, tmp_path):
    """The second version of the text tower has a vocabulary whose order differs."""
    other = BertTokenizer(vocab={piece: index for index, piece in enumerate(reversed(PIECES))})
    place = cached_text_tower(tmp_path / "hub", {"after": other, "before": tokenizer})
    ViTModel(make_vision_config("vit")).save_pretrained(tmp_path / "vision")
    place = {f"text_{name}": value for name, value in place.items()}
    for revision, expected in (("before", tokenizer), ("after", other)):
        model = model_class.from_vision_text_pretrained(
            tmp_path / "vision", "someone/bert", projection_dim=16, text_revision=revision, **place
        )
        index = WordIndex(VOCAB_SIZE)
        index.set_tokenizer(expected)
        assert torch.equal(model.word_index.piece_kinds, index.piece_kinds), revision


def test_the_tokenizer_lies_in_the_folder_of_the_weights(tokenizer, word_index, tmp_path):
    ViTModel(make_vision_config("vit")).save_pretrained(tmp_path / "vision")
    BertModel(make_text_config()).save_pretrained(tmp_path / "both" / "text")
    tokenizer.save_pretrained(tmp_path / "both" / "text")
    model = GloriaModel.from_vision_text_pretrained(
        tmp_path / "vision", tmp_path / "both", projection_dim=16, text_subfolder="text"
    )
    assert torch.equal(model.word_index.piece_kinds[: len(PIECES)], word_index.piece_kinds)


def test_a_hub_that_does_not_answer_is_no_missing_tokenizer(tmp_path):
    model = nn.Sequential(WordIndex(len(PIECES)))
    with pytest.raises(OSError, match="couldn't connect"):
        load_word_pieces(model, "someone/bert", cache_dir=tmp_path, local_files_only=True)
    place = cached_text_tower(tmp_path, {"main": None})  # the weights are here, the tokenizer is not
    with pytest.raises(OSError, match="The tokenizer of someone/bert could not be fetched"):
        load_word_pieces(model, "someone/bert", **place)


def test_a_model_that_does_not_know_its_words_says_so_once(tokenizer, caplog):
    model = make_model("gloria").eval()
    for _ in range(2):
        model(**make_batch())
    assert caplog.text.count("does not know its words") == 1
    caplog.clear()
    index = WordIndex(len(PIECES))
    index.set_tokenizer(tokenizer)
    index.closing(torch.tensor([[2, 3]]))
    WordIndex(4).to("meta").closing(torch.zeros(1, 2, dtype=torch.long, device="meta"))
    assert "words" not in caplog.text


def test_the_table_may_lie_on_another_device_than_the_text(word_index):
    """As where a model is spread over several; here the other device is the one of shapes without numbers."""
    ids = torch.zeros(2, 5, dtype=torch.long, device="meta")
    index = word_index(ids, torch.ones_like(ids))
    assert index.device == word_index.closing(ids).device == ids.device
    words, mask = sum_word_pieces(torch.zeros(2, 5, 3, device="meta"), torch.zeros(2, 5, dtype=torch.long))
    assert words.device == mask.device == ids.device


def test_the_words_compile_in_one_piece(word_index):
    def words(ids, mask, states):
        return sum_word_pieces(states, word_index(ids, mask))

    ids = torch.tensor([[2, 6, 7, 8, 3], [2, 12, 3, 0, 0]])
    mask, states = (ids != 0).long(), torch.randn(2, 5, 3)
    compiled = torch.compile(words, backend="eager", fullgraph=True)
    for one, other in zip(compiled(ids, mask, states), words(ids, mask, states), strict=True):
        torch.testing.assert_close(one, other)
