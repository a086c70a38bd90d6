"""A tokenizer of one's own, trained offline on the reports at hand."""

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 2048, model_max_length: int = 256) -> BertTokenizer:
    """
    A lower-case WordPiece tokenizer with BERT's special tokens. The same texts give the same tokenizer.

    Args:
        texts (`Iterable[str]`):
            Reports, in any order.
        vocab_size (`int`, *optional*, defaults to 2048):
            At most so many entries; fewer when the texts hold no more.
        model_max_length (`int`, *optional*, defaults to 256):
            Tokens after which a text is cut.

    Returns:
        `BertTokenizer`: Loads anywhere through `AutoTokenizer`.

    Example:

    ```python
    >>> from synthcxr.training.tokenizer import train_tokenizer

    >>> tokenizer = train_tokenizer(["Small left pleural effusion.", "No pleural effusion."])
    >>> tokenizer.tokenize("No LEFT effusion")
    ['no', 'left', 'effusion']

    ```
    """
    texts = sorted(texts)
    if not any(text.strip() for text in texts):
        raise ValueError(f"All of the {len(texts)} texts are empty; expected words to train a tokenizer on.")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    named = [*SPECIAL_TOKENS, *_letters(tokenizer, texts)]
    if vocab_size < len(named):
        raise ValueError(f"vocab_size={vocab_size}; expected at least {len(named)}, the letters of the texts.")
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=named, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=model_max_length)


def _letters(tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """
    Every letter of the texts, at the start of a word and inside of one, in order.

    The trainer numbers letters as its hash table yields them, differently in every process, and breaks ties between
    equally frequent pieces by these numbers. Named beforehand, they are numbered as named here.
    """
    words = {
        word
        for text in texts
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    }
    return sorted({word[0] for word in words} | {f"##{letter}" for word in words for letter in word[1:]})
