"""Simulated radiographs: line integrals through a patient, with exact masks and boxes."""

from .cohort import PRESETS, sample_cohort
from .processing import SCANNERS
from .region_masks import SIMULATED_REGIONS
from .simulate import SimulatedObject, SimulatedStudy, simulate


__all__ = [
    "PRESETS",
    "SCANNERS",
    "SIMULATED_REGIONS",
    "SimulatedObject",
    "SimulatedStudy",
    "sample_cohort",
    "simulate",
]
