"""The words of the house: findings, anatomy, label maps, prompts and the `StudySpec`. Standard library only."""

from .findings import FINDING_IDS, FINDINGS, Finding, ancestors, with_ancestors
from .regions import REGION_IDS, REGIONS, Region
from .study_spec import Acquisition, FindingInstance, Patient, StudySpec


__all__ = [
    "FINDINGS",
    "FINDING_IDS",
    "REGIONS",
    "REGION_IDS",
    "Acquisition",
    "Finding",
    "FindingInstance",
    "Patient",
    "Region",
    "StudySpec",
    "ancestors",
    "with_ancestors",
]
