"""Write a report from a `StudySpec`."""

from __future__ import annotations

from ..ontology import FINDINGS, StudySpec


def write_report(spec: StudySpec, *, seed: int | None = None) -> str:
    """Write `"FINDINGS: ...\\nIMPRESSION: ..."` from a spec."""
    names = [
        " ".join(word for word in (item.severity, item.side, FINDINGS[item.finding].name) if word)
        for item in spec.findings
    ]
    findings = " ".join(f"There is {name}." for name in names) or "The lungs are clear."
    impression = " ".join(f"{name.capitalize()}." for name in names) or "No acute cardiopulmonary process."
    return f"FINDINGS: {findings}\nIMPRESSION: {impression}"
