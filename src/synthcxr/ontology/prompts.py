"""Named sets of zero-shot prompts: what a text encoder is shown for a finding, and for its absence."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product

from .findings import FINDING_IDS, FINDINGS, Finding
from .label_maps import from_finding
from .regions import REGIONS, region_on, zone_of
from .report_prompts import REPORT_SENTENCES


PROMPT_SETS: tuple[str, ...] = ("name", "chexzero", "biovil", "gloria", "report")


@dataclass(frozen=True)
class ZeroShotPrompts:
    """
    Two lists of texts; a finding is present as far as an image lies closer to the first than to the second.

    Args:
        positive (`tuple[str, ...]`): Texts that affirm the finding.
        negative (`tuple[str, ...]`): Texts that deny it.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def zero_shot_prompts(finding: str, prompt_set: str) -> ZeroShotPrompts:
    """
    Texts for and against a finding.

    `no_finding` has texts of its own in every set: its negation is an abnormal chest, never "no no finding", the
    template's result that turned CheXzero's AUROC on it upside down.

    Args:
        finding (`str`): Ontology id.
        prompt_set (`str`):
            `"name"`: the name and its negation. `"chexzero"`: the label as CheXpert spells it and its negation
            (Tiu et al., Nature Biomedical Engineering 2022). `"biovil"`: sentences with their opposites, for pneumonia
            those of Boecking et al. (ECCV 2022). `"gloria"`: severity x subtype x location (Huang et al., ICCV 2021,
            who use no negatives). `"report"`: sentences of a report.

    Returns:
        `ZeroShotPrompts`: At least one text on either side.

    Raises:
        ValueError: On a finding or set that is not known, naming the closest one.

    Example:

    ```python
    >>> from synthcxr.ontology import zero_shot_prompts

    >>> zero_shot_prompts("pleural_effusion", "name")
    ZeroShotPrompts(positive=('pleural effusion',), negative=('no pleural effusion',))
    >>> zero_shot_prompts("no_finding", "chexzero").negative
    ('Abnormal Findings',)

    ```
    """
    if finding not in FINDINGS:
        raise ValueError(f"finding is {finding!r}; the closest known one is {_closest(finding, FINDING_IDS)!r}.")
    if prompt_set not in PROMPT_SETS:
        raise ValueError(
            f"prompt_set is {prompt_set!r}; the closest known one is {_closest(prompt_set, PROMPT_SETS)!r}."
        )
    if prompt_set == "report":
        return _report_prompts(finding)
    if finding == "no_finding":
        return _NO_FINDING[prompt_set]
    if prompt_set == "gloria":
        return _gloria_prompts(FINDINGS[finding])
    if prompt_set == "biovil":
        return _biovil_prompts(FINDINGS[finding])
    name = FINDINGS[finding].name
    if prompt_set == "chexzero":
        name = from_finding("chexpert", finding) or _title_case(name)
    return ZeroShotPrompts((name,), (f"no {name}",))


_NO_FINDING = {
    "name": ZeroShotPrompts(("no acute cardiopulmonary process",), ("acute cardiopulmonary abnormality",)),
    "chexzero": ZeroShotPrompts(("No Finding",), ("Abnormal Findings",)),
    "biovil": ZeroShotPrompts(
        (
            "No acute cardiopulmonary process",
            "Findings are within normal limits",
            "No evidence of acute disease",
            "There is no abnormality",
        ),
        (
            "Findings consistent with acute disease",
            "Findings are abnormal",
            "Evidence of an acute cardiopulmonary process",
            "There is an abnormality",
        ),
    ),
    "gloria": ZeroShotPrompts(
        tuple(
            f"{grade} {subject}".strip()
            for grade, subject in product(
                ("", "completely", "essentially"),
                ("normal chest", "clear lungs", "unremarkable chest radiograph"),
            )
        ),
        tuple(
            f"{grade} {subject}".strip()
            for grade, subject in product(
                ("", "mild", "severe"),
                ("abnormality of the chest", "lung disease", "acute cardiopulmonary abnormality"),
            )
        ),
    ),
}

_PLURAL = {"support_devices", "sternotomy_wires"}
_UNCOUNTED = {
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "infiltration",
    "fibrosis",
    "emphysema",
    "hyperinflation",
    "pleural_thickening",
    "tuberculosis",
    "aortic_enlargement",
    "scoliosis",
    "pneumoperitoneum",
    "subcutaneous_emphysema",
    "calcification",
    "interstitial_lung_disease",
    "hilar_enlargement",
    "mediastinal_shift",
    "copd",
    "pneumomediastinum",
    "bronchiectasis",
}
_ACUTE = {"edema", "consolidation", "pneumonia", "pneumothorax", "fracture", "infiltration", "lung_opacity"}


