"""Simulated radiographs: line integrals through a patient, with exact masks and boxes."""

from .cohort import PRESETS, sample_cohort
from .simulate import SimulatedObject, SimulatedStudy, simulate


__all__ = ["PRESETS", "SimulatedObject", "SimulatedStudy", "sample_cohort", "simulate"]
