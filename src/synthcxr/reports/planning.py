"""Decide what a report says: a `ReportPlan` from a `StudySpec`."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ..ontology import FINDINGS, REGIONS, StudySpec, with_ancestors
from .devices import TIPS
from .draws import Draws
from .impressions import plan_impression
from .joining import join_positives
from .lexeme import SEVERITY_WORDS
from .lexicon import LEXICON
from .negatives import (
    AIRSPACE_NEGATIVES,
    BLOCKS,
    DESCENDANTS,
    EXCLUSIVE_NORMALS,
    LUNG_FINDINGS,
    NEGATIVE_WEIGHTS,
    NORMALS,
    organ_of,
)
from .places import located
from .preamble import draw_limits, draw_preamble
from .statements import ReportPlan, Sentence, Statement
from .styles import STYLE_NAMES, STYLES, WARD_STYLE_NAMES, Style


_GOOD_INSPIRATION = 0.7
# Gone since the prior study: what is worth a sentence.
_RESOLVABLE = frozenset(
    {
        *("pneumothorax", "pleural_effusion", "edema", "consolidation", "pneumonia", "atelectasis", "infiltration"),
        *("subcutaneous_emphysema", "pneumoperitoneum"),
        *("endotracheal_tube", "nasogastric_tube", "central_venous_catheter", "chest_tube"),
    }
)
# Normal sentences as statements, made once.
_NORMAL_SENTENCES: dict[str, Sentence] = {
    topic: tuple(Statement(finding, "absent", topic=topic) for finding in normal.denies)
    for topic, normal in NORMALS.items()
}
_NORMAL_ODDS: dict[str, tuple[tuple[str, float, tuple[str, ...], tuple[str, ...]], ...]] = {
    name: tuple(
        (topic, normal.weight * style.normals, normal.denies, normal.unless)
        for topic, normal in NORMALS.items()
        if style.labelled or topic != "no_devices"
    )
    for name, style in STYLES.items()
}
_NEGATIVE_ODDS = tuple(NEGATIVE_WEIGHTS.items())
_CLEAR_SIDES: dict[str, Sentence] = {
    side: tuple(Statement(finding, "absent", side=side, topic="side_clear") for finding in LUNG_FINDINGS)
    for side in ("left", "right")
}
_DENIALS: dict[str, Statement] = {finding: Statement(finding, "absent") for finding in LEXICON}
_MOST_IN_A_LIST = 4


def plan_report(spec: StudySpec, *, seed: int | None = None) -> ReportPlan:
    """
    Decide what the report of a study says.

    A finding of `report_omits` is left out with everything more specific, and is not denied either. One of
    `report_contradicts` is denied, and everything more specific left out; one that the study does not have is claimed
    without a place. What is said is true otherwise: see [`Statement`].

    Args:
        spec (`StudySpec`): The study.
        seed (`int`, *optional*, defaults to `spec.seed`): Stream of the choices.

    Returns:
        `ReportPlan`: The same for the same spec and seed.

    Raises:
        TypeError: When `spec` is no `StudySpec` or `seed` no integer.
        ValueError: When a finding to omit or contradict is unknown, a size is not positive, or a region lies on
            another side than its finding.

    Example:

    ```python
    >>> from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
    >>> from synthcxr.reports import plan_report

    >>> spec = StudySpec(
    ...     "s1",
    ...     Patient("p1", "female", 61, 27, seed=1),
    ...     Acquisition("PA"),
    ...     (FindingInstance("pleural_effusion", "left", severity="mild"),),
    ... )
    >>> [statement.side for statement in plan_report(spec).statements if statement.polarity == "present"]
    ['left']

    ```
    """
    if not isinstance(spec, StudySpec):
        raise TypeError(f"spec is of type {type(spec).__name__}; expected a StudySpec.")
    seed = operator.index(spec.seed if seed is None else seed)
    draws = Draws(seed, "plan")
    hidden, contradicted, claimed = _distortions(spec)
    shown = [index for index, item in enumerate(spec.findings) if item.finding not in hidden]
    named = {item.finding for item in spec.findings} | hidden | claimed
    blocked = frozenset().union(*(BLOCKS[finding] for finding in named))

    has_devices = any(FINDINGS[item.finding].kind == "device" for item in spec.findings)
    style_name = draws.pick(WARD_STYLE_NAMES if has_devices else STYLE_NAMES)
    style = STYLES[style_name]
    compared = spec.prior is not None or any(item.change is not None for item in spec.findings)

    positives = [_state(draws, spec, index, style) for index in shown]
    positives += [Statement(finding, "present") for finding in sorted(claimed)]
    sentences = join_positives(draws, positives, joining=style.joining)
    gone = _resolved(draws, spec, blocked)
    sentences += gone
    sentences += _normals(draws, spec, blocked, named, style_name)
    sentences += _spared_lung(draws, spec, blocked)
    sentences += _negatives(draws, blocked, contradicted, {sentence[0].finding for sentence in gone}, style)

    overinflated = not {"hyperinflation", "emphysema", "copd"}.isdisjoint(named)
    impression, conclusion, recommendation = plan_impression(
        draws, spec, positives, blocked=blocked, contradicted=contradicted, named=named
    )
    return ReportPlan(
        seed=seed,
        style=style_name,
        findings=_in_order(sentences, style),
        impression=impression,
        conclusion=conclusion,
        recommendation=recommendation,
        limits=draw_limits(draws, spec, overinflated=overinflated),
        preamble=draw_preamble(draws, spec, compared=compared, rate=style.preamble),
    )


def _distortions(spec: StudySpec) -> tuple[set[str], list[str], set[str]]:
    """Findings not to state, those to deny, and those to claim though the study does not have them."""
    if not spec.report_omits and not spec.report_contradicts:
        return set(), [], set()
    for name in ("report_omits", "report_contradicts"):
        for finding in getattr(spec, name):
            if finding not in LEXICON:
                raise ValueError(f"{name} has {finding!r}; expected ontology ids of findings that can be placed.")
    present = with_ancestors(item.finding for item in spec.findings)
    opposed = [finding for finding in spec.report_contradicts if finding not in spec.report_omits]
    contradicted = [finding for finding in opposed if finding in present]
    hidden = {*spec.report_omits, *contradicted}
    hidden = hidden.union(*(DESCENDANTS[finding] for finding in hidden))
    return hidden, contradicted, {finding for finding in opposed if finding not in present}


def _state(draws: Draws, spec: StudySpec, index: int, style: Style) -> Statement:
    """One instance as a statement, with as much detail as the radiologist gives."""
    item = spec.findings[index]
    entry = LEXICON[item.finding]
    side, region = located(item.finding, entry.place, item.side, item.region)
    uncertain = item.certainty == "uncertain"
    device = entry.organ == "devices"
    if item.size_cm is not None and not (math.isfinite(item.size_cm) and item.size_cm > 0):
        raise ValueError(f"size_cm of {item.finding} is {item.size_cm!r}; expected a positive number.")

    if side == "bilateral" and not FINDINGS[item.finding].sided and draws.chance(0.5):
        side = None
    if device and not uncertain and item.region in TIPS and side != "bilateral" and draws.chance(0.6):
        region = item.region
    elif region is not None and not draws.chance(0.4 if entry.place == "fluid" else style.detail):
        region = None
    severity = item.severity if item.severity in SEVERITY_WORDS[entry.grade] else None
    return Statement(
        item.finding,
        "uncertain" if uncertain else "present",
        side=side,
        region=region,
        severity=severity if draws.chance(style.detail) else None,
        size_cm=item.size_cm if entry.grade == "focal" and draws.chance(style.detail) else None,
        change=item.change,
        position=item.position if device and not uncertain else None,
        instances=(index,),
    )


def _resolved(draws: Draws, spec: StudySpec, blocked: AbstractSet[str]) -> list[Sentence]:
    """What the prior study had and this one has not."""
    if spec.prior is None:
        return []
    gone = [
        item.finding
        for item in spec.prior.findings
        if item.finding in _RESOLVABLE and item.certainty == "certain" and item.finding not in blocked
    ]
    return [(Statement(finding, "absent", topic="resolved"),) for finding in dict.fromkeys(gone) if draws.chance(0.6)]


def _normals(
    draws: Draws, spec: StudySpec, blocked: frozenset[str], named: AbstractSet[str], style_name: str
) -> list[Sentence]:
    """Normal anatomy that may be called normal."""
    random, topics = draws.random, []
    for topic, probability, denies, unless in _NORMAL_ODDS[style_name]:
        if random() < probability and blocked.isdisjoint(denies) and named.isdisjoint(unless):
            topics.append(topic)
    if "lungs_expanded" in topics and spec.acquisition.inspiration < _GOOD_INSPIRATION:
        topics.remove("lungs_expanded")
    for kept, redundant in EXCLUSIVE_NORMALS:
        if kept in topics and redundant in topics:
            topics.remove(redundant)
    return [_NORMAL_SENTENCES[topic] for topic in topics]


def _spared_lung(draws: Draws, spec: StudySpec, blocked: AbstractSet[str]) -> list[Sentence]:
    """The lung beside the affected one, or what is left of both."""
    chest = [item for item in spec.findings if FINDINGS[item.finding].kind in ("lung", "pleura")]
    if not chest or spec.report_omits or spec.report_contradicts:
        return []
    sides = {item.side or (REGIONS[item.region].side if item.region else None) for item in chest}
    if len(sides) == 1 and not sides.isdisjoint(("left", "right")) and draws.chance(0.25):
        return [_CLEAR_SIDES["right" if "left" in sides else "left"]]
    if all(FINDINGS[item.finding].kind == "lung" for item in chest) and draws.chance(0.15):
        others = (finding for finding in LUNG_FINDINGS if finding not in blocked)
        return [tuple(Statement(finding, "absent", topic="otherwise_clear") for finding in others)]
    return []


def _negatives(
    draws: Draws, blocked: AbstractSet[str], contradicted: Sequence[str], said: AbstractSet[str], style: Style
) -> list[Sentence]:
    """Plain negatives, some of them in one sentence."""
    random = draws.random
    chosen = [
        finding
        for finding, weight in _NEGATIVE_ODDS
        if random() < weight and finding not in blocked and finding not in said
    ]
    airspace = [finding for finding in chosen if finding in AIRSPACE_NEGATIVES]
    if len(airspace) > 1:
        kept = draws.pick(airspace)
        chosen = [finding for finding in chosen if finding == kept or finding not in airspace]
    chosen += [finding for finding in contradicted if finding not in chosen]

    alone = [finding for finding in chosen if LEXICON[finding].organ not in ("lungs", "pleura")]
    shared = [finding for finding in chosen if finding not in alone]
    if draws.chance(0.4):
        shared.reverse()
    groups: list[list[str]] = []
    for finding in shared:
        fits = groups and len(groups[-1]) < _MOST_IN_A_LIST
        if fits and style.labelled:
            fits = LEXICON[groups[-1][0]].organ == LEXICON[finding].organ
        if fits and draws.chance(style.grouping):
            groups[-1].append(finding)
        else:
            groups.append([finding])
    return [tuple(_DENIALS[finding] for finding in group) for group in (*groups, *([item] for item in alone))]


def _in_order(sentences: list[Sentence], style: Style) -> tuple[Sentence, ...]:
    """Organ by organ; what is there before what is not."""
    rank = style.organs.index
    return tuple(
        sorted(sentences, key=lambda sentence: (rank(organ_of(sentence[0])), sentence[0].polarity == "absent"))
    )
