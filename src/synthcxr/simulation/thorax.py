"""The outline of body, lungs and domes as curves over the rows and columns of the detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .scene import Geometry


APEX_SHARE = 0.40  # the apex lies this share of the half width from the midline
COLLAPSE_REACH = 0.72  # a fully collapsed lung keeps 28 % of its size

# Columns of `Outline.rows` and `Outline.columns`, as the kernel reads them.
MID, LATERAL, MEDIAL, LUNG_DEPTH, BODY_DEPTH, BODY_EDGE = 0, 1, 3, 5, 6, 7
DOME, SKIN = 0, 2


@dataclass(frozen=True)
class Outline:
    """
    Curves that bound body and lungs. Right comes before left; distances are from the spine's midline.

    Args:
        rows (`np.ndarray` of shape `(num_rows, 9)`): Per row: x of the midline; lateral edges of the two lungs; medial
            edges; depth of the lung; depth of the body; half widths of the body.
        columns (`np.ndarray` of shape `(num_columns, 3)`): Per column: y of the right dome, of the left dome, of the
            skin above the shoulders.
    """

    rows: np.ndarray
    columns: np.ndarray


def trace_outline(geometry: Geometry, x_cm: np.ndarray, y_cm: np.ndarray) -> Outline:
    """
    Evaluate the curves on a grid of rows and columns.

    Args:
        geometry (`Geometry`): The patient.
        x_cm (`np.ndarray` of shape `(num_columns,)`): Columns.
        y_cm (`np.ndarray` of shape `(num_rows,)`): Rows.

    Returns:
        `Outline`: Curves in cm.
    """
    rows = np.empty((len(y_cm), 9))
    rows[:, MID] = midline(geometry, y_cm)
    rows[:, LATERAL] = rows[:, LATERAL + 1] = chest_wall(geometry, y_cm)
    rows[:, MEDIAL : MEDIAL + 2] = _medial_edges(geometry, y_cm)
    rows[:, LUNG_DEPTH] = _lung_depth(geometry, y_cm)
    rows[:, BODY_DEPTH] = _body_depth(geometry, y_cm)
    rows[:, BODY_EDGE] = rows[:, BODY_EDGE + 1] = _body_edge(geometry, y_cm)

    columns = np.empty((len(x_cm), 3))
    base = float(midline(geometry, geometry.lung_height_cm))
    columns[:, DOME] = dome_height(geometry, "right", np.abs(x_cm - base))
    columns[:, DOME + 1] = dome_height(geometry, "left", np.abs(x_cm - base))
    columns[:, SKIN] = _shoulder_line(geometry, x_cm)
    return Outline(rows, columns)


def midline(geometry: Geometry, y_cm: np.ndarray | float) -> np.ndarray:
    """x of the spine's axis at the heights `y_cm`; a single curve, or an S when it is large (scoliosis)."""
    phase = y_cm / geometry.lung_height_cm
    back = 0.55 * geometry.body_thickness_cm * 0.5
    return geometry.spine_curvature_cm * np.sin(np.pi * (1.15 * phase - 0.05)) + back * np.sin(geometry.rotation)


def costophrenic_height(geometry: Geometry) -> float:
    """y at which an average dome meets the lateral chest wall."""
    return geometry.lung_height_cm + _sag(geometry)


def chest_wall(geometry: Geometry, y_cm: np.ndarray) -> np.ndarray:
    """Distance of the inner chest wall from the midline at `y_cm`; `APEX_SHARE` of the half width at the apex."""
    share = clamp(np.asarray(y_cm, dtype=np.float64) / costophrenic_height(geometry), 0, 1.15)
    rise = 1 - clamp(1 - share / 0.85, 0, 1) ** 1.9
    wide = APEX_SHARE + (1 - APEX_SHARE) * np.sqrt(rise)
    return geometry.half_width_cm * (wide - 0.10 * clamp(share - 0.85, 0, 1))


def dome_height(geometry: Geometry, side: str, distance: np.ndarray) -> np.ndarray:
    """y of a hemidiaphragm at a distance from the midline."""
    width, sag = geometry.half_width_cm, _sag(geometry)
    raised = geometry.right_dome_cm if side == "right" else geometry.left_dome_cm
    top = geometry.lung_height_cm - raised + 1.2 * geometry.dome_flattening
    offset = np.asarray(distance) / width - 0.46
    outwards = clamp(offset / 0.54, 0, 1.2) ** 2.2
    inwards = clamp(-offset / 0.46, 0, 1) ** 2
    return top + (sag + 0.6 * max(raised, 0)) * outwards + (0.45 * sag + 0.3 * max(raised, 0)) * inwards


