"""The words of the house: findings, anatomy, label maps, prompts and the `StudySpec`. Standard library only."""

from .findings import FINDING_IDS, FINDINGS, Finding, ancestors, with_ancestors
from .regions import REGION_IDS, REGIONS, Region, region_on, structure_of, zone_of
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
    "region_on",
    "structure_of",
    "with_ancestors",
    "zone_of",
]
