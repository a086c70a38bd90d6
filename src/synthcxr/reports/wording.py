"""The grammar's sentences. Templates hold `{np}` (with article), `{bare}` (without), `{be}` and `{have}`."""

from __future__ import annotations

from typing import NamedTuple


class ChangeWords(NamedTuple):
    """
    Ways to compare with the prior study.

    Args:
        adjectives (`tuple[str, ...]`): Before the noun phrase.
        tails (`tuple[str, ...]`): After the sentence, with their comma.
        sentences (`tuple[str, ...]`): Whole sentences.
    """

    adjectives: tuple[str, ...]
    tails: tuple[str, ...]
    sentences: tuple[str, ...]


# Sentences that state a finding, by the radiologist's manner.
PRESENT: dict[str, tuple[str, ...]] = {
    "terse": ("{bare}", "{bare}", "{bare}", "{bare} noted"),
    "plain": (
        *("there {be} {np}",) * 6,
        "{np} {be} present",
        "{np} {be} noted",
        "{np} {be} seen",
        "{np} {be} identified",
        "{bare}",
        "{bare}",
    ),
    "formal": (
        "there {be} {np}",
        "there {be} {np}",
        "there is evidence of {np}",
        "note is made of {np}",
        "{np} {be} demonstrated",
        "{np} {be} identified",
        "{np} {be} visualized",
        "{np} {be} noted",
        "the examination demonstrates {np}",
        "the radiograph shows {np}",
    ),
    "summary": ("{bare}",),
}
UNCERTAIN: dict[str, tuple[str, ...]] = {
    "terse": (
        "possible {bare}",
        "possible {bare}",
        "questionable {bare}",
        "suspected {bare}",
        "probable {bare}",
        "cannot exclude {bare}",
        "{bare} not excluded",
    ),
    "plain": (
        "there may be {np}",
        "possible {bare}",
        "{np} cannot be excluded",
        "{np} {be} not excluded",
        "suspected {bare}",
        "findings may represent {np}",
        "findings are suspicious for {np}",
        "{np} {be} possible",
        "{np} {be} suspected",
    ),
    "formal": (
        "{np} cannot be entirely excluded",
        "there is suspicion of {np}",
        "there {be} possible {bare}",
        "the appearance may represent {np}",
        "the findings are suspicious for {np}",
        "the findings could reflect {np}",
        "the appearance raises the possibility of {np}",
        "{np} {be} suspected",
        "{np} cannot be excluded",
    ),
    "summary": (
        "possible {bare}",
        "possible {bare}",
        "suspected {bare}",
        "questionable {bare}",
        "{bare} cannot be excluded",
        "{bare} not excluded",
        "findings suspicious for {bare}",
        "findings may represent {bare}",
    ),
}
# With a comparison after them: what has changed is then the shadow, not the doubt.
UNCERTAIN_COMPARED = ("possible {bare}", "suspected {bare}", "questionable {bare}")
# Two findings in one sentence; {first} is the verb of the first alone.
CONJOINED: dict[str, tuple[str, ...]] = {
    "terse": ("{bare}", "{bare}", "{bare} noted"),
    "plain": ("there {first} {np}", "there {first} {np}", "{np} are present", "{np} are noted", "{bare}"),
    "formal": ("there {first} {np}", "{np} are demonstrated", "note is made of {np}", "{np} are identified"),
    "summary": ("{bare}",),
}
# Two hedged findings at the same place.
ALTERNATIVES = (
    "possible {first} or {second}",
    "{first} versus {second}",
    "{first} or {second} cannot be excluded",
    "findings may represent {first} or {second}",
    "findings are suspicious for {first} or {second}",
)
_SINCE = ("since the prior study", "in the interval", "compared with the prior examination", "from the prior study")


def _since(*verbs: str) -> tuple[str, ...]:
    return tuple(f", {verb} {since}" for verb in verbs for since in _SINCE)


