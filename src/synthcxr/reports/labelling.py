"""Which findings a report affirms, denies or leaves open: words of the ontology, negation and uncertainty by rules."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..ontology import FINDING_IDS, FINDINGS
from .lexicon import LEXICON
from .negatives import NORMALS
from .sections import split_sections
from .sentences import split_sentences


@dataclass(frozen=True, slots=True)
class StatedFindings:
    """
    What a text says of findings; of one that it speaks of twice, what counts most: affirmed, then open, then denied.

    Args:
        present (`Mapping[str, frozenset[str]]`): Affirmed findings and the sides named for them, `"right"` and
            `"left"`; none where the text names none. Their parents are not added.
        uncertain (`frozenset[str]`): Findings that may be there.
        absent (`frozenset[str]`): Denied findings.
    """

    present: Mapping[str, frozenset[str]]
    uncertain: frozenset[str]
    absent: frozenset[str]


def read_findings(text: str) -> StatedFindings:
    """
    Label a report, as the labellers do that the field's datasets were made with (CheXpert, arXiv 1901.07031).

    Rules on words: a clause is read for names of findings; what denies or doubts stands in the same clause. A comma
    ends none: in "left effusion, possible pneumonia" both are doubted. Of a report with headers only its findings and
    impression are read.

    Args:
        text (`str`): A report, a section or a sentence.

    Raises:
        TypeError: When the text is not a string.

    Example:

    ```python
    >>> from synthcxr.reports import read_findings

    >>> stated = read_findings("Small left effusion. Possible pneumonia. No pneumothorax.")
    >>> dict(stated.present), set(stated.uncertain), set(stated.absent)
    ({'pleural_effusion': frozenset({'left'})}, {'pneumonia'}, {'pneumothorax'})

    ```
    """
    sections = split_sections(text)
    described = (sections.get(name, "") for name in ("body", "findings", "impression"))
    present: dict[str, frozenset[str]] = {}
    uncertain: set[str] = set()
    absent: set[str] = set()
    for sentence in (sentence for section in described for sentence in split_sentences(section)):
        stated = _read_sentence(sentence)
        for finding, sides in stated.present.items():
            present[finding] = present.get(finding, frozenset()) | sides
        uncertain |= stated.uncertain
        absent |= stated.absent
    uncertain -= present.keys()
    return StatedFindings(present, frozenset(uncertain), frozenset(absent - uncertain - present.keys()))


@lru_cache(maxsize=2**16)  # the same sentences come in every report
def _read_sentence(sentence: str) -> StatedFindings:
    present: dict[str, frozenset[str]] = {}
    uncertain: set[str] = set()
    absent: set[str] = set()
    for clause in _CLAUSE_BREAK.split(_LISTED_AS_NONE.sub(r"no \1", sentence.lower())):
        if not _SPEAKS_OF_THE_REST.search(clause):
            absent |= _denied_by_normality(clause)
        clause = _NO_DENIAL.sub(" ", clause)
        sides = [(match.start(), _SIDES[match[1]]) for match in _SIDE.finditer(clause)]
        in_doubt, is_denied = _DOUBT.search(clause) is not None, _read_denials(clause)
        for finding, start, end in _mentions(clause):
            if finding == "no_finding":  # its names are denials
                present[finding] = frozenset()
            elif is_denied(start, end):
                absent.add(finding)
            elif in_doubt:
                uncertain.add(finding)
            else:
                place = max(bisect_left(sides, (end,)) - 1, 0)  # the last that was named, or the first that will be
                named = sides[place][1] if sides else frozenset()
                known = present.get(finding, frozenset())
                present[finding] = known | named if FINDINGS[finding].sided else known
    uncertain -= present.keys()
    return StatedFindings(present, frozenset(uncertain), frozenset(absent - uncertain - present.keys()))


def _mentions(clause: str) -> Iterator[tuple[str, int, int]]:
    """Findings named in a clause in lower case, with the first and the last place of their names."""
    ends = []
    starts = []
    for match in _PATTERN.finditer(clause):
        starts.append(match.start())
        ends.append(match.end())
        yield _OF_GROUP[match.lastgroup or ""], match.start(), match.end()
    for match in _NAME.finditer(clause):
        if bisect_right(ends, match.start()) == bisect_left(starts, match.end()):  # in none of the longer names
            yield _OF_NAME[match[0]], match.start(), match.end()


def _read_denials(clause: str) -> Callable[[int, int], bool]:
    """Tells of the first and the last place of a name whether the clause denies it."""
    denials = [(match.start(), match.end()) for match in _DENIAL.finditer(clause)]
    stops = [match.start() for match in _DENIAL_ENDS.finditer(clause)]
    behind = [match.start() for match in _DENIED_AFTER.finditer(clause)]

    def is_denied(start: int, end: int) -> bool:
        # "No effusion", "the heart is not enlarged": the last denial counts, unless something ends it before the name.
        last = bisect_left(denials, (end,)) - 1
        if last >= 0 and bisect_left(stops, denials[last][1]) == bisect_left(stops, max(start, denials[last][1])):
            return True
        return bool(behind) and behind[-1] >= end

    return is_denied


def _denied_by_normality(clause: str) -> set[str]:
    if clause.strip() in _NORMAL_TEXTS:
        return _NORMAL_TEXTS[clause.strip()]
    return {finding for pattern, denied in _NORMAL_PATTERNS if pattern.search(clause) for finding in denied}


# Names that are more than a row of words: {gap} is what may stand between.
_PATTERNS: dict[str, tuple[str, ...]] = {
    "no_finding": (
        r"(?:no|negative for) (?:evidence of |radiographic evidence of )*(?:an? )?(?:acute|active)"
        r" (?:cardiopulmonary|cardiac|pulmonary|intrathoracic|chest|radiographic)?{gap}"
        r"(?:process|disease|abnormalit(?:y|ies)|findings?)",
        r"(?:normal|negative|unremarkable) (?:chest|examination of the chest|radiographs?)|no abnormality identified",
    ),
    "enlarged_cardiomediastinum": (
        r"mediastin(?:um|al){gap}\bwiden(?:ed|ing)",
        r"widen(?:ed|ing){gap}\bmediastin(?:um|al)",
        r"cardiomediastinal{gap}\benlarged",
        r"enlarge(?:d|ment of the) cardiomediastinal",
    ),
    "cardiomegaly": (
        r"\b(?:heart|cardiac (?:silhouette|size|shadow|contour)){gap}\benlarged",
        r"enlarged{gap}\b(?:heart|cardiac silhouette)",
        r"enlargement of the (?:heart|cardiac silhouette)",
    ),
    "aortic_enlargement": (
        r"\baort(?:a|ic \w+){gap}\b(?:dilated|enlarged|ectatic|tortuous|ectasia)",
        r"(?:dilated|enlarged|ectatic|tortuous|tortuosity|dilatation|enlargement){gap}\baorta\b",
    ),
    "hyperinflation": (
        r"\blungs?{gap}\bhyper(?:inflated|expanded|aerated)",
        r"hyper(?:inflated|expanded|aerated){gap}\blungs?",
    ),
    "pneumoperitoneum": (r"free (?:intraperitoneal |subdiaphragmatic |abdominal )?(?:air|gas)",),
    "covid_19_pattern": (r"peripheral (?:ground-glass )?opacit(?:y|ies)", r"covid-19(?: infection| pneumonia)?"),
    "elevated_hemidiaphragm": (
        r"(?:elevat(?:ed|ion)|raised){gap}\b(?:hemi)?diaphragm",
        r"hemidiaphragm{gap}\b(?:elevat(?:ed|ion)|raised)",
    ),
    "hilar_enlargement": (
        r"(?:enlarge(?:d|ment)|fullness|prominen(?:t|ce)){gap}\bhil(?:um|a|ar)\b",
        r"\bhil(?:um|a|ar){gap}\b(?:enlarge(?:d|ment)|fullness|prominen(?:t|ce)|\w*adenopathy)",
    ),
    "mediastinal_shift": (r"shift of the mediast\w+", r"(?:mediastinal|tracheal) (?:shift|deviation)"),
    "clavicle_fracture": (r"fractures?{gap}\bclavic(?:le|les|ular)\b", r"\bclavic(?:le|ular){gap}\bfractures?"),
    "pleural_other": (r"pleural (?:abnormalit(?:y|ies)|irregularit(?:y|ies)|changes|plaques?)",),
    "pleural_effusion": (r"blunt(?:ed|ing){gap}\b(?:costophrenic|cp) (?:angle|sulcus|sulci)\w*",),
    "support_devices": (r"\b(?:lines?|tubes?) (?:and|or) (?:lines?|tubes?)", r"monitoring devices?"),
}
_GAP = r"[^.;,]{0,40}?"

_CLAUSE_BREAK = re.compile(r"[;:]|\bbut\b|\bhowever\b|\balthough\b|,? with (?=no\b)|\. ")
_LISTED_AS_NONE = re.compile(r"\b([\w ]{1,60}): none\b")
# Looks like a denial and is none.
_NO_DENIAL = re.compile(
    r"\b(?:no|without|not)(?: any)?(?: significant| definite| substantial| appreciable| interval)* (?:change|increase|"
    r"decrease|improvement)\w*|\bnot (?:significantly |substantially )?(?:changed|increased|decreased)|\bunchanged"
)
_DENIAL = re.compile(
    r"\b(?:no|without|negative for|free of|absence of|absent|not|nor|neither|never|resolution of|removal of|"
    r"ruled? out|rules out|clear of|lack of|denies)\b"
)
_DENIAL_ENDS = re.compile(r"\b(?:except|other than|apart from|aside from|which|there (?:is|are))\b")
_DENIED_AFTER = re.compile(
    r"\b(?:(?:is|are|was|were) (?:not|no longer)(?! (?:\w+ )?excluded)|(?:has|have) (?:\w+ )?(?:resolved|cleared|been "
    r"removed)|no longer|(?:is|are) absent|(?:is|are) (?:\w+ )?excluded|resolved)\b"
)
_DOUBT = re.compile(
    r"\b(?:possib(?:le|ly|ility)|may|might|could|suspect\w*|suspicio\w+|question\w*|cannot|can not|not (?:entirely )?"
    r"excluded|probab(?:le|ly)|likely|concern\w*|versus|vs|equivocal|doubtful|suggest\w*|represent\w*|or)\b"
)
_SIDES = {"right": frozenset({"right"}), "left": frozenset({"left"})} | dict.fromkeys(
    ("bilateral", "bilaterally", "both", "bibasilar", "bibasal", "biapical"), frozenset({"right", "left"})
)
_SIDE = re.compile(rf"\b({'|'.join(sorted(_SIDES, key=len, reverse=True))})\b")
_SPEAKS_OF_THE_REST = re.compile(r"\b(?:otherwise|remainder|remaining|rest of|elsewhere)\b")

_NORMAL_PATTERNS = tuple(
    (re.compile(pattern.replace("{gap}", _GAP)), denied)
    for pattern, denied in (
        (r"\blungs?(?: fields)?{gap}\b(?<!not )clear\b|\bclear lungs", ("lung_opacity",)),
        (
            r"\b(?:heart|cardiac (?:silhouette|size|contour)\w*|cardiomediastinal){gap}\b(?<!not )"
            r"(?<!upper limits of )(?:normal|unremarkable)|\bnormal (?:heart|cardiac)",
            ("cardiomegaly",),
        ),
        (
            r"mediastin(?:um|al){gap}\b(?:normal|unremarkable)|normal{gap}\bmediastin(?:um|al)",
            ("enlarged_cardiomediastinum",),
        ),
        (r"(?:pulmonary )?vascul(?:ar|arity|ature){gap}\b(?:normal|unremarkable)|normal pulmonary vasc", ("edema",)),
        (r"pleural (?:surfaces|spaces){gap}\b(?:unremarkable|clear|normal)", ("pleural_effusion", "pleural_other")),
        (r"costophrenic (?:angles|sulci){gap}\b(?:sharp|clear)|sharp costophrenic", ("pleural_effusion",)),
        (
            r"(?:osseous|bony|bones?|skelet\w+){gap}\b(?:intact|unremarkable|normal)|no{gap}(?:osseous|bony|bone) "
            r"(?:abnormalit\w+|findings)",
            ("fracture", "clavicle_fracture"),
        ),
    )
)


def _names() -> dict[str, str]:
    names: dict[str, str] = {}
    for finding in FINDING_IDS:
        if finding == "no_finding":
            continue
        words = {FINDINGS[finding].name.lower(), *FINDINGS[finding].synonyms}
        words |= {name.lower() for name in (LEXICON[finding].denied if finding in LEXICON else ())}
        for noun in LEXICON[finding].nouns if finding in LEXICON else ():
            if finding not in ("clavicle_fracture", "hilar_enlargement", "elevated_hemidiaphragm") and not noun.tail:
                words |= {noun.singular.lower(), noun.plural.lower()}
        for word in words:
            names.setdefault(word, finding)
            if not word.endswith("s"):
                names.setdefault(word[:-1] + "ies" if word.endswith("y") else word + "s", finding)
    return names


_NORMAL_TEXTS = {text: set(normal.denies) for normal in NORMALS.values() for text in normal.texts}
_OF_NAME = _names()
_NAME = re.compile(
    r"(?<![\w-])(?:" + "|".join(re.escape(name) for name in sorted(_OF_NAME, key=len, reverse=True)) + r")(?![\w-])"
)
_OF_GROUP = {f"g{place}": finding for place, finding in enumerate(_PATTERNS)}
_PATTERN = re.compile(
    "|".join(
        f"(?P<{group}>{'|'.join(_PATTERNS[finding])})".replace("{gap}", _GAP) for group, finding in _OF_GROUP.items()
    )
)
