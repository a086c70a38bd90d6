"""Simulated radiographs: line integrals through a patient, with exact masks and boxes."""

from .simulate import SimulatedObject, SimulatedStudy, simulate


__all__ = ["SimulatedObject", "SimulatedStudy", "simulate"]