def _has(*predicates: str) -> tuple[str, ...]:
    """Predicates after "the ...", alone and with what they compare to."""
    return tuple(
        f"the {{bare}} {predicate}{since}" for predicate in predicates for since in ("", " in the interval")
    ) + (tuple(f"the {{bare}} {predicate} since the prior study" for predicate in predicates))


_NEW = ChangeWords(
    ("new", "new", "newly developed"),
    (", new since the prior study", ", new from the prior examination", ", new compared with the prior study"),
    ("interval development of {np}", "there has been interval development of {np}", "there {be} {np} that {be} new"),
)
_SAME = ChangeWords(
    ("unchanged", "stable", "persistent"),
    (", unchanged", ", stable", ", unchanged from the prior study", ", similar to the prior study", ", as before"),
    (
        "the {bare} {be} unchanged",
        "the {bare} {be} stable",
        "the {bare} {be} stable in the interval",
        "the {bare} {be} similar to the prior study",
        "the {bare} {be} unchanged since the prior study",
        "again seen {be} {np}",
        "{np} {be} again noted",
        "redemonstration of {np}",
    ),
)
CHANGE_WORDS: dict[str, dict[str, ChangeWords]] = {
    "degree": {
        "new": _NEW,
        "better": ChangeWords(
            ("improved", "improving", "decreased"),
            _since("improved", "decreased"),
            (
                "interval improvement in the {bare}",
                "interval decrease in the {bare}",
                *_has("{have} improved", "{have} decreased"),
            ),
        ),
        "worse": ChangeWords(
            ("increased", "increasing", "worsening"),
            _since("worsened", "increased"),
            (
                "interval worsening of the {bare}",
                "interval increase in the {bare}",
                *_has("{have} worsened", "{have} progressed"),
            ),
        ),
        "same": _SAME,
    },
    "volume": {
        "new": _NEW,
        "better": ChangeWords(
            ("decreased", "decreasing", "improved"),
            _since("decreased", "smaller"),
            (
                "interval decrease in the {bare}",
                "interval improvement in the {bare}",
                *_has("{have} decreased", "{be} smaller"),
            ),
        ),
        "worse": ChangeWords(
            ("increased", "increasing", "enlarging"),
            _since("increased", "larger"),
            (
                "interval increase in the {bare}",
                "interval enlargement of the {bare}",
                *_has("{have} increased", "{be} larger"),
            ),
        ),
        "same": _SAME,
    },
    "focal": {
        "new": _NEW,
        "better": ChangeWords(
            ("decreasing", "smaller"),
            _since("decreased in size", "smaller"),
            ("interval decrease in size of the {bare}", *_has("{have} decreased in size", "{be} smaller")),
        ),
        "worse": ChangeWords(
            ("enlarging", "growing"),
            _since("increased in size", "larger"),
            ("interval enlargement of the {bare}", *_has("{have} increased in size", "{have} grown")),
        ),
        "same": _SAME,
    },
}
# After a whole clause ("the heart is enlarged"), where no noun phrase is left to qualify.
CLAUSE_TAILS: dict[str, tuple[str, ...]] = {
    "new": _NEW.tails,
    "better": _since("improved", "decreased"),
    "worse": _since("increased", "progressed"),
    "same": _SAME.tails,
}
DENIED: dict[str, tuple[str, ...]] = {
    "terse": ("no {list}", "no {list}", "no {list}", "negative for {list}", "no {list} seen", "no evidence of {list}"),
    "plain": (
        "no {list}",
        "no {list}",
        "there is no {list}",
        "there is no {list}",
        "no {list} is seen",
        "no evidence of {list}",
        "no {list} is identified",
    ),
    "formal": (
        "there is no {list}",
        "there is no evidence of {list}",
        "no {list} is identified",
        "no {list} is demonstrated",
        "there is no radiographic evidence of {list}",
        "no {list} is appreciated",
    ),
    "summary": ("no {list}", "no {list}", "no evidence of {list}"),
}
SIDE_CLEAR = ("the {side} lung is clear", "{side} lung is clear", "clear {side} lung")
OTHERWISE_CLEAR = (
    "the lungs are otherwise clear",
    "lungs are otherwise clear",
    "otherwise, the lungs are clear",
    "the remainder of the lungs is clear",
)
RESOLVED = (
    "previously seen {noun} has resolved",
    "interval resolution of {noun}",
    "the previously noted {noun} is no longer seen",
    "the {noun} has resolved in the interval",
)
REMOVED = (
    "the {noun} has been removed",
    "interval removal of {noun}",
    "the previously seen {noun} has been removed",
    "{noun} has been removed in the interval",
)
# Conclusions from signs, for the findings that are one.
CONSISTENT = ("findings consistent with {bare}", "findings compatible with {bare}", "findings in keeping with {bare}")
SIZES_BEFORE = ("{size}", "{size}", "approximately {size}")
SIZES_AFTER = ("measuring {size}", "measuring approximately {size}")
NOTHING_SAID = "single view of the chest"
AS_ABOVE = ("findings as above", "findings as described above", "as above")

