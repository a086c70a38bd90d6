"""What a report may deny: findings truly absent, and nothing that what is present would make doubtful."""

from __future__ import annotations

from dataclasses import dataclass

from ..ontology import FINDING_IDS, FINDINGS, ancestors
from .lexicon import LEXICON
from .statements import Statement


@dataclass(frozen=True, slots=True)
class Normal:
    """
    A sentence of normal anatomy.

    Args:
        organ (`str`): Where in a report it stands.
        denies (`tuple[str, ...]`): Findings whose absence it states.
        unless (`tuple[str, ...]`): Findings that it does not deny, but beside which nobody would say it.
        texts (`tuple[str, ...]`): Ways to say it.
        brief (`tuple[str, ...]`): Ways to say it after the organ's label (`"Heart: ..."`); empty when it has none.
        weight (`float`): How often it is said where it may be.
    """

    organ: str
    denies: tuple[str, ...]
    texts: tuple[str, ...]
    brief: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    weight: float = 0.5


_AIRSPACE = ("pneumonia", "tuberculosis", "covid_19_pattern", "infiltration", "consolidation", "lung_opacity")
_SHIFTING = ("pneumothorax", "pleural_effusion", "atelectasis", "mass", "fibrosis", "scoliosis", "aortic_enlargement")

# Denying the key would be wrong or strange beside any of these, though none of them implies it.
_CONFLICTS: dict[str, tuple[str, ...]] = {
    "consolidation": _AIRSPACE,
    "infiltration": (*_AIRSPACE, "interstitial_lung_disease", "edema"),
    "pneumonia": (*_AIRSPACE, "cavity"),
    "covid_19_pattern": (*_AIRSPACE, "interstitial_lung_disease"),
    "tuberculosis": (
        *_AIRSPACE,
        *("cavity", "granuloma", "fibrosis", "nodule", "pleural_thickening", "bronchiectasis", "calcification"),
    ),
    "edema": ("interstitial_lung_disease", "infiltration", "covid_19_pattern", "lung_opacity"),
    "lung_opacity": (
        *("fibrosis", "pleural_effusion", "pleural_other", "pleural_thickening", "calcification"),
        *("bronchiectasis", "lung_cyst"),
    ),
    "atelectasis": ("elevated_hemidiaphragm", "fibrosis", "mediastinal_shift"),
    "lung_lesion": ("calcification", "tuberculosis", "lung_cyst", "lung_opacity"),
    "nodule": ("mass", "granuloma", "cavity", "calcification", "tuberculosis", "lung_opacity"),
    "mass": ("nodule", "cavity", "hilar_enlargement", "lung_opacity", "enlarged_cardiomediastinum"),
    "cavity": ("tuberculosis", "lung_cyst", "mass", "lung_opacity"),
    "granuloma": ("calcification", "nodule"),
    "calcification": ("granuloma",),
    "fibrosis": ("interstitial_lung_disease", "bronchiectasis", "tuberculosis"),
    "interstitial_lung_disease": ("fibrosis", "edema", "covid_19_pattern", "lung_opacity"),
    "bronchiectasis": ("fibrosis", "interstitial_lung_disease"),
    "emphysema": ("hyperinflation", "copd", "lung_cyst"),
    "hyperinflation": ("emphysema", "copd"),
    "copd": ("emphysema", "hyperinflation"),
    "lung_cyst": ("cavity", "emphysema"),
    "pleural_effusion": ("pleural_other",),
    "pleural_thickening": ("pleural_effusion",),
    "pleural_other": ("pleural_effusion", "pneumothorax"),
    "enlarged_cardiomediastinum": (
        *("aortic_enlargement", "hernia", "hilar_enlargement", "mediastinal_shift", "pneumomediastinum"),
    ),
    "cardiomegaly": ("enlarged_cardiomediastinum",),
    "aortic_enlargement": ("enlarged_cardiomediastinum",),
    "hernia": ("enlarged_cardiomediastinum",),
    "hilar_enlargement": ("enlarged_cardiomediastinum", "mass", "edema"),
    "mediastinal_shift": (*_SHIFTING, "enlarged_cardiomediastinum"),
    "pneumomediastinum": ("subcutaneous_emphysema",),
}


