"""Cut text into sentences: dictated radiology, with its decimals, abbreviations and numbered lists."""

from __future__ import annotations

import re


# A blank line, a list item on its own line, or the end of a sentence with what closes it.
_BREAK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:\d{1,2}[.)][ \t]|[-*\u2022][ \t]))|[.!?]{1,3}[\"')\]]{0,2}(?=\s|$)")
# "1." or "-" before a list item; "1. 2 cm nodule" keeps its size.
_ENUMERATOR = re.compile(r"\s{0,40}(?:\(?\d{1,2}[.)](?=\s|$)|[-*\u2022](?=\s))")
_ABBREVIATIONS = frozenset(
    {
        *("dr", "drs", "mr", "mrs", "ms", "prof", "st", "jr", "sr", "vs", "e.g", "i.e", "cf", "approx", "ca", "incl"),
        *("fig", "figs", "resp", "esp", "viz", "al", "w.r.t", "a.k.a"),
    }
)
# These end a sentence as well as stand in it: what follows decides.
_MAYBE_ABBREVIATIONS = frozenset({"a.m", "p.m", "etc", "no", "lat", "inc", "m.d", "r.n", "u.s"})
_LEVEL = re.compile(r"[CTLS]\d{1,2}$")
_LONGEST_WORD = 24


def split_sentences(text: str) -> list[str]:
    """
    Cut text into sentences.

    A sentence ends at `.`, `!` or `?` before a blank, at a blank line, and before a list item on a line of its own;
    not inside decimals and abbreviations. The numbers of a list (`"1."`) are left out, as are pieces without a letter
    or digit; line breaks inside a sentence become blanks.

    Args:
        text (`str`): Any text; a section rather than a whole report, or its headers stay in the sentences.

    Returns:
        `list[str]`: In order; empty for an empty text.

    Raises:
        TypeError: When the text is not a string.

    Example:

    ```python
    >>> from synthcxr.reports import split_sentences

    >>> split_sentences("1. A 1.2 cm nodule, e.g. a granuloma. 2. Discussed with Dr. Lee at 5 p.m. by phone.")
    ['A 1.2 cm nodule, e.g. a granuloma.', 'Discussed with Dr. Lee at 5 p.m. by phone.']

    ```
    """
    if not isinstance(text, str):
        found = "None" if text is None else f"of type {type(text).__name__}"
        raise TypeError(f"text is {found}; expected a string.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    sentences: list[str] = []
    start = _after_enumerator(text, 0)
    for match in _BREAK.finditer(text):
        if match.end() <= start:
            continue
        if match[0][0] == "." and not _ends_sentence(text, start, match):
            continue
        _keep(sentences, text[start : match.end()])
        start = _after_enumerator(text, match.end())
    _keep(sentences, text[start:])
    return sentences


def _after_enumerator(text: str, start: int) -> int:
    match = _ENUMERATOR.match(text, start)
    return match.end() if match else start


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether a full stop is the end of its sentence and not of an abbreviation."""
    before = text[max(start, match.start() - _LONGEST_WORD) : match.start()]
    word = before.split()[-1].lstrip("(\"'[") if before.strip() else ""
    following = text[match.end() : match.end() + 3].lstrip()[:1]
    lowered = word.lower()
    if not following:
        return True
    if lowered in _ABBREVIATIONS:
        return False
    if lowered in _MAYBE_ABBREVIATIONS or _LEVEL.match(word):
        # "no. 3" is a number, "no. The" and "at T4. no effusion" are not one sentence in lower case either.
        return following.isupper() or (lowered == "no" and not following.isdigit())
    # The initial of a name, after a title or another initial.
    initial = len(word) == 1 and word.isupper()
    return not (initial and before.rstrip().removesuffix(word).rstrip().endswith("."))


def _keep(sentences: list[str], piece: str) -> None:
    sentence = " ".join(piece.split())
    if any(character.isalnum() for character in sentence):
        sentences.append(sentence)