LIMITS: dict[str, tuple[str, ...]] = {
    "low_lung_volumes": (
        "low lung volumes",
        "lung volumes are low",
        "the lung volumes are low",
        "low lung volumes with bronchovascular crowding",
        "low lung volumes accentuate the bronchovascular markings",
        "inspiration is shallow",
    ),
    "rotated": ("the patient is rotated", "patient rotation limits the evaluation", "rotated positioning"),
    "supine": (
        "evaluation is limited by supine technique",
        "supine technique limits the evaluation",
        "supine positioning limits the assessment of the pleural spaces",
    ),
    "blurred": (
        "limited study due to motion",
        "motion artifact degrades the image",
        "evaluation is limited by motion",
    ),
    "overexposed": (
        "limited study due to overpenetration",
        "the image is overpenetrated, which limits the evaluation",
    ),
    "underexposed": (
        "limited study due to underpenetration",
        "the image is underpenetrated, which limits the evaluation",
    ),
    "cropped": (
        "limited study; part of the chest is excluded from the field of view",
        "the chest is incompletely included in the field of view",
    ),
}
NOTHING_ACUTE = (
    *("no acute cardiopulmonary process",) * 3,
    *("no acute cardiopulmonary abnormality",) * 3,
    "no acute cardiopulmonary disease",
    "no acute cardiopulmonary findings",
    "no acute findings",
    "no acute disease",
    "no acute intrathoracic process",
    "no acute intrathoracic abnormality",
    "no acute radiographic abnormality",
    "no evidence of acute cardiopulmonary disease",
    "no evidence of an acute cardiopulmonary process",
    "no radiographic evidence of acute cardiopulmonary disease",
    "no radiographic evidence of an acute cardiopulmonary process",
    "negative for acute cardiopulmonary abnormality",
    "no acute abnormality identified",
    "no acute cardiopulmonary process identified",
)
NORMAL_CHEST = (
    "normal chest",
    "normal chest radiograph",
    "normal chest x-ray",
    "negative chest radiograph",
    "unremarkable chest radiograph",
    "no active disease",
    "normal examination of the chest",
    "no abnormality identified",
)
NO_CHANGE = (
    "no significant interval change",
    "no interval change",
    "stable examination",
    "stable appearance of the chest",
    "findings are unchanged from the prior study",
)
RECOMMENDATIONS: dict[str, tuple[str, ...]] = {
    "lesion": (
        "recommend chest CT for further evaluation",
        "further evaluation with CT is recommended",
        "CT of the chest is suggested for characterization",
        "follow-up CT is recommended",
    ),
    "position": ("repositioning is recommended", "recommend repositioning", "repositioning should be considered"),
    "hedge": (
        "clinical correlation is recommended",
        "correlate clinically",
        "recommend follow-up radiograph",
        "short-interval follow-up is suggested",
    ),
}
