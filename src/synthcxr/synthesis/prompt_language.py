"""Prompts that a generator of English reports cannot read: other alphabets, other languages, no words it knows."""

from __future__ import annotations

import re
import unicodedata
from typing import Any


_MOST_UNKNOWN = 0.5
# So many words of an English report hold one of these: they did in all 928 sections of real reports that are as long
# (Open-i), and in the reports of all of 4,781 simulated studies. Hardly one is a word of another language.
_WORDS_TO_TELL = 10
_ENGLISH = frozenset(
    """
    abnormality acute airspace and appear appears are available between both cannot changes clear contours
    decreased disease effusion effusions enlarged evidence excluded findings fluid for from grossly has heart
    identified improved increased infiltrates it left limits lower lung lungs mild mildly moderate otherwise
    overlying pattern pulmonary recommended right seen shadow shows since size small spine stable status suggest
    suggested than the there this tip tube unchanged unremarkable upper vascularity view views was were which
    with within without
    """.split()
)
_WORD = re.compile(r"[^\W\d_]+")


def why_unreadable(text: str, tokenizer: Any) -> str:
    """
    Why a prompt cannot mean anything to a generator; empty if it can.

    Args:
        text (`str`): A cleaned prompt.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
    """
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(not (letter.isascii() or "LATIN" in unicodedata.name(letter, "")) for letter in letters)
    if other > _MOST_UNKNOWN * len(letters):
        return f"the prompt {text[:40]!r} is not in Latin letters; expected an English report"
    words = _WORD.findall(text.lower())
    if len(words) >= _WORDS_TO_TELL and _ENGLISH.isdisjoint(words):
        return f"the prompt {text[:40]!r} has no common English word; expected an English report"
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    unknown = ids.count(tokenizer.unk_token_id) if tokenizer.unk_token_id != tokenizer.eos_token_id else 0
    if unknown > _MOST_UNKNOWN * len(ids):
        return f"the generator knows {len(ids) - unknown} of {len(ids)} words of the prompt {text[:40]!r}"
    return ""
