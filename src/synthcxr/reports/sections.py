"""Cut a report into its sections."""

from __future__ import annotations

import re


_HEADER = re.compile(r"(?im)^[ \t]*(findings|impression|indication|comparison|technique)[ \t]*:")


def split_sections(report: str) -> dict[str, str]:
    """Sections of a report by name."""
    parts = _HEADER.split(report)
    sections = {"findings": "", "impression": ""}
    if parts[0].strip():
        sections["body"] = parts[0].strip()
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        sections[name.lower()] = text.strip()
    return sections