def _biovil_prompts(finding: Finding) -> ZeroShotPrompts:
    name, phrase = finding.name, _with_article(finding)
    verb = "are" if finding.id in _PLURAL else "is"
    if finding.kind == "device":
        subject = phrase[0].upper() + phrase[1:]
        return ZeroShotPrompts(
            (
                f"{subject} {verb} in place",
                f"{subject} {verb} seen",
                f"There {verb} {phrase}",
                f"Presence of {phrase}",
            ),
            (f"There {verb} no {name}", f"No evidence of {phrase}", f"No {name} {verb} seen", f"Absence of {phrase}"),
        )
    sign = "opacity" if "lung_opacity" in (finding.id, finding.parent) else "appearance"
    acute = f"No evidence of acute {name}" if finding.id in _ACUTE else f"No {name} is seen"
    return ZeroShotPrompts(
        (
            f"Findings consistent with {phrase}",
            f"Findings suggesting {phrase}",
            f"This {sign} can represent {phrase}",
            f"Findings are most compatible with {phrase}",
        ),
        (f"There is no {name}", f"No evidence of {name}", acute, f"No signs of {name}"),
    )


@dataclass(frozen=True)
class _Parts:
    severity: tuple[str, ...]
    subtype: tuple[str, ...]
    location: tuple[str, ...]
    negative: tuple[str, ...] = ()


_GLORIA_PARTS = {
    "atelectasis": _Parts(
        ("", "mild", "minimal"),
        ("atelectasis", "linear atelectasis", "subsegmental atelectasis", "bandlike atelectasis", "volume loss"),
        ("", "at the left lung base", "at the right lung base", "at both lung bases", "in the mid lung zone"),
    ),
    "cardiomegaly": _Parts(
        ("", "mild", "moderate", "severe", "stable"),
        ("cardiomegaly", "enlargement of the cardiac silhouette", "enlargement of the heart"),
        ("",),
        ("no cardiomegaly", "normal heart size", "heart size within normal limits", "normal cardiac silhouette"),
    ),
    "consolidation": _Parts(
        ("", "patchy", "dense", "increasing"),
        ("consolidation", "airspace consolidation", "consolidative opacity"),
        ("", "in the left lower lobe", "in the right lower lobe", "in the left upper lobe", "in the right upper lobe"),
    ),
    "edema": _Parts(
        ("", "mild", "moderate", "severe", "worsening"),
        ("pulmonary edema", "interstitial edema", "pulmonary vascular congestion"),
        ("",),
    ),
    "pleural_effusion": _Parts(
        ("", "small", "moderate", "large"),
        ("pleural effusion", "pleural fluid", "layering pleural effusion"),
        ("", "on the left", "on the right", "on both sides"),
    ),
}
_MAX_SUBTYPES = 3
_MAX_PLACES = 2
_SIDES = ("right", "left")


def _gloria_prompts(finding: Finding) -> ZeroShotPrompts:
    parts = _GLORIA_PARTS.get(finding.id) or _parts_of(finding)
    texts = (" ".join(filter(None, words)) for words in product(parts.severity, parts.subtype, parts.location))
    denials = parts.negative or tuple(
        f"{denial} {subtype}" for subtype, denial in product(parts.subtype, ("no", "no evidence of", "without"))
    )
    return ZeroShotPrompts(tuple(texts), denials)


_SIZES = ("", "small", "moderate", "large")
_GRADES_IN_WORDS = {
    "fracture": ("", "acute", "displaced"),
    "hernia": _SIZES,
    "pneumoperitoneum": _SIZES,
    "pneumothorax": _SIZES,
}


def _parts_of(finding: Finding) -> _Parts:
    """What the ontology knows: grades, synonyms, and places on either side."""
    severity = ("", *(grade for grade in finding.severities if grade != "subtle"))
    if finding.size_cm is not None:
        severity = ("", "small", "large")
    places: list[str] = []
    if finding.sided:
        inside_lung = [where for where in finding.regions if zone_of(where) is not None][:_MAX_PLACES]
        places = [f"in the {REGIONS[region_on(side, where)].name}" for where in inside_lung for side in _SIDES]
        places = places or [f"on the {side}" for side in _SIDES]
    return _Parts(
        _GRADES_IN_WORDS.get(finding.id, severity),
        (finding.name, *finding.synonyms)[:_MAX_SUBTYPES],
        ("", *places),
    )


def _report_prompts(finding: str) -> ZeroShotPrompts:
    affirm, deny = REPORT_SENTENCES[finding]
    return ZeroShotPrompts(tuple(text for sentence in affirm for text in _both_sides(sentence)), deny)


def _both_sides(sentence: str) -> list[str]:
    if "{side}" not in sentence:
        return [sentence]
    texts = [sentence.format(side=side) for side in ("right", "left")]
    return [text[0].upper() + text[1:] for text in texts]


def _with_article(finding: Finding) -> str:
    if finding.id in _UNCOUNTED or finding.id in _PLURAL:
        return finding.name
    return f"{'an' if finding.name[0] in 'aeiou' else 'a'} {finding.name}"


def _title_case(name: str) -> str:
    return " ".join(word if word[0].isupper() else word.capitalize() for word in name.split())


def _closest(value: str, choices: tuple[str, ...]) -> str:
    return get_close_matches(value, choices, n=1, cutoff=0.0)[0]
