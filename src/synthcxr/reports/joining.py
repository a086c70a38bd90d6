"""Which statements share a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ontology import structure_of
from .draws import Draws
from .lexicon import LEXICON
from .statements import Sentence, Statement


_Rule = Callable[[Draws, Statement, Statement], Sentence | None]

_MERGED = 0.8
_CONTRASTED = 0.4
_ALTERNATIVES = 0.4
_TOGETHER = 0.5


def join_positives(draws: Draws, positives: list[Statement], *, joining: float) -> list[Sentence]:
    """
    Put statements that belong together into one sentence: both sides of one finding, hedges about the same place,
    neighbours on the same side, devices in good position.

    Args:
        draws (`Draws`): Where to draw from.
        positives (`list[Statement]`): What is, or may be, present.
        joining (`float`): How often neighbours share a sentence.

    Returns:
        `list` of sentences; every instance is in exactly one.
    """
    sentences: list[Sentence] = [
        (statement,) for statement in positives if LEXICON[statement.finding].organ != "devices"
    ]
    devices = [statement for statement in positives if LEXICON[statement.finding].organ == "devices"]
    if len(sentences) > 1:
        sentences = _pair_up(draws, sentences, _both_sides)
        sentences = _pair_up(draws, sentences, _hedges)
        sentences = _pair_up(draws, sentences, _neighbours(joining))
    return sentences + _together(draws, devices)


def _pair_up(draws: Draws, sentences: list[Sentence], rule: _Rule) -> list[Sentence]:
    """Apply a rule to pairs of one-statement sentences, first come, first served."""
    paired: list[Sentence] = []
    for sentence in sentences:
        for place, earlier in enumerate(paired):
            if len(earlier) == len(sentence) == 1:
                joined = rule(draws, earlier[0], sentence[0])
                if joined is not None:
                    paired[place] = joined
                    break
        else:
            paired.append(sentence)
    return paired


def _both_sides(draws: Draws, first: Statement, second: Statement) -> Sentence | None:
    if first.finding != second.finding or first.polarity != second.polarity or first.change != second.change:
        return None
    if {first.side, second.side} != {"left", "right"} or first.size_cm is not None or second.size_cm is not None:
        return None
    regions = [region and structure_of(region) for region in (first.region, second.region)]
    if first.severity == second.severity and regions[0] == regions[1] != "rib":
        if not draws.chance(_MERGED):
            return None
        instances = first.instances + second.instances
        return (replace(first, side="bilateral", region=regions[0], instances=instances),)
    if first.polarity == "present" and regions == [None, None] and draws.chance(_CONTRASTED):
        return first, second
    return None


def _hedges(draws: Draws, first: Statement, second: Statement) -> Sentence | None:
    """Two possible readings of the same shadow."""
    if first.polarity != "uncertain" or second.polarity != "uncertain" or first.finding == second.finding:
        return None
    if (first.side, first.region) != (second.side, second.region) or (first.change or second.change) is not None:
        return None
    if LEXICON[first.finding].organ != "lungs" or LEXICON[second.finding].organ != "lungs":
        return None
    return (first, second) if draws.chance(_ALTERNATIVES) else None


def _neighbours(joining: float) -> _Rule:
    def rule(draws: Draws, first: Statement, second: Statement) -> Sentence | None:
        if first.polarity != "present" or second.polarity != "present" or first.finding == second.finding:
            return None
        if first.side is None or first.side != second.side or (first.change or second.change) is not None:
            return None
        organs = {LEXICON[first.finding].organ, LEXICON[second.finding].organ}
        if organs <= {"lungs", "pleura"} and draws.chance(joining):
            return first, second
        return None

    return rule


def _together(draws: Draws, devices: list[Statement]) -> list[Sentence]:
    """Devices in good position are often listed with one verdict."""
    good = [item for item in devices if item.polarity == "present" and item.position == "satisfactory"]
    good = [item for item in good if item.region is None]
    changes = {item.change for item in good}
    if len(good) < 2 or len(changes) > 1 or changes.isdisjoint((None, "same")) or not draws.chance(_TOGETHER):
        return [(item,) for item in devices]
    return [tuple(good), *((item,) for item in devices if item not in good)]
