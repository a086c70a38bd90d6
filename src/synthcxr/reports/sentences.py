"""Cut text into sentences."""

from __future__ import annotations

import re


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, in order."""
    return [item for item in re.split(r"(?<=[.!?])\s+", text.strip()) if item]