def _blocks(present: str) -> frozenset[str]:
    """Findings that may not be denied when one is, or may be, present."""
    family = {other for other in FINDING_IDS if other == present or present in ancestors(other)}
    conflicting = {denied for denied, others in _CONFLICTS.items() if present in others}
    implied = {"no_finding", *ancestors(present)}
    return frozenset(family | conflicting | implied)


BLOCKS: dict[str, frozenset[str]] = {finding: _blocks(finding) for finding in FINDING_IDS}
DESCENDANTS: dict[str, frozenset[str]] = {
    finding: frozenset(other for other in FINDING_IDS if finding in ancestors(other)) for finding in FINDING_IDS
}


def _of_kind(*kinds: str) -> tuple[str, ...]:
    return tuple(finding for finding in FINDING_IDS if FINDINGS[finding].kind in kinds)


LUNG_FINDINGS = _of_kind("lung")
PLEURAL_FINDINGS = _of_kind("pleura")

NORMALS: dict[str, Normal] = {
    "heart": Normal(
        "heart",
        ("cardiomegaly",),
        (
            "the heart is normal in size",
            "heart size is normal",
            "heart size is within normal limits",
            "normal heart size",
            "the cardiac silhouette is normal in size",
            "the heart size is normal",
            "cardiac size is within normal limits",
            "the cardiac silhouette is not enlarged",
        ),
        ("normal size", "normal in size", "size within normal limits", "not enlarged"),
        weight=0.45,
    ),
    "cardiomediastinum": Normal(
        "heart",
        ("cardiomegaly", "enlarged_cardiomediastinum", "aortic_enlargement", "hernia", "hilar_enlargement"),
        (
            "the cardiomediastinal silhouette is within normal limits",
            "the cardiomediastinal silhouette is normal",
            "cardiomediastinal silhouette is unremarkable",
            "heart size and mediastinal contours are within normal limits",
            "heart size and mediastinal contours are normal",
            "normal heart size and mediastinal contours",
            "the cardiac and mediastinal contours are unremarkable",
            "cardiac and mediastinal contours are within normal limits",
            "the heart and mediastinum are normal",
            "the cardiomediastinal contours are normal",
        ),
        weight=0.5,
    ),
    "mediastinum": Normal(
        "mediastinum",
        ("enlarged_cardiomediastinum", "aortic_enlargement", "hernia", "hilar_enlargement", "pneumomediastinum"),
        (
            "the mediastinal contours are normal",
            "mediastinal contours are unremarkable",
            "the mediastinum is unremarkable",
            "mediastinal and hilar contours are within normal limits",
            "the mediastinal and hilar contours are unremarkable",
            "the mediastinal silhouette is normal",
            "normal mediastinal contours",
        ),
        ("normal contours", "unremarkable", "contours within normal limits", "normal"),
        unless=("cardiomegaly", "mass"),
        weight=0.4,
    ),
    "trachea": Normal(
        "mediastinum",
        ("mediastinal_shift",),
        ("the trachea is midline", "trachea midline", "midline trachea"),
        ("trachea midline",),
        unless=_SHIFTING,
        weight=0.08,
    ),
    "aorta": Normal(
        "mediastinum",
        ("aortic_enlargement",),
        ("the thoracic aorta is normal in caliber", "the aorta is normal in caliber", "normal caliber thoracic aorta"),
        ("aorta normal in caliber",),
        weight=0.05,
    ),
    "lungs_clear": Normal(
        "lungs",
        LUNG_FINDINGS,
        (
            "the lungs are clear",
            "the lungs are clear",
            "lungs are clear",
            "both lungs are clear",
            "the lungs are clear bilaterally",
            "clear lungs",
            "the lungs appear clear",
            "lungs are clear bilaterally",
        ),
        ("clear", "clear bilaterally", "both lungs are clear"),
        unless=PLEURAL_FINDINGS,
        weight=0.6,
    ),
    "vessels": Normal(
        "lungs",
        ("edema",),
        (
            "pulmonary vascularity is normal",
            "the pulmonary vasculature is normal",
            "pulmonary vascularity is within normal limits",
            "pulmonary vasculature is unremarkable",
            "normal pulmonary vascularity",
        ),
        ("pulmonary vascularity is normal", "normal vascularity"),
        unless=("emphysema", "copd", "hyperinflation", "fibrosis", "hilar_enlargement"),
        weight=0.2,
    ),
    "lungs_expanded": Normal(
        "lungs",
        ("hyperinflation", "emphysema", "copd", "atelectasis"),
        (
            "the lungs are well expanded",
            "lungs are well expanded",
            "the lungs are normally inflated",
            "the lungs are well inflated",
            "lung volumes are normal",
            "normal lung volumes",
        ),
        ("well expanded", "normally inflated", "normal volumes"),
        unless=("pneumothorax", "pleural_effusion", "fibrosis", "elevated_hemidiaphragm", "lung_opacity"),
        weight=0.12,
    ),
    "pleura": Normal(
        "pleura",
        PLEURAL_FINDINGS,
        (
            "the pleural surfaces are unremarkable",
            "no pleural abnormality",
            "the pleural spaces are clear",
            "pleural spaces are clear",
            "pleural surfaces are normal",
        ),
        ("unremarkable", "normal", "pleural spaces are clear"),
        weight=0.12,
    ),
    "angles": Normal(
        "pleura",
        ("pleural_effusion",),
        ("the costophrenic angles are sharp", "costophrenic angles are clear", "sharp costophrenic angles"),
        ("costophrenic angles are sharp", "sharp costophrenic angles"),
        unless=("pleural_thickening", "pleural_other", "elevated_hemidiaphragm"),
        weight=0.08,
    ),
    "bones": Normal(
        "bones",
        ("fracture", "clavicle_fracture", "scoliosis"),
        (
            "the osseous structures are unremarkable",
            "bony structures are intact",
            "visualized osseous structures are unremarkable",
            "the bony thorax is intact",
            "osseous structures are intact",
            "the visualized bones are unremarkable",
            "the skeletal structures are normal",
        ),
        ("unremarkable", "intact", "normal"),
        weight=0.25,
    ),
    "bones_acute": Normal(
        "bones",
        ("fracture", "clavicle_fracture"),
        (
            "no acute osseous abnormality",
            "no acute bony abnormality",
            "there is no acute osseous abnormality",
            "no acute osseous abnormality is seen",
            "there are no acute bony findings",
            "no acute bone abnormality",
        ),
        ("no acute abnormality", "no acute osseous abnormality", "no acute fracture"),
        weight=0.25,
    ),
    "soft_tissues": Normal(
        "soft_tissues",
        ("subcutaneous_emphysema",),
        ("the soft tissues are unremarkable", "soft tissues are within normal limits", "unremarkable soft tissues"),
        ("unremarkable", "normal"),
        weight=0.06,
    ),
    "abdomen": Normal(
        "abdomen",
        ("pneumoperitoneum", "hernia"),
        (
            "the visualized upper abdomen is unremarkable",
            "upper abdomen is unremarkable",
            "unremarkable upper abdomen",
        ),
        ("unremarkable", "visualized upper abdomen is unremarkable"),
        unless=("elevated_hemidiaphragm",),
        weight=0.06,
    ),
    "no_devices": Normal(
        "devices",
        ("support_devices",),
        ("no support devices", "no lines or tubes"),
        ("none", "none present", "no support devices"),
        weight=0.02,
    ),
}
# Where a report could say both, it says only the first.
EXCLUSIVE_NORMALS = (("cardiomediastinum", "heart"), ("cardiomediastinum", "mediastinum"), ("bones", "bones_acute"))
# How often a plain negative is written where it may be.
NEGATIVE_WEIGHTS: dict[str, float] = {
    "pneumothorax": 0.85,
    "pleural_effusion": 0.85,
    "consolidation": 0.6,
    "lung_opacity": 0.2,
    "infiltration": 0.12,
    "pneumonia": 0.1,
    "edema": 0.25,
    "nodule": 0.05,
    "mass": 0.05,
    "lung_lesion": 0.04,
    "cavity": 0.01,
    "tuberculosis": 0.01,
    "interstitial_lung_disease": 0.02,
    "fracture": 0.08,
    "pneumoperitoneum": 0.1,
    "subcutaneous_emphysema": 0.02,
    "pneumomediastinum": 0.02,
}
# Of these only one is denied in a report; the others would say the same again.
AIRSPACE_NEGATIVES = ("consolidation", "lung_opacity", "infiltration", "pneumonia")


def organ_of(statement: Statement) -> str:
    """Where in a report a statement stands."""
    normal = NORMALS.get(statement.topic) if statement.topic is not None else None
    return (normal or LEXICON[statement.finding]).organ
