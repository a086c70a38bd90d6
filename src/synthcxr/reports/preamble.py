"""What stands before the findings: indication, comparison and technique, and what limits the study."""

from __future__ import annotations

from ..ontology import StudySpec
from .draws import Draws


# Complaints only: an indication must not give a finding away.
_COMPLAINTS = (
    "chest pain",
    "chest pain",
    "shortness of breath",
    "shortness of breath",
    "dyspnea",
    "dyspnea on exertion",
    "cough",
    "cough",
    "productive cough",
    "fever",
    "fever and cough",
    "cough and shortness of breath",
    "hypoxia",
    "weakness",
    "dizziness",
    "altered mental status",
    "fatigue",
    "night sweats",
    "chest discomfort",
    "wheezing",
    "palpitations",
    "a fall",
    "back pain",
)
_CHILD_COMPLAINTS = (
    "cough",
    "cough",
    "fever",
    "fever and cough",
    "wheezing",
    "tachypnea",
    "respiratory distress",
    "poor feeding",
    "hypoxia",
)
_OTHER_REASONS = ("Preoperative evaluation.", "Routine examination.", "Follow-up.", "Evaluate for acute process.")
_TECHNIQUE: dict[str, tuple[str, ...]] = {
    "PA": (
        "PA view of the chest.",
        "Single PA view of the chest.",
        "PA chest radiograph.",
        "Frontal PA view of the chest.",
        "Single frontal view of the chest, PA.",
    ),
    "AP": (
        "AP view of the chest.",
        "Single AP view of the chest.",
        "Portable AP view of the chest.",
        "AP portable chest radiograph.",
        "Single portable AP view of the chest.",
    ),
    "AP supine": (
        "Supine AP view of the chest.",
        "Portable supine AP view of the chest.",
        "Single supine portable AP chest radiograph.",
        "AP portable chest radiograph, supine.",
    ),
    "LATERAL": ("Lateral view of the chest.", "Single lateral view of the chest.", "Lateral chest radiograph."),
}
_COMPARED = (
    "Prior chest radiograph.",
    "Previous chest radiograph.",
    "Most recent prior chest radiograph.",
    "Prior study.",
    "Comparison is made with the prior chest radiograph.",
)
_NOT_COMPARED = ("None.", "None.", "None available.", "No prior study available.", "No comparison.")
_LOW_INSPIRATION = 0.45
_ROTATED_DEGREES = 6.0
_CHILD_AGE = 16


def draw_preamble(draws: Draws, spec: StudySpec, *, compared: bool, rate: float) -> tuple[tuple[str, str], ...]:
    """
    Sections before the findings.

    Args:
        draws (`Draws`): Where to draw from.
        spec (`StudySpec`): The study.
        compared (`bool`): Whether a prior study is at hand.
        rate (`float`): How often each section is given.

    Returns:
        `tuple` of `(header, text)`.
    """
    sections = []
    if draws.chance(rate):
        sections.append(("INDICATION", _indication(draws, spec)))
    if draws.chance(rate):
        sections.append(("COMPARISON", draws.pick(_COMPARED if compared else _NOT_COMPARED)))
    if draws.chance(rate):
        view = "AP supine" if spec.acquisition.supine and spec.acquisition.view == "AP" else spec.acquisition.view
        sections.append(("TECHNIQUE", draws.pick(_TECHNIQUE[view])))
    return tuple(sections)


def draw_limits(draws: Draws, spec: StudySpec, *, overinflated: bool) -> tuple[str, ...]:
    """
    What the acquisition makes hard to judge, where the report mentions it.

    Args:
        draws (`Draws`): Where to draw from.
        spec (`StudySpec`): The study.
        overinflated (`bool`): Whether the lungs are, or may be, too large; nobody then calls their volumes low.

    Returns:
        `tuple[str, ...]`: Keys of `LIMITS`.
    """
    acquisition = spec.acquisition
    limits = []
    if acquisition.defect in ("blurred", "overexposed", "underexposed", "cropped") and draws.chance(0.6):
        limits.append(str(acquisition.defect))
    if acquisition.inspiration < _LOW_INSPIRATION and not overinflated and draws.chance(0.7):
        limits.append("low_lung_volumes")
    if abs(acquisition.rotation_degrees) >= _ROTATED_DEGREES and draws.chance(0.4):
        limits.append("rotated")
    if acquisition.supine and draws.chance(0.15):
        limits.append("supine")
    return tuple(limits)


def _indication(draws: Draws, spec: StudySpec) -> str:
    patient = spec.patient
    child = patient.age < _CHILD_AGE
    if draws.chance(0.1):
        return draws.pick(_OTHER_REASONS)
    complaint = draws.pick(_CHILD_COMPLAINTS if child else _COMPLAINTS)
    if draws.chance(0.5):
        return f"{complaint.removeprefix('a ').capitalize()}."
    if child:
        noun = "girl" if patient.sex == "female" else "boy"
    else:
        noun = draws.pick(("woman", "female") if patient.sex == "female" else ("man", "male"))
    if patient.age < 2:
        return f"{max(int(patient.age * 12), 1)}-month-old {noun} with {complaint}."
    return f"{int(patient.age)}-year-old {noun} with {complaint}."
