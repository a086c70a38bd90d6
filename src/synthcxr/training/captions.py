"""What a generator reads of a report while it learns: long and short texts, as people will ask for images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from ..data.collators import select_sentences
from ..pipelines.prompts import clean_prompt


CaptionColumn = Literal["mixed", "report", "findings", "impression"]

# Reports are summed up in their impression, so people ask for images in its words; single findings come from "some".
_MIX = {"impression": 0.35, "findings": 0.15, "both": 0.2, "some": 0.3}


def draw_caption(row: Mapping[str, Any], *, column: CaptionColumn, dropout: float, stream: np.random.Generator) -> str:
    """
    The caption of a row in one draw.

    Args:
        row (`Mapping`): A pair: `report`, `findings`, `impression`.
        column (`str`): One column, or `"mixed"`: the impression, the findings, both, or some sentences of them.
        dropout (`float`): Share of draws without a caption, 0 to 1, so that the generator can be guided.
        stream (`np.random.Generator`): Names the draw.

    Returns:
        `str`: Empty where it was dropped. A row whose section is empty is read by its whole report.

    Raises:
        ValueError: On another column.
    """
    if column not in get_args(CaptionColumn):
        raise ValueError(f"column is {column!r}; expected one of {', '.join(get_args(CaptionColumn))}.")
    if stream.random() < dropout:
        return ""
    kind = stream.choice(list(_MIX), p=list(_MIX.values())) if column == "mixed" else column
    if kind not in ("both", "some"):
        return _clean(row[kind]) or _clean(row["report"])
    texts = [_clean(row[name]) for name in ("impression", "findings")]
    text = " ".join(text for text in texts if text) or _clean(row["report"])
    return select_sentences(text, int(stream.integers(2**31))) if kind == "some" else text


@lru_cache(maxsize=200_000)
def _clean(text: str | None) -> str:
    # Prompts lose the marks of de-identification, so captions do; generators answer them with training images.
    return clean_prompt(text or "").text
