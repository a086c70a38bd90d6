"""The words of the house: findings, anatomy, label maps, prompts and the `StudySpec`. Standard library only."""

from .findings import FINDING_IDS, FINDINGS, Finding, ancestors, with_ancestors
from .label_maps import LABEL_MAPS, from_finding, to_finding
from .prompts import PROMPT_SETS, ZeroShotPrompts, zero_shot_prompts
from .regions import REGION_IDS, REGIONS, Region, region_on, structure_of, zone_of
from .study_spec import Acquisition, FindingInstance, Patient, StudySpec


__all__ = [
    "FINDINGS",
    "FINDING_IDS",
    "LABEL_MAPS",
    "PROMPT_SETS",
    "REGIONS",
    "REGION_IDS",
    "Acquisition",
    "Finding",
    "FindingInstance",
    "Patient",
    "Region",
    "StudySpec",
    "ZeroShotPrompts",
    "ancestors",
    "from_finding",
    "region_on",
    "structure_of",
    "to_finding",
    "with_ancestors",
    "zero_shot_prompts",
    "zone_of",
]
