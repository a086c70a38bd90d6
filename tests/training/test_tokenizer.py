"""The tokenizer that is trained on the reports."""

import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from synthcxr.training.tokenizer import SPECIAL_TOKENS, train_tokenizer


TEXTS = [f"{size} {side} pleural effusion, {n} mm." for size in ("Small", "large") for side in "LR" for n in range(12)]


def test_words_that_are_frequent_become_one_token():
    tokenizer = train_tokenizer(TEXTS)
    assert tokenizer.tokenize("PLEURAL Effusion") == ["pleural", "effusion"]


def test_sentences_are_framed_as_bert_expects():
    tokenizer = train_tokenizer(TEXTS)
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert tokenizer.decode(tokenizer("small effusion").input_ids) == "[CLS] small effusion [SEP]"
    assert tokenizer("small effusion", padding="max_length", max_length=6).attention_mask == [1, 1, 1, 1, 0, 0]


def test_texts_are_cut_at_the_maximum_length():
    tokenizer = train_tokenizer(TEXTS, model_max_length=4)
    assert tokenizer("small small small small small", truncation=True).input_ids[-1] == tokenizer.sep_token_id
    assert len(tokenizer("small small small small small", truncation=True).input_ids) == 4


def test_every_process_and_order_gives_the_same_tokenizer():
    """The trainer underneath breaks ties by the order of a hash table, which differs in every process."""
    code = (
        "from synthcxr.training.tokenizer import train_tokenizer; "
        f"print(sorted(train_tokenizer({TEXTS[::-1]}).get_vocab().items()))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(sorted(train_tokenizer(TEXTS).get_vocab().items()))


def test_saved_tokenizers_load_without_our_code(tmp_path):
    tokenizer = train_tokenizer(TEXTS)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded).__module__.startswith("transformers.")
    assert loaded("Large R effusion").input_ids == tokenizer("Large R effusion").input_ids
    assert loaded.model_max_length == 256


def test_empty_texts_are_refused():
    with pytest.raises(ValueError, match="All of the 2 texts are empty"):
        train_tokenizer(["", "  "])


def test_a_vocabulary_smaller_than_the_alphabet_is_refused():
    with pytest.raises(ValueError, match="vocab_size=20; expected at least"):
        train_tokenizer(TEXTS, vocab_size=20)
