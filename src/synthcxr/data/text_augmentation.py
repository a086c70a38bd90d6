"""Augmentation of reports: as another radiologist would have written about the same image, and never another fact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .collators import report_sentences


# Of the ontology's words for a finding, those that mean the same, wherever they stand. Most do not: a tension
# pneumothorax is more than a pneumothorax, and some words name a side. Nouns of one row agree in grammar, too.
_COUNTABLE = (
    ("airspace consolidation", "alveolar consolidation"),
    ("broken rib", "fractured rib"),
    ("central line", "central venous catheter", "central venous line"),
    ("chest drain", "chest tube", "intercostal drain", "thoracostomy tube"),
    ("clavicle fracture", "clavicular fracture"),
    ("dilated aorta", "enlarged aorta"),
    ("elevated hemidiaphragm", "raised hemidiaphragm"),
    ("endotracheal tube", "breathing tube"),
    ("enlarged cardiac silhouette", "enlarged heart"),
    ("hiatal hernia", "hiatus hernia"),
    ("internal jugular catheter", "internal jugular line"),
    ("lung cyst", "pulmonary cyst"),
    ("lung lesion", "pulmonary lesion"),
    ("lung mass", "pulmonary mass"),
    ("lung nodule", "pulmonary nodule"),
    ("lung opacity", "parenchymal opacity", "pulmonary opacity"),
    ("nodular density", "nodular opacity"),
    ("pacemaker", "pacer", "pacing device"),
    ("tortuous aorta", "unfolded aorta"),
    ("tracheal deviation", "tracheal shift"),
    ("wide mediastinum", "widened mediastinum"),
)
_FIXED = (
    ("air in the mediastinum", "mediastinal air"),
    ("bandlike atelectasis", "discoid atelectasis", "linear atelectasis", "platelike atelectasis"),
    ("cardiac enlargement", "cardiomegaly"),
    ("curvature of the spine", "spinal curvature"),
    ("free intraperitoneal air", "intraperitoneal free air"),
    ("free subdiaphragmatic air", "subdiaphragmatic free air"),
    ("hilar adenopathy", "hilar lymphadenopathy"),
    ("hyperexpanded lungs", "hyperinflated lungs"),
    ("hyperexpansion", "hyperinflation", "overinflation"),
    ("lung cancer", "lung carcinoma"),
    ("median sternotomy wires", "sternal wires", "sternotomy wires"),
    ("mediastinal shift", "shift of the mediastinum"),
    ("pleural thickening", "thickening of the pleura"),
    ("post-primary tuberculosis", "reactivation tuberculosis"),
    ("pulmonary edema", "pulmonary oedema"),
    ("soft tissue emphysema", "soft tissue gas", "subcutaneous air", "subcutaneous emphysema", "subcutaneous gas"),
)


@dataclass(frozen=True)
class ReportAugmentation:
    """
    Sentences in another order, some of them left out, and findings called by another name.

    What is said stays true: a sentence is kept or dropped as a whole, so no side, number, severity or "no" parts from
    its finding; one that speaks of the rest ("The remainder of the lungs is clear.") or of what was said ("It has
    resolved.") stays behind what it follows; and only words that mean the same are exchanged. What is left out is no
    longer denied, nor claimed.
    Sections lose their headers, and what does not describe the image (indication, comparison) is left out.

    Args:
        shuffle (`bool`, *optional*, defaults to `True`): Put the sentences in random order.
        drop (`float`, *optional*, defaults to 0.15): Chance of a sentence to be left out, 0 to 1; one always stays.
        exchange (`float`, *optional*, defaults to 0.5): Chance of a word of [`SAME_MEANING`] to be replaced, 0 to 1.

    Raises:
        ValueError: On a chance outside 0 to 1.

    Example:

    ```python
    >>> from synthcxr.data.text_augmentation import ReportAugmentation

    >>> augment = ReportAugmentation(shuffle=False, drop=0.0, exchange=1.0)
    >>> augment("Large left lung nodules. No hiatal hernia.", seed=0)
    'Large left pulmonary nodules. No hiatus hernia.'

    ```
    """

    shuffle: bool = True
    drop: float = 0.15
    exchange: float = 0.5

    def __post_init__(self) -> None:
        for name in ("drop", "exchange"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to 1.")

    def __call__(self, text: str, seed: int) -> str:
        """
        Another wording.

        Args:
            text (`str`): A report, a section or a sentence.
            seed (`int`): Names the stream: the same text and seed give the same wording.
        """
        rng = np.random.default_rng((seed, 2))
        sentences = _inseparable(report_sentences(text))
        order = rng.permutation(len(sentences)) if self.shuffle else np.arange(len(sentences))
        kept = order[rng.random(len(order)) >= self.drop]
        if len(kept) == 0:
            kept = order[:1]

        def replace(match: re.Match[str]) -> str:
            return _replace(match, rng) if rng.random() < self.exchange else match.group()

        return " ".join(_WORDS.sub(replace, sentences[index]) for index in kept)


def _inseparable(sentences: Sequence[str]) -> list[str]:
    """Sentences, each with those behind it that mean nothing, or something else, without it."""
    groups: list[str] = []
    for sentence in sentences:
        if groups and _SPEAKS_OF_THE_REST.search(sentence):
            groups = [" ".join([*groups, sentence])]  # of all that was named before
        elif groups and _REFERS_BACK.match(sentence):
            groups[-1] += f" {sentence}"
        else:
            groups.append(sentence)
    return groups


def plural(noun: str) -> str:
    """The plural of a noun of radiology whose last word is the one that changes."""
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith("s") else "s")


def _replace(match: re.Match[str], rng: np.random.Generator) -> str:
    found, article = match["words"], match["article"]
    others = [words for words in SAME_MEANING[found.lower()] if words != found.lower()]
    chosen = others[int(rng.integers(len(others)))]
    if found.isupper():
        chosen = chosen.upper()
    elif found[0].isupper():
        chosen = chosen[0].upper() + chosen[1:]
    if article is None:
        return chosen
    fitting = "an" if chosen[0].lower() in "aeiou" else "a"
    # "A" in capitals says nothing about the case of the rest.
    fitting = fitting.upper() if found.isupper() else fitting.capitalize() if article[0].isupper() else fitting
    return f"{fitting} {chosen}"


def _same_meaning() -> dict[str, tuple[str, ...]]:
    rows = [*_FIXED, *_COUNTABLE, *(tuple(plural(noun) for noun in row) for row in _COUNTABLE)]
    return {words: row for row in rows for words in row}


_SPEAKS_OF_THE_REST = re.compile(r"\b(?:otherwise|remainder|remaining|rest of|other|else|elsewhere)\b", re.IGNORECASE)
_REFERS_BACK = re.compile(r"(?:it|its|this|that|these|those|they|which|also|again)\b", re.IGNORECASE)
# Words in lower case -> all that mean the same, themselves included.
SAME_MEANING = _same_meaning()
# Whole words only, the longest first: "median sternotomy wires" is not "sternotomy wires" with something ahead.
_WORDS = re.compile(
    r"(?<![\w-])(?:(?P<article>an?) )?(?P<words>"
    + "|".join(re.escape(words) for words in sorted(SAME_MEANING, key=len, reverse=True))
    + r")(?![\w-])",
    re.IGNORECASE,
)
