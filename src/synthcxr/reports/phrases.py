"""Noun phrases: severity, size, side, region and name of what is found."""

from __future__ import annotations

from typing import NamedTuple

from .draws import Draws
from .lexeme import SEVERITY_WORDS, Noun
from .lexicon import LEXICON
from .places import place_words
from .statements import Statement
from .wording import SIZES_AFTER, SIZES_BEFORE


class NounPhrase(NamedTuple):
    """
    What a sentence is about.

    Args:
        bare (`str`): Without an article.
        np (`str`): With one, where it takes one.
        plural (`bool`): Whether its verb is plural.
    """

    bare: str
    np: str
    plural: bool

    @property
    def be(self) -> str:
        """`"is"` or `"are"`."""
        return "are" if self.plural else "is"

    @property
    def have(self) -> str:
        """`"has"` or `"have"`."""
        return "have" if self.plural else "has"

    def fill(self, template: str) -> str:
        """A sentence of `wording` about it."""
        return template.format(bare=self.bare, np=self.np, be=self.be, have=self.have)


# Nouns that hold of the finding alone; the others ("opacity consistent with pneumonia") assert a sign as well.
_PLAIN_NOUNS: dict[str, tuple[Noun, ...]] = {
    finding: tuple(noun for noun in entry.nouns if not noun.tail) or entry.nouns for finding, entry in LEXICON.items()
}
_VOWELS = tuple("aeiou")
_LARGEST_IN_MM = 3.0


def noun_phrase(
    draws: Draws, statement: Statement, *, adjective: str = "", plain: bool = False, placed: bool = True
) -> NounPhrase:
    """
    Name what a statement is about.

    Args:
        draws (`Draws`): Where to draw from.
        statement (`Statement`): What is found; every detail that it has is said.
        adjective (`str`): Goes first, such as `"new"`.
        plain (`bool`): Only names that assert no sign besides the finding.
        placed (`bool`): Whether to say where.

    Returns:
        `NounPhrase`: Lower case.
    """
    entry = LEXICON[statement.finding]
    noun = draws.pick(_PLAIN_NOUNS[statement.finding] if plain else entry.nouns)
    many = statement.side == "bilateral" or len(statement.instances) > 1
    head = noun.plural if many else noun.singular
    before = after = ""
    if placed:
        before, after = draws.pick(place_words(entry.place, statement.side, statement.region))
        head = _without_repetition(head, before, after)
    words = [adjective, _severity(draws, statement)]
    size_after = ""
    if statement.size_cm is not None:
        size = _size(draws, statement.size_cm)
        if draws.chance(0.65):
            words.append(size if words[-1] else draws.pick(SIZES_BEFORE).format(size=size))
        else:
            size_after = draws.pick(SIZES_AFTER).format(size=size)
    bare = " ".join(word for word in (*words, before, head, after, noun.tail, size_after) if word)
    singular = noun.countable and not many
    return NounPhrase(bare, with_article(bare) if singular else bare, noun.always_plural or (noun.countable and many))


def contrasted_phrase(draws: Draws, first: Statement, second: Statement) -> NounPhrase:
    """Both sides of one finding, each with its own severity: `"small left and large right pleural effusions"`."""
    entry = LEXICON[first.finding]
    noun = draws.pick(_PLAIN_NOUNS[first.finding])
    sides = []
    for statement in (first, second):
        before, _ = place_words(entry.place, statement.side, None)[0]
        sides.append(" ".join(word for word in (_severity(draws, statement), before or statement.side) if word))
    head = _without_repetition(noun.plural, place_words(entry.place, second.side, None)[0][0], "")
    bare = f"{sides[0]} and {sides[1]} {head}"
    return NounPhrase(bare, bare, noun.countable or noun.always_plural)


def with_article(bare: str) -> str:
    """`"a"` or `"an"` and the phrase; numbers as they are read out."""
    number = bare.split(" ", 1)[0].split(".", 1)[0]
    vowel = bare.startswith(_VOWELS) or number in ("11", "18") or (number.startswith("8") and number.isdigit())
    # Abbreviations are spelled out: "an ET tube", "an NG tube".
    return f"{'an' if vowel or bare.startswith(('ET ', 'NG ')) else 'a'} {bare}"


def _severity(draws: Draws, statement: Statement) -> str:
    if statement.severity is None:
        return ""
    return draws.pick(SEVERITY_WORDS[LEXICON[statement.finding].grade][statement.severity])


def _size(draws: Draws, size_cm: float) -> str:
    """Millimetres for small things, or centimetres with one decimal."""
    if size_cm < 1 or (size_cm < _LARGEST_IN_MM and draws.chance(0.4)):
        return f"{max(round(size_cm * 10), 1)} mm"
    return f"{size_cm:.1f} cm"


def _without_repetition(head: str, before: str, after: str) -> str:
    """`"right upper lung nodule"` rather than `"right upper lung pulmonary nodule"`."""
    if before.endswith("lung") and head.startswith(("lung ", "pulmonary ")):
        return head.split(" ", 1)[1]
    if head.startswith("lung ") and "lung" in after:
        return head.split(" ", 1)[1]
    return head
