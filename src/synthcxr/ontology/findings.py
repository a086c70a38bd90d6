"""What a radiologist can find on a chest X-ray: ids, names, parents, where it sits and what it looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


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
    """

    id: str
    name: str
    kind: FindingKind
    parent: str | None = None
    sided: bool = False
    simulated: bool = True


_TABLE = (
    Finding("no_finding", "no finding", "none", simulated=False),
    Finding("enlarged_cardiomediastinum", "enlarged cardiomediastinum", "mediastinum"),
    Finding("cardiomegaly", "cardiomegaly", "heart", parent="enlarged_cardiomediastinum"),
    Finding("lung_opacity", "lung opacity", "lung", simulated=False),
    Finding("lung_lesion", "lung lesion", "lung", parent="lung_opacity", simulated=False),
    Finding("edema", "pulmonary edema", "lung", parent="lung_opacity"),
    Finding("consolidation", "consolidation", "lung", parent="lung_opacity", sided=True),
    Finding("pneumonia", "pneumonia", "lung", parent="lung_opacity", sided=True),
    Finding("atelectasis", "atelectasis", "lung", parent="lung_opacity", sided=True),
    Finding("pneumothorax", "pneumothorax", "pleura", sided=True),
    Finding("pleural_effusion", "pleural effusion", "pleura", sided=True),
    Finding("pleural_other", "other pleural abnormality", "pleura", simulated=False),
    Finding("fracture", "rib fracture", "bone", sided=True),
    Finding("support_devices", "support devices", "device", simulated=False),
    Finding("infiltration", "infiltration", "lung", parent="lung_opacity", sided=True),
    Finding("nodule", "pulmonary nodule", "lung", parent="lung_lesion", sided=True),
    Finding("mass", "lung mass", "lung", parent="lung_lesion", sided=True),
    Finding("cavity", "cavity", "lung", parent="lung_lesion", sided=True),
    Finding("granuloma", "calcified granuloma", "lung", parent="lung_lesion", sided=True),
    Finding("fibrosis", "pulmonary fibrosis", "lung", sided=True),
    Finding("emphysema", "emphysema", "lung"),
    Finding("hyperinflation", "hyperinflation", "lung"),
    Finding("hernia", "hiatal hernia", "mediastinum"),
    Finding("pleural_thickening", "pleural thickening", "pleura", parent="pleural_other", sided=True),
    Finding("tuberculosis", "tuberculosis", "lung", parent="lung_opacity", sided=True),
    Finding("covid_19_pattern", "COVID-19 pattern", "lung", parent="lung_opacity"),
    Finding("aortic_enlargement", "aortic enlargement", "mediastinum"),
    Finding("scoliosis", "scoliosis", "bone"),
    Finding("pneumoperitoneum", "pneumoperitoneum", "air"),
    Finding("subcutaneous_emphysema", "subcutaneous emphysema", "soft_tissue", sided=True),
    Finding("endotracheal_tube", "endotracheal tube", "device", parent="support_devices"),
    Finding("nasogastric_tube", "nasogastric tube", "device", parent="support_devices"),
    Finding("central_venous_catheter", "central venous catheter", "device", parent="support_devices", sided=True),
    Finding("chest_tube", "chest tube", "device", parent="support_devices", sided=True),
    Finding("pacemaker", "pacemaker", "device", parent="support_devices", sided=True),
    Finding("sternotomy_wires", "sternotomy wires", "device", parent="support_devices"),
)

FINDINGS: dict[str, Finding] = {finding.id: finding for finding in _TABLE}
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
