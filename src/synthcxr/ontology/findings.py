"""What a radiologist can find on a chest X-ray: ids, names, parents, where it sits and what it looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from .synonyms import SYNONYMS


FindingKind = Literal["none", "lung", "pleura", "heart", "mediastinum", "bone", "soft_tissue", "air", "device"]


@dataclass(frozen=True)
class Finding:
    """
    One finding of the ontology.

    Args:
        id (`str`): Snake-case id, the name used everywhere.
        name (`str`): Name in running text.
        kind (`str`): The organ or thing that it belongs to.
        parent (`str`, *optional*): More general finding that is present whenever this one is.
        sided (`bool`): Whether it lies on one side, so that an image must not be flipped.
        simulated (`bool`): Whether `simulation` can render it; umbrella terms cannot be rendered themselves.
        bilateral (`bool`): Whether one instance of a sided finding may be on both sides at once.
        regions (`tuple[str, ...]`): Where it can be, most usual first. A sided finding names structures without a side
            (`"lower_zone"`; [`region_on`] gives `"left_lower_zone"`); empty when the place says nothing.
        severities (`tuple[str, ...]`): Grades that it comes in, faintest first; empty when it is not graded.
        size_cm (`tuple[float, float]`, *optional*): Smallest and largest diameter of a focal finding.
        positions (`tuple[str, ...]`): Where the tip of a device can be, `"satisfactory"` first.
        chronic (`bool`): Whether it stays, so that a later study of the patient shows it too.
        adult_only (`bool`): Whether it is (all but) unknown in children.
        excludes (`tuple[str, ...]`): Findings that no study shows together with this one.
        excludes_same_side (`tuple[str, ...]`): Findings that cannot share a side with this one.
        synonyms (`tuple[str, ...]`): What else radiologists write for it, lower case, without `name`.
    """

    id: str
    name: str
    kind: FindingKind
    parent: str | None = None
    sided: bool = False
    simulated: bool = True
    bilateral: bool = False
    regions: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    size_cm: tuple[float, float] | None = None
    positions: tuple[str, ...] = ()
    chronic: bool = False
    adult_only: bool = False
    excludes: tuple[str, ...] = ()
    excludes_same_side: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()


_GRADES = ("subtle", "mild", "moderate", "severe")
_ZONES = ("lower_zone", "mid_zone", "upper_zone")
_ZONES_AND_LOBES = (*_ZONES, "lower_lobe", "upper_lobe", "middle_lobe")
_UPPER_FIRST = ("upper_zone", "mid_zone", "lower_zone")


def _airspace(id: str, name: str, regions: tuple[str, ...] = _ZONES_AND_LOBES, **more: Any) -> Finding:
    """What fills a part of a lung, or of both."""
    return Finding(
        id, name, "lung", "lung_opacity", sided=True, bilateral=True, regions=regions, severities=_GRADES, **more
    )


def _focal(id: str, name: str, size_cm: tuple[float, float], **more: Any) -> Finding:
    """What is one round thing in one lung; several of it are several instances."""
    severities = ("subtle", "mild", "moderate")
    return Finding(
        id,
        name,
        "lung",
        "lung_lesion",
        sided=True,
        regions=_UPPER_FIRST,
        severities=severities,
        size_cm=size_cm,
        **more,
    )


def _device(id: str, name: str, regions: tuple[str, ...], positions: tuple[str, ...] = (), **more: Any) -> Finding:
    return Finding(id, name, "device", "support_devices", regions=regions, positions=positions, **more)


_TABLE = (
    Finding("no_finding", "no finding", "none", simulated=False),
    Finding(
        "enlarged_cardiomediastinum",
        "enlarged cardiomediastinum",
        "mediastinum",
        regions=("mediastinum",),
        severities=_GRADES,
        chronic=True,
    ),
    Finding(
        "cardiomegaly",
        "cardiomegaly",
        "heart",
        parent="enlarged_cardiomediastinum",
        regions=("heart",),
        severities=_GRADES,
        chronic=True,
    ),
    Finding("lung_opacity", "lung opacity", "lung", sided=True, bilateral=True, simulated=False, regions=_ZONES),
    Finding("lung_lesion", "lung lesion", "lung", parent="lung_opacity", sided=True, simulated=False, regions=_ZONES),
    Finding("edema", "pulmonary edema", "lung", parent="lung_opacity", regions=("lung", "hilum"), severities=_GRADES),
    _airspace("consolidation", "consolidation"),
    _airspace("pneumonia", "pneumonia", excludes=("covid_19_pattern", "tuberculosis")),
    _airspace("atelectasis", "atelectasis"),
    Finding(
        "pneumothorax",
        "pneumothorax",
        "pleura",
        sided=True,
        regions=("apex", "pleura"),
        severities=_GRADES,
        # Air over fluid is a straight level, another picture than either alone; adherent pleura keeps the lung up.
        excludes_same_side=("pleural_effusion", "pleural_thickening"),
    ),
    Finding(
        "pleural_effusion",
        "pleural effusion",
        "pleura",
        sided=True,
        bilateral=True,
        regions=("costophrenic_angle", "base"),
        severities=_GRADES,
    ),
    Finding("pleural_other", "other pleural abnormality", "pleura", sided=True, bilateral=True, simulated=False),
    Finding(
        "fracture",
        "fracture",
        "bone",
        sided=True,
        regions=("rib",),
        severities=("subtle", "mild", "moderate"),
        chronic=True,
    ),
    Finding("support_devices", "support devices", "device", simulated=False),
    _airspace("infiltration", "infiltration", _ZONES, excludes=("covid_19_pattern",)),
    _focal("nodule", "pulmonary nodule", (0.6, 3.0), chronic=True),
    _focal("mass", "lung mass", (3.1, 8.0), chronic=True),
    _focal("cavity", "cavity", (1.5, 6.0), chronic=True),
    _focal("granuloma", "calcified granuloma", (0.3, 1.2), chronic=True),
    Finding(
        "fibrosis",
        "pulmonary fibrosis",
        "lung",
        sided=True,
        bilateral=True,
        regions=("apex", "upper_zone", "lower_zone"),
        severities=_GRADES,
        adult_only=True,
        chronic=True,
    ),
    Finding(
        "emphysema",
        "emphysema",
        "lung",
        regions=("lung", "upper_zone"),
        severities=_GRADES,
        adult_only=True,
        chronic=True,
    ),
    Finding("hyperinflation", "hyperinflation", "lung", regions=("lung",), severities=_GRADES, chronic=True),
    Finding("hernia", "hiatal hernia", "mediastinum", regions=("mediastinum",), severities=_GRADES, chronic=True),
    Finding(
        "pleural_thickening",
        "pleural thickening",
        "pleura",
        parent="pleural_other",
        sided=True,
        bilateral=True,
        regions=("apex", "pleura", "costophrenic_angle"),
        severities=_GRADES,
        chronic=True,
    ),
    _airspace("tuberculosis", "tuberculosis", ("upper_zone", "apex"), excludes=("covid_19_pattern",), chronic=True),
    Finding(
        "covid_19_pattern",
        "COVID-19 pattern",
        "lung",
        parent="lung_opacity",
        regions=("lung", "lower_zone", "mid_zone"),
        severities=_GRADES,
        excludes=("edema",),
    ),
    Finding(
        "aortic_enlargement",
        "aortic enlargement",
        "mediastinum",
        regions=("aortic_arch",),
        severities=_GRADES,
        adult_only=True,
        chronic=True,
    ),
    Finding("scoliosis", "scoliosis", "bone", regions=("spine",), severities=_GRADES, chronic=True),
    Finding("pneumoperitoneum", "pneumoperitoneum", "air", regions=("hemidiaphragm",), severities=_GRADES),
    Finding(
        "subcutaneous_emphysema",
        "subcutaneous emphysema",
        "soft_tissue",
        sided=True,
        bilateral=True,
        regions=("chest_wall",),
        severities=_GRADES,
    ),
    _device("endotracheal_tube", "endotracheal tube", ("trachea",), ("satisfactory", "too_low", "too_high")),
    _device("nasogastric_tube", "nasogastric tube", ("stomach",), ("satisfactory", "too_high", "malpositioned")),
    _device(
        "central_venous_catheter",
        "central venous catheter",
        ("superior_vena_cava", "right_atrium"),
        ("satisfactory", "too_low", "malpositioned"),
        sided=True,
    ),
    _device("chest_tube", "chest tube", ("pleura",), ("satisfactory", "malpositioned"), sided=True),
    _device("pacemaker", "pacemaker", ("chest_wall",), ("satisfactory", "malpositioned"), sided=True, chronic=True),
    _device("sternotomy_wires", "sternotomy wires", ("mediastinum",), chronic=True),
    # The rest only gives the labels of public datasets a name; new ids go to the end, so that class numbers stay.
    Finding("calcification", "calcification", "lung", sided=True, simulated=False),
    Finding(
        "clavicle_fracture", "clavicle fracture", "bone", "fracture", True, simulated=False, regions=("clavicle",)
    ),
    Finding("interstitial_lung_disease", "interstitial lung disease", "lung", "lung_opacity", simulated=False),
    Finding("hilar_enlargement", "hilar enlargement", "mediastinum", sided=True, simulated=False, regions=("hilum",)),
    Finding("lung_cyst", "lung cyst", "lung", sided=True, simulated=False, regions=_UPPER_FIRST),
    Finding("mediastinal_shift", "mediastinal shift", "mediastinum", sided=True, simulated=False),
    Finding("copd", "chronic obstructive pulmonary disease", "lung", simulated=False, adult_only=True),
    Finding("pneumomediastinum", "pneumomediastinum", "air", simulated=False, regions=("mediastinum",)),
    Finding("bronchiectasis", "bronchiectasis", "lung", sided=True, simulated=False, regions=_ZONES),
    Finding(
        "elevated_hemidiaphragm",
        "elevated hemidiaphragm",
        "lung",
        sided=True,
        simulated=False,
        regions=("hemidiaphragm",),
    ),
)


def _complete(table: tuple[Finding, ...]) -> dict[str, Finding]:
    """Add the synonyms, and the other direction of every exclusion."""
    return {
        row.id: replace(
            row,
            synonyms=SYNONYMS.get(row.id, ()),
            excludes=row.excludes + tuple(other.id for other in table if row.id in other.excludes),
            excludes_same_side=row.excludes_same_side
            + tuple(other.id for other in table if row.id in other.excludes_same_side),
        )
        for row in table
    }


FINDINGS: dict[str, Finding] = _complete(_TABLE)
FINDING_IDS: tuple[str, ...] = tuple(FINDINGS)


def ancestors(finding: str) -> tuple[str, ...]:
    """More general findings that hold whenever `finding` does, nearest first."""
    found = []
    parent = FINDINGS[finding].parent
    while parent is not None:
        found.append(parent)
        parent = FINDINGS[parent].parent
    return tuple(found)


def with_ancestors(findings: Iterable[str]) -> list[str]:
    """The findings and everything more general, each once, in ontology order."""
    closed = set()
    for finding in findings:
        closed |= {finding, *ancestors(finding)}
    return [finding for finding in FINDING_IDS if finding in closed]
