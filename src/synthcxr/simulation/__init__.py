"""Simulated radiographs with exact masks: anatomy, findings, projection, artefacts, cohorts."""
