"""The vocabulary of one finding, and the words that grade its severity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noun:
    """
    One name of a finding.

    Args:
        singular (`str`): Head of the noun phrase.
        plural (`str`): Its plural; the same word for what cannot be counted.
        countable (`bool`): Whether the singular takes an article.
        always_plural (`bool`): Whether it takes a plural verb even for one instance.
        tail (`str`): Words after the place, such as `"consistent with pneumonia"`.
    """

    singular: str
    plural: str
    countable: bool
    always_plural: bool
    tail: str


@dataclass(frozen=True, slots=True)
class Lexeme:
    """
    The vocabulary of one finding.

    Args:
        organ (`str`): Where in a report it is discussed.
        nouns (`tuple[Noun, ...]`): Its names; every one is true of the finding itself, never of a subtype.
        grade (`str`): Which words grade it, a key of `SEVERITY_WORDS`.
        change (`str`): Which words compare it, a key of `CHANGE_WORDS`.
        place (`str`): How its side and region are said, see [`place_words`].
        importance (`int`): 0 (of no consequence) to 3 (always in the impression); from 2 on it is summarised.
        acute (`bool`): Whether a report with it may not say that nothing acute is seen.
        denied (`tuple[str, ...]`): How its absence is said after "no".
        clauses (`tuple[str, ...]`): Whole clauses that state it; `{degree}` is an adverb with a trailing space.
        diagnosis (`bool`): Whether it is concluded from signs, so that "findings consistent with" fits.
    """

    organ: str
    nouns: tuple[Noun, ...]
    grade: str
    change: str
    place: str
    importance: int
    acute: bool
    denied: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    diagnosis: bool = False


SEVERITY_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "degree": {
        "subtle": ("minimal", "slight"),
        "mild": ("mild",),
        "moderate": ("moderate",),
        "severe": ("severe", "marked"),
    },
    "extent": {
        "subtle": ("subtle", "faint", "minimal"),
        "mild": ("mild",),
        "moderate": ("moderate",),
        "severe": ("extensive", "severe"),
    },
    "volume": {
        "subtle": ("trace", "tiny", "minimal"),
        "mild": ("small",),
        "moderate": ("moderate", "moderate-sized"),
        "severe": ("large",),
    },
    # How large a focal finding is, is said in centimetres.
    "focal": {"subtle": ("faint", "subtle", "small"), "severe": ("large",)},
    "displacement": {
        "subtle": ("nondisplaced", "subtle"),
        "mild": ("minimally displaced", "mildly displaced"),
        "moderate": ("moderately displaced",),
        "severe": ("severely displaced", "markedly displaced"),
    },
    "none": {},
}
DEGREE_ADVERBS: dict[str, tuple[str, ...]] = {
    "subtle": ("minimally", "slightly"),
    "mild": ("mildly",),
    "moderate": ("moderately",),
    "severe": ("severely", "markedly"),
}


def lexeme(
    organ: str,
    nouns: str,
    denied: str,
    *,
    grade: str = "degree",
    change: str = "degree",
    place: str = "any",
    importance: int = 2,
    acute: bool = True,
    clauses: str = "",
    diagnosis: bool = False,
) -> Lexeme:
    """
    A lexeme from lists written with `"; "` between the items; see [`Lexeme`] for the arguments.

    Example:

    ```python
    >>> from synthcxr.reports.lexeme import lexeme

    >>> lexeme("pleura", "effusion|effusions; fluid ~ in the pleural space", "effusion").nouns[1].tail
    'in the pleural space'

    ```
    """
    return Lexeme(
        organ,
        tuple(_noun(item) for item in nouns.split("; ")),
        grade,
        change,
        place,
        importance,
        acute,
        tuple(denied.split("; ")),
        tuple(clauses.split("; ")) if clauses else (),
        diagnosis,
    )


def _noun(text: str) -> Noun:
    """`"head|plural ~ tail"`; no plural means that it cannot be counted, `=` that it is always plural."""
    head, _, tail = text.partition(" ~ ")
    singular, bar, plural = head.lstrip("=").partition("|")
    return Noun(singular, plural or singular, bool(bar), head.startswith("="), tail)
