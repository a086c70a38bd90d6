"""Cut any report into its sections: ours, the Indiana style, the MIMIC style, flattened or not. Linear in time."""

from __future__ import annotations

import re
from collections.abc import Iterable


# What each section is called, by the key that it gets. A misspelling is listed when it is known from real reports.
_NAMES: dict[str, tuple[str, ...]] = {
    "findings": (
        *("findings and impression", "findings/impression", "findings & impression", "impression and findings"),
        *("findings", "finding", "reports", "report", "observations"),
        *("findngs", "fidings", "finidings", "findins"),
    ),
    "impression": (
        *("impression and recommendations", "impression and recommendation", "impression/recommendations"),
        *("impressions", "impression", "conclusions", "conclusion", "opinion", "summary", "assessment", "diagnosis"),
        *("impresson", "imression", "impession", "impresion", "impressoin"),
    ),
    "indication": (
        *("clinical indications", "clinical indication", "indications", "indication"),
        *("reason for the examination", "reason for this examination", "reason for examination"),
        *("reason for the exam", "reason for this exam", "reason for exam", "reason for study"),
        *("clinical information", "clinical history", "patient history", "medical history", "history"),
        *("history of present illness", "clinical data", "medical condition"),
    ),
    "comparison": (
        *("comparison studies", "comparison study", "comparison exams", "comparison exam", "comparison films"),
        *("comparison film", "comparisons", "comparison", "reference exam", "prior studies", "prior study"),
        *("comparision", "comparsion"),
    ),
    "technique": ("techniques", "technique", "procedure", "views"),
    "examination": (
        *("type of examination", "type of exam", "examinations", "examination", "exam type", "exam", "study"),
    ),
    "recommendation": ("recommendation(s)", "recommendations", "recommendation"),
    "notification": ("notifications", "notification"),
    "addendum": ("addenda", "addendum"),
    "wet_read": ("wet read", "wetread", "preliminary report"),
    "comment": ("comments", "comment", "note"),
    "body": ("final report", "final addendum", "interpretation"),
}
_KEYS: dict[str, str] = {name: key for key, names in _NAMES.items() for name in names}
# A line such as "PORTABLE AP CHEST RADIOGRAPH:" names the technique and opens the findings.
_VIEW_WORDS = (
    *("portable", "single", "one", "two", "three", "frontal", "lateral", "upright", "supine", "semi-upright"),
    *("semierect", "erect", "bedside", "ap", "pa", "chest", "thorax", "radiographs", "radiograph", "x-rays", "x-ray"),
    *("xrays", "xray", "films", "film", "views", "view", "images", "image", "and", "of", "the", "with", "cxr"),
)
_MOST_VIEW_WORDS = 14


_VIEW_NOUN = re.compile(r"\b(?:chest|thorax|cxr|radiographs?|films?|x-?rays?)\b", re.IGNORECASE)


def _any_of(names: Iterable[str]) -> str:
    """A pattern of fixed names, longest first; the blank between two words may be wider."""
    return "|".join(re.escape(name).replace("\\ ", "[ ]{1,3}") for name in sorted(names, key=len, reverse=True))


_VIEW_WORD = _any_of(_VIEW_WORDS)
_INITIALS = "".join(sorted({name[0] for name in _KEYS}))
# Every repetition is bounded and no two in a row match the same characters, so that the time is linear in the text.
_HEADER = re.compile(
    rf"""
    ^[ \t]{{0,80}}[*\#>_]{{0,4}}[ \t]?(?=[a-z])(?:
        (?P<line>{_any_of(_KEYS)})[*_]{{0,3}}[ \t]{{0,3}}
        (?:(?P<colon>:)[*_]{{0,3}}|(?P<dash>[-\u2013\u2014])(?=[ \t])|(?P<alone>[.-]?$))
      |
        (?P<view>(?:{_VIEW_WORD})(?:[ ,/&]{{1,2}}(?:{_VIEW_WORD})){{1,{_MOST_VIEW_WORDS}}})[ \t]{{0,3}}:
    )
  |
    (?<=[ \t])(?=[{_INITIALS}])(?P<inline>{_any_of(_KEYS)})[*_]{{0,3}}:[*_]{{0,3}}
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_CLEAN = dict.fromkeys((*range(32), 127, 160), " ") | {0x09: "\t", 0x0A: "\n", 0xFEFF: None}
_CLEAN |= dict.fromkeys((11, 12, 13, 133, 8232, 8233), "\n")


def split_sections(report: str) -> dict[str, str]:
    """
    Cut a report into its sections.

    A header is a known name with a colon at the start of a line, in any case (`"Findings:"`); the name alone on its
    line or before a dash, with a capital; or, in a report without line breaks, the name with a colon inside a line,
    in capitals or with a capital after the end of a sentence. No text is lost: what stands before the first header,
    or a report without any, is the section `"body"`; sections of the same key are joined with a line break. After a
    line such as `"PORTABLE CHEST RADIOGRAPH:"` come findings, and its words are the technique.

    Args:
        report (`str`): Any text. Control characters become blanks, and all line ends `"\\n"`.

    Returns:
        `dict[str, str]`: Text by key, without the headers. Always `"findings"` (also of "FINDINGS AND IMPRESSION")
        and `"impression"`, `""` when absent; where present also `"indication"`, `"comparison"`, `"technique"`,
        `"examination"`, `"recommendation"`, `"notification"`, `"addendum"`, `"wet_read"`, `"comment"`, `"body"`.

    Raises:
        TypeError: When the report is not a string.

    Example:

    ```python
    >>> from synthcxr.reports import split_sections

    >>> split_sections("FINDINGS: Clear lungs. IMPRESSION: Normal chest.")
    {'findings': 'Clear lungs.', 'impression': 'Normal chest.'}
    >>> split_sections("Normal chest.")["body"]
    'Normal chest.'

    ```
    """
    if not isinstance(report, str):
        found = "None" if report is None else f"of type {type(report).__name__}"
        raise TypeError(f"report is {found}; expected a string.")
    text = report.replace("\r\n", "\n").translate(_CLEAN)
    parts: dict[str, list[str]] = {"findings": [], "impression": []}
    key, start = "body", 0
    for match in _HEADER.finditer(text):
        next_key = _key(match, text)
        if next_key is None:
            continue
        _add(parts, key, text[start : match.start()], keep_empty=start > 0)
        if match["view"]:
            _add(parts, "technique", match["view"], keep_empty=True)
        key, start = next_key, match.end()
    _add(parts, key, text[start:], keep_empty=start > 0)
    return {key: "\n".join(texts) for key, texts in parts.items()}


def _key(match: re.Match[str], text: str) -> str | None:
    """The section that a header opens, or `None` when the words only look like one."""
    if match["view"]:
        return "findings" if _VIEW_NOUN.search(match["view"]) else None
    name = match["line"] or match["inline"]
    if match["inline"]:
        before = text[max(match.start() - 4, 0) : match.start()].rstrip()
        accepted = name.isupper() or (name[0].isupper() and before.endswith((".", "!", "?", ":", ";")))
    else:
        accepted = bool(match["colon"]) or name[0].isupper()
    return _KEYS[" ".join(name.lower().split())] if accepted else None


def _add(parts: dict[str, list[str]], key: str, text: str, *, keep_empty: bool) -> None:
    text = text.strip()
    if text:
        parts.setdefault(key, []).append(text)
    elif keep_empty and key != "body":
        parts.setdefault(key, [])
