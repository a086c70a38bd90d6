"""Manners of reporting, as different as radiologists are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """
    How one radiologist reports.

    Args:
        manner (`str`): Which sentences, `"terse"`, `"plain"` or `"formal"`.
        organs (`tuple[str, ...]`): Order in which the organs are gone through.
        labelled (`bool`): Whether each organ has its label (`"Lungs: ..."`).
        normals (`float`): Multiplies how often normal anatomy is described.
        grouping (`float`): How often negatives share a sentence.
        joining (`float`): How often positives share a sentence.
        numbered (`float`): How often an impression of several points is numbered.
        preamble (`float`): How often each of indication, comparison and technique is given.
        detail (`float`): How often severity and region are given where the spec has them.
    """

    manner: str
    organs: tuple[str, ...]
    labelled: bool
    normals: float
    grouping: float
    joining: float
    numbered: float
    preamble: float
    detail: float


_LUNGS_FIRST = ("lungs", "pleura", "heart", "mediastinum", "abdomen", "bones", "soft_tissues", "devices")
_HEART_FIRST = ("heart", "mediastinum", "lungs", "pleura", "bones", "soft_tissues", "abdomen", "devices")
_DEVICES_FIRST = ("devices", "lungs", "pleura", "heart", "mediastinum", "bones", "soft_tissues", "abdomen")
_DEVICES_THEN_HEART = ("devices", "heart", "mediastinum", "lungs", "pleura", "abdomen", "bones", "soft_tissues")

STYLES: dict[str, Style] = {
    "telegraphic": Style("terse", _HEART_FIRST, False, 0.9, 0.7, 0.25, 0.2, 0.1, 0.85),
    "brief": Style("terse", _LUNGS_FIRST, False, 0.6, 0.8, 0.3, 0.1, 0.05, 0.85),
    "plain": Style("plain", _LUNGS_FIRST, False, 1.0, 0.7, 0.25, 0.3, 0.2, 0.93),
    "classic": Style("plain", _HEART_FIRST, False, 1.15, 0.7, 0.25, 0.35, 0.25, 0.93),
    "verbose": Style("formal", _HEART_FIRST, False, 1.4, 0.5, 0.15, 0.4, 0.5, 0.97),
    "academic": Style("formal", _LUNGS_FIRST, False, 1.3, 0.6, 0.2, 0.6, 0.7, 0.97),
    "structured": Style("terse", _LUNGS_FIRST, True, 1.5, 0.8, 0.15, 0.6, 0.5, 0.95),
    "structured_full": Style("plain", _DEVICES_FIRST, True, 1.7, 0.7, 0.15, 0.5, 0.6, 0.95),
    "intensive_care": Style("plain", _DEVICES_FIRST, False, 0.7, 0.8, 0.35, 0.3, 0.3, 0.9),
    "emergency": Style("plain", _DEVICES_THEN_HEART, False, 0.9, 0.8, 0.3, 0.2, 0.3, 0.9),
}
STYLE_NAMES: tuple[str, ...] = tuple(STYLES)
# Wards have their own radiologists: studies with devices are read by them more often.
WARD_STYLE_NAMES: tuple[str, ...] = (*STYLE_NAMES, "intensive_care", "intensive_care", "intensive_care", "emergency")

ORGAN_LABELS: dict[str, tuple[str, ...]] = {
    "devices": ("Lines and tubes", "Devices", "Lines/tubes", "Support devices"),
    "lungs": ("Lungs",),
    "pleura": ("Pleura", "Pleural spaces"),
    "heart": ("Heart",),
    "mediastinum": ("Mediastinum",),
    "bones": ("Bones", "Osseous structures"),
    "soft_tissues": ("Soft tissues",),
    "abdomen": ("Upper abdomen", "Abdomen"),
}