def _sag(geometry: Geometry) -> float:
    return geometry.dome_sag_cm * (1 - 0.75 * geometry.dome_flattening)


def upper_half_widths(geometry: Geometry) -> tuple[float, float]:
    """Right and left half width of the upper mediastinum, from the midline, with its shift."""
    shift = mediastinal_shift(geometry)
    half = 0.5 * geometry.mediastinal_width_cm + geometry.thymus_cm
    return 0.97 * half - 0.7 * shift, 1.03 * half + 0.7 * shift


def mediastinal_shift(geometry: Geometry) -> float:
    """How far rotation and disease move the anterior mediastinum to the patient's left of the spine, in cm."""
    lever = 0.75 * geometry.body_thickness_cm * 0.5
    return geometry.mediastinal_shift_cm - lever * float(np.sin(geometry.rotation))


def _medial_edges(geometry: Geometry, y_cm: np.ndarray) -> np.ndarray:
    width, height = geometry.half_width_cm, geometry.lung_height_cm
    spine = (0.125 + (0.02 if geometry.view == "AP" else 0)) * width
    upper = 1 / (1 + np.exp((y_cm - 0.40 * height) / (0.035 * height)))
    start = clamp(y_cm / (0.13 * height), 0, 1)
    apex = 1 - np.sqrt(1 - (1 - start) ** 2)
    edges = np.empty((len(y_cm), 2))
    for index, half in enumerate(upper_half_widths(geometry)):
        edge = spine + (max(half, 0.6 * spine) - spine) * upper
        edges[:, index] = edge + (APEX_SHARE * width - edge) * apex
    return edges


def _lung_depth(geometry: Geometry, y_cm: np.ndarray) -> np.ndarray:
    share = clamp(y_cm / geometry.lung_height_cm, 0, 1)
    full = geometry.lung_depth * geometry.body_thickness_cm * min(1.0, 26 / geometry.body_thickness_cm) ** 0.6
    return full * np.sqrt(clamp(1.15 * share + 0.05, 0, 1) * clamp(1.9 - 0.9 * share, 0, 1)) * (share > 0)


def _body_depth(geometry: Geometry, y_cm: np.ndarray) -> np.ndarray:
    height = geometry.lung_height_cm
    chest = clamp((y_cm + 0.1 * height) / (0.55 * height), 0, 1)
    belly = clamp((y_cm - 0.75 * height) / (0.45 * height), 0, 1)
    belly = belly * belly * (3 - 2 * belly)
    return geometry.body_thickness_cm * (0.80 + 0.20 * chest * (2 - chest)) * (1 + (geometry.abdomen_gain - 1) * belly)


def _body_edge(geometry: Geometry, y_cm: np.ndarray) -> np.ndarray:
    height, width = geometry.lung_height_cm, geometry.half_width_cm
    flank = chest_wall(geometry, np.maximum(y_cm, 0.3 * height)) + geometry.wall_cm
    flank = flank + 0.25 * width * (geometry.abdomen_gain - 1.05) * clamp((y_cm / height - 0.8) / 0.5, 0, 1)
    axilla = clamp((0.40 * height - y_cm) / (0.34 * height), 0, 1)
    shoulder = 1.16 * width + 0.5 * geometry.wall_cm
    return flank + np.maximum(shoulder - flank, 0) * axilla * axilla * (3 - 2 * axilla)


def _shoulder_line(geometry: Geometry, x_cm: np.ndarray) -> np.ndarray:
    width = geometry.half_width_cm
    size = width / 13.8
    neck = (5.2 + 0.12 * max(geometry.body_mass_index - 25, 0)) * size**0.8
    acromion = (-1.2 if geometry.view == "AP" else 0.8) * size
    share = (np.abs(x_cm) - neck) / (1.30 * width - neck)
    slope = -6.5 * size * clamp(1 - share, 0, 1) ** 2.2 + 7.0 * size * clamp(share - 0.8, 0, 2) ** 2
    return acromion + slope - 60 * size * clamp(-share, 0, 2)


def clamp(values: np.ndarray | float, low: float, high: float) -> np.ndarray:
    """`np.clip` for short arrays, at a fifth of its cost."""
    return np.minimum(np.maximum(values, low), high)
