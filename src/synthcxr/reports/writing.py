"""Write a report from a `StudySpec`: a probabilistic grammar without learning."""

from __future__ import annotations

from itertools import groupby

from ..ontology import StudySpec
from .draws import Draws
from .lexicon import LEXICON
from .negatives import organ_of
from .planning import plan_report
from .realising import realise
from .statements import ReportPlan, Statement
from .styles import ORGAN_LABELS, STYLES
from .wording import (
    AS_ABOVE,
    LIMITS,
    NO_CHANGE,
    NORMAL_CHEST,
    NOTHING_ACUTE,
    NOTHING_SAID,
    RECOMMENDATIONS,
)


_CONCLUSIONS = {"normal": NORMAL_CHEST, "nothing_acute": NOTHING_ACUTE, "no_change": NO_CHANGE, "as_above": AS_ABOVE}


def write_report(spec: StudySpec, *, seed: int | None = None) -> str:
    """
    Write the report of a study.

    Args:
        spec (`StudySpec`): The study; what the report says is exactly what [`plan_report`] takes from it.
        seed (`int`, *optional*, defaults to `spec.seed`): Stream of the choices; manner and wording follow from it.

    Returns:
        `str`: `"FINDINGS: ...\\nIMPRESSION: ..."`, sometimes after lines with indication, comparison and technique.
        The same text for the same spec and seed, on every machine.

    Raises:
        ValueError: When the spec cannot be said, see [`plan_report`].

    Example:

    ```python
    >>> from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
    >>> from synthcxr.reports import split_sections, write_report

    >>> spec = StudySpec(
    ...     "s1",
    ...     Patient("p1", "male", 70, 24, seed=1),
    ...     Acquisition("AP"),
    ...     (FindingInstance("pneumothorax", "right", "right_apex", "mild"),),
    ... )
    >>> report = write_report(spec, seed=7)
    >>> "right" in split_sections(report)["findings"], "left" in report
    (True, False)
    >>> report == write_report(spec, seed=7)
    True

    ```
    """
    return realise_plan(plan_report(spec, seed=seed))


def realise_plan(plan: ReportPlan) -> str:
    """Put a plan into words; the same words for the same plan."""
    draws = Draws(plan.seed, "words")
    lines = [f"{header}: {text}" for header, text in plan.preamble]
    lines.append(f"FINDINGS: {_findings(draws, plan)}")
    lines.append(f"IMPRESSION: {_impression(draws, plan)}")
    return "\n".join(lines)


def _findings(draws: Draws, plan: ReportPlan) -> str:
    style = STYLES[plan.style]
    texts = [finish(draws.pick(LIMITS[limit])) for limit in plan.limits]
    stated: set[str] = set()
    for organ, sentences in groupby(plan.findings, key=lambda sentence: organ_of(sentence[0])):
        written = []
        for sentence in sentences:
            first = sentence[0]
            additional = len(sentence) == 1 and first.finding in stated and _is_countable(first)
            written.append(
                finish(
                    realise(
                        draws, sentence, style.manner, labelled=style.labelled and not written, additional=additional
                    )
                )
            )
            stated.update(item.finding for item in sentence if item.polarity == "present")
        if style.labelled:
            written[0] = f"{draws.pick(ORGAN_LABELS[organ])}: {written[0]}"
        texts += written
    return " ".join(texts) or finish(NOTHING_SAID)


def _is_countable(statement: Statement) -> bool:
    entry = LEXICON[statement.finding]
    return (
        statement.polarity == "present" and entry.grade in ("focal", "displacement") and statement.side != "bilateral"
    )


def _impression(draws: Draws, plan: ReportPlan) -> str:
    style = STYLES[plan.style]
    items: list[str] = []
    joinable: Statement | None = None
    for sentence in plan.impression:
        text = realise(draws, sentence, "summary")
        if joinable is not None and _fits(joinable, sentence[0]) and draws.chance(0.3):
            items[-1] = f"{items[-1]} and {text}"
            joinable = None
            continue
        items.append(text)
        joinable = sentence[0] if _fits(sentence[0], sentence[0]) else None

    if "low_lung_volumes" in plan.limits and draws.chance(0.2):
        items.insert(0, "low lung volumes")
    if plan.conclusion is not None:
        text = draws.pick(_CONCLUSIONS[plan.conclusion])
        simple = len(items) == 1 and len(plan.impression) == 1 and joinable is not None
        if plan.conclusion == "nothing_acute" and simple and text.startswith("no acute") and draws.chance(0.35):
            items[0] = f"{items[0]} without {text.removeprefix('no ')}".removesuffix(" identified")
        else:
            items.insert(0 if draws.chance(0.5) else len(items), text)
    if plan.recommendation is not None:
        items.append(draws.pick(RECOMMENDATIONS[plan.recommendation]))
    if draws.chance(style.numbered if len(items) > 1 else 0.15 * style.numbered):
        return " ".join(f"{number}. {finish(item)}" for number, item in enumerate(items, 1))
    return " ".join(finish(item) for item in items)


def _fits(first: Statement, second: Statement) -> bool:
    """Whether two summaries can stand in one phrase without a doubt about what belongs to which."""
    for statement in (first, second):
        if statement.polarity != "present" or statement.change is not None or LEXICON[statement.finding].clauses:
            return False
        if LEXICON[statement.finding].organ == "devices":
            return False
    return first.side == second.side


def finish(text: str) -> str:
    """A capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
