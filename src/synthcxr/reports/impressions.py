"""What the impression says: the positives by importance, and a conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ..ontology import FINDINGS, FindingInstance, StudySpec
from .draws import Draws
from .lexicon import LEXICON
from .statements import Sentence, Statement


_IMPORTANT = 2
_MINOR_RATE = 0.4
_DEVICE_RATE = 0.2
_WORSE = ("new", "worse")
# What an impression may deny when it has nothing else to say, most usual first.
_LAST_RESORT = ("pneumothorax", "pleural_effusion", "edema", "consolidation", "pneumoperitoneum", "fracture", "hernia")
_LESIONS = frozenset({"nodule", "mass", "cavity", "lung_lesion"})


def plan_impression(
    draws: Draws,
    spec: StudySpec,
    positives: Sequence[Statement],
    *,
    blocked: AbstractSet[str],
    contradicted: Sequence[str],
    named: AbstractSet[str],
) -> tuple[tuple[Sentence, ...], str | None, str | None]:
    """
    Summarise a study.

    Args:
        draws (`Draws`): Where to draw from.
        spec (`StudySpec`): The study.
        positives (`Sequence[Statement]`): What the findings section states or hedges.
        blocked (`Set[str]`): Findings that may not be denied.
        contradicted (`Sequence[str]`): Findings to deny though they are present.
        named (`Set[str]`): Findings that are, or may be, present, said or not.

    Returns:
        `tuple` of the sentences, the conclusion and the recommendation, see [`ReportPlan`].
    """
    groups: dict[tuple[str, str, tuple[int, ...]], list[Statement]] = {}
    for statement in positives:
        # Each device has a position of its own.
        own = statement.instances if LEXICON[statement.finding].organ == "devices" else ()
        groups.setdefault((statement.finding, statement.polarity, own), []).append(statement)
    ranked = sorted(groups.values(), key=lambda group: max(map(_weight, group)), reverse=True)
    chosen = [
        _summarise(draws, group)
        for group in ranked
        if any(map(is_important, group)) or draws.chance(_minor_rate(group[0]))
    ]
    sentences: list[Sentence] = [(item,) for item in chosen]
    sentences += [(Statement(finding, "absent"),) for finding in contradicted if draws.chance(0.6)]

    conclusion = None
    acute = any(LEXICON[finding].acute for finding in named) or any(map(_is_acute, spec.findings))
    if not named and draws.chance(0.2):
        conclusion = "normal"
    elif not acute and not (chosen and draws.chance(0.25)):
        conclusion = "nothing_acute"
    elif _is_unchanged(spec) and draws.chance(0.4):
        conclusion = "no_change"
    if not conclusion and (not sentences or draws.chance(0.08)):
        sentences += _last_resort(draws, blocked, [*(item.finding for item in chosen), *contradicted])
    if not sentences and not conclusion:
        conclusion = "as_above"
    return tuple(sentences), conclusion, _recommendation(draws, chosen)


def is_misplaced(statement: Statement) -> bool:
    """Whether it is a device in bad position."""
    return statement.position not in (None, "satisfactory")


def is_important(statement: Statement) -> bool:
    """Whether an impression has to mention it."""
    grave = statement.severity == "severe" or statement.change in _WORSE or is_misplaced(statement)
    return LEXICON[statement.finding].importance >= _IMPORTANT or grave


def _minor_rate(statement: Statement) -> float:
    return _DEVICE_RATE if LEXICON[statement.finding].organ == "devices" else _MINOR_RATE


def _is_acute(item: FindingInstance) -> bool:
    changed = item.change in _WORSE and LEXICON[item.finding].organ != "devices"
    return item.certainty == "uncertain" or changed or item.position not in (None, "satisfactory")


def _weight(statement: Statement) -> float:
    entry = LEXICON[statement.finding]
    weight = 2.0 * entry.importance + 3.0 * entry.acute + 6.0 * is_misplaced(statement)
    weight += {"severe": 3.0, "moderate": 1.5, "subtle": -1.0}.get(statement.severity or "", 0.0)
    return weight + 2.0 * (statement.change in _WORSE) - 2.0 * (statement.polarity == "uncertain")


def _summarise(draws: Draws, group: list[Statement]) -> Statement:
    """One statement for all instances of a finding; only what holds for each of them is kept."""
    first = group[0]
    if len(group) == 1:
        return Statement(
            first.finding,
            first.polarity,
            side=first.side,
            region=first.region if draws.chance(0.6) else None,
            severity=first.severity if draws.chance(0.85) else None,
            size_cm=first.size_cm if draws.chance(0.7) else None,
            change=first.change,
            position=first.position,
            instances=first.instances,
        )
    sides = {item.side for item in group}
    return Statement(
        first.finding,
        first.polarity,
        side=None if None in sides else (first.side if len(sides) == 1 else "bilateral"),
        region=first.region if len({item.region for item in group}) == 1 else None,
        severity=first.severity if len({item.severity for item in group}) == 1 else None,
        change=first.change if len({item.change for item in group}) == 1 else None,
        position=first.position if len({item.position for item in group}) == 1 else None,
        instances=tuple(index for item in group for index in item.instances),
    )


def _is_unchanged(spec: StudySpec) -> bool:
    if spec.prior is None or spec.report_omits or spec.report_contradicts:
        return False
    same = all(item.change == "same" and item.certainty == "certain" for item in spec.findings)
    return same and {item.finding for item in spec.findings} == {item.finding for item in spec.prior.findings}


def _last_resort(draws: Draws, blocked: AbstractSet[str], said: Sequence[str]) -> list[Sentence]:
    """One or two plain negatives."""
    free = [finding for finding in _LAST_RESORT if finding not in blocked and finding not in said]
    if not free:
        return []
    count = 2 if draws.chance(0.4) else 1
    return [tuple(Statement(finding, "absent") for finding in free[:count])]


def _recommendation(draws: Draws, chosen: Sequence[Statement]) -> str | None:
    if any(item.finding in _LESIONS and item.change != "same" for item in chosen) and draws.chance(0.4):
        return "lesion"
    if any(is_misplaced(item) for item in chosen) and draws.chance(0.3):
        return "position"
    if any(item.polarity == "uncertain" and FINDINGS[item.finding].kind != "device" for item in chosen):
        return "hedge" if draws.chance(0.25) else None
    return None
