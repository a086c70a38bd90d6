"""The outline of body, lungs and domes as curves over the rows and columns of the detector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from .scene import Geometry


APEX_SHARE = 0.40  # the apex lies this share of the half width from the midline
COLLAPSE_REACH = 0.72  # a fully collapsed lung keeps 28 % of its size


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


class Torso(NamedTuple):
    """
    What the compiled curves need to know of a `Geometry`; lengths in cm.

    Args:
        half_width, height, recess (`float`): Of the lungs: inner half width, apex to dome, reach behind the dome.
        full_height (`float`): y at which an average dome meets the lateral chest wall.
        curvature, spine (`float`): Largest bend of the spine, and x that rotation gives to its axis.
        right_dome, left_dome (`tuple`): Half width, y of the top, fall towards the wall and towards the heart.
        medial (`float`): Medial edge of the lower lung.
        right_upper, left_upper (`float`): Half widths of the upper mediastinum.
        lung_depth, body_depth, belly (`float`): Deepest lung, thickness of the body, its extra share at the abdomen.
        wall, flank, shoulder (`float`): Soft parts at the side, extra width of the abdomen, width of the shoulders.
        neck, acromion (`float`): Half width of the neck, y of the shoulders' ends.
    """

    half_width: float
    height: float
    recess: float
    full_height: float
    curvature: float
    spine: float
    right_dome: tuple[float, float, float, float]
    left_dome: tuple[float, float, float, float]
    medial: float
    right_upper: float
    left_upper: float
    lung_depth: float
    body_depth: float
    belly: float
    wall: float
    flank: float
    shoulder: float
    neck: float
    acromion: float


def measure_torso(geometry: Geometry) -> Torso:
    """Collect the numbers that the compiled curves read."""
    width, height, thickness = geometry.half_width_cm, geometry.lung_height_cm, geometry.body_thickness_cm
    size, anterior = width / 13.8, geometry.view == "AP"
    right_upper, left_upper = upper_half_widths(geometry)
    lungs = (
        width,
        height,
        geometry.recess_cm,
        costophrenic_height(geometry),
        geometry.spine_curvature_cm,
        _spine_offset(geometry),
    )
    body = (
        (0.125 + (0.02 if anterior else 0)) * width,
        right_upper,
        left_upper,
        geometry.lung_depth * thickness * min(1.0, 26 / thickness) ** 0.6,
        thickness,
        geometry.abdomen_gain - 1,
        geometry.wall_cm,
        0.25 * width * (geometry.abdomen_gain - 1.05),
        1.16 * width + 0.5 * geometry.wall_cm,
        (5.2 + 0.12 * max(geometry.body_mass_index - 25, 0)) * size**0.8,
        (-1.2 if anterior else 0.8) * size,
    )
    domes = _dome_numbers(geometry, "right"), _dome_numbers(geometry, "left")
    return Torso(*map(float, lungs), *domes, *map(float, body))


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
    torso = measure_torso(geometry)
    rows, columns = np.empty((len(y_cm), 9)), np.empty((len(x_cm), 3))
    _trace_rows(torso, y_cm, rows)
    _trace_columns(torso, x_cm, columns)
    return Outline(rows, columns)


def midline(geometry: Geometry, y_cm: np.ndarray | float) -> np.ndarray | float:
    """x of the spine's axis at the heights `y_cm`; a single curve, or an S when it is large (scoliosis)."""
    sine = np.sin if isinstance(y_cm, np.ndarray) else math.sin
    bend = sine(math.pi * (1.15 * y_cm / geometry.lung_height_cm - 0.05))
    return geometry.spine_curvature_cm * bend + _spine_offset(geometry)


def costophrenic_height(geometry: Geometry) -> float:
    """y at which an average dome meets the lateral chest wall."""
    return geometry.lung_height_cm + _sag(geometry)


def chest_wall(geometry: Geometry, y_cm: np.ndarray) -> np.ndarray:
    """Distance of the inner chest wall from the midline at `y_cm`; `APEX_SHARE` of the half width at the apex."""
    out = np.empty(y_cm.shape)
    _chest_walls(geometry.half_width_cm, costophrenic_height(geometry), y_cm.ravel(), out.reshape(-1))
    return out


def dome_height(geometry: Geometry, side: str, distance: np.ndarray | float) -> np.ndarray | float:
    """y of a hemidiaphragm at a distance, or distances `(num_places,)`, from the midline."""
    numbers = _dome_numbers(geometry, side)
    if not isinstance(distance, np.ndarray):
        return _dome(numbers, distance)
    out = np.empty(distance.shape)
    _domes(numbers, distance, out)
    return out


def place_in_lung(geometry: Geometry, side: str, points: np.ndarray) -> np.ndarray:
    """
    Fit points of a standard lung to a patient's.

    Args:
        geometry (`Geometry`): The patient.
        side (`str`): Which lung.
        points (`np.ndarray` of shape `(num_points, 3)`): Shares of the way from the midline to the wall, from the apex
            to the recess, and from the back (-1) to the front (1).

    Returns:
        `np.ndarray` of shape `(num_points, 3)`: x of the midline, distance from it, y; all in cm.
    """
    out = np.empty_like(points)
    torso = measure_torso(geometry)
    _place_in_lung(torso, torso.right_dome if side == "right" else torso.left_dome, points, out)
    return out


def upper_half_widths(geometry: Geometry) -> tuple[float, float]:
    """Right and left half width of the upper mediastinum, from the midline, with its shift."""
    shift = mediastinal_shift(geometry)
    half = 0.5 * geometry.mediastinal_width_cm + geometry.thymus_cm
    return 0.97 * half - 0.7 * shift, 1.03 * half + 0.7 * shift


def mediastinal_shift(geometry: Geometry) -> float:
    """How far rotation and disease move the anterior mediastinum to the patient's left of the spine, in cm."""
    return geometry.mediastinal_shift_cm - 0.75 * geometry.body_thickness_cm * 0.5 * math.sin(geometry.rotation)


def clamp(values: np.ndarray | float, low: float, high: float) -> np.ndarray:
    """`np.clip` for short arrays, at a fifth of its cost."""
    return np.minimum(np.maximum(values, low), high)


def _sag(geometry: Geometry) -> float:
    return geometry.dome_sag_cm * (1 - 0.75 * geometry.dome_flattening)


def _dome_numbers(geometry: Geometry, side: str) -> tuple[float, float, float, float]:
    raised = float(geometry.right_dome_cm if side == "right" else geometry.left_dome_cm)
    sag, lift = float(_sag(geometry)), max(raised, 0.0)
    top = geometry.lung_height_cm - raised + 1.2 * geometry.dome_flattening
    return float(geometry.half_width_cm), float(top), sag + 0.6 * lift, 0.45 * sag + 0.3 * lift


def _spine_offset(geometry: Geometry) -> float:
    return 0.55 * geometry.body_thickness_cm * 0.5 * math.sin(geometry.rotation)


@njit(cache=True)
def _trace_rows(torso: Torso, y_cm: np.ndarray, rows: np.ndarray) -> None:
    width, height = torso.half_width, torso.height
    for i in range(y_cm.size):
        y = y_cm[i]
        share = y / height
        rows[i, 0] = _axis(torso, y)
        rows[i, 1] = rows[i, 2] = _wall(width, torso.full_height, y)

        start = _unit(share / 0.13)
        apex = 1 - np.sqrt(1 - (1 - start) ** 2)
        upper = 1 / (1 + np.exp((share - 0.40) / 0.035))
        for side, half in enumerate((torso.right_upper, torso.left_upper)):
            edge = torso.medial + (max(half, 0.6 * torso.medial) - torso.medial) * upper
            rows[i, 3 + side] = edge + (APEX_SHARE * width - edge) * apex

        down = _unit(share)
        profile = np.sqrt(_unit(1.15 * down + 0.05) * _unit(1.9 - 0.9 * down))
        rows[i, 5] = torso.lung_depth * profile if down > 0 else 0.0
        chest, belly = _unit((share + 0.1) / 0.55), _smooth((share - 0.75) / 0.45)
        rows[i, 6] = torso.body_depth * (0.80 + 0.20 * chest * (2 - chest)) * (1 + torso.belly * belly)

        flank = _wall(width, torso.full_height, max(y, 0.3 * height)) + torso.wall
        flank += torso.flank * _unit((share - 0.8) / 0.5)
        axilla = _smooth((0.40 - share) / 0.34)
        rows[i, 7] = rows[i, 8] = flank + max(torso.shoulder - flank, 0.0) * axilla


@njit(cache=True)
def _trace_columns(torso: Torso, x_cm: np.ndarray, columns: np.ndarray) -> None:
    size, base = torso.half_width / 13.8, _axis(torso, torso.height)
    for j in range(x_cm.size):
        columns[j, 0] = _dome(torso.right_dome, abs(x_cm[j] - base))
        columns[j, 1] = _dome(torso.left_dome, abs(x_cm[j] - base))
        share = (abs(x_cm[j]) - torso.neck) / (1.30 * torso.half_width - torso.neck)
        slope = -6.5 * size * _unit(1 - share) ** 2.2 + 7.0 * size * min(max(share - 0.8, 0.0), 2.0) ** 2
        columns[j, 2] = torso.acromion + slope - 60 * size * min(max(-share, 0.0), 2.0)


@njit(cache=True)
def _place_in_lung(torso: Torso, dome: tuple[float, float, float, float], points: np.ndarray, out: np.ndarray) -> None:
    # Powers are slow and points many: the curves are read off tables of their values.
    long, wide = torso.full_height + 0.3 * torso.recess, 1.1 * torso.half_width
    steps = 512
    walls, axes, domes = np.empty(steps + 2), np.empty(steps + 2), np.empty(steps + 2)
    for k in range(steps + 2):
        walls[k] = _wall(torso.half_width, torso.full_height, k * long / steps)
        axes[k] = _axis(torso, k * long / steps)
        domes[k] = _dome(dome, k * wide / steps)
    for k in range(len(points)):
        y = points[k, 1] * long
        distance = max(points[k, 0], 0.0) * _read(walls, points[k, 1] * steps)
        floor = _read(domes, distance / wide * steps) + 0.12 * torso.recess * (1 + points[k, 2])
        # Not a hard floor: what comes near the dome bends before it and does not pile up on it.
        if y > floor - 1:
            y = floor - 1 / max(1 + y - (floor - 1), 1.0)
        out[k, 0], out[k, 1], out[k, 2] = _read(axes, y / long * steps), distance, y


@njit(cache=True)
def _read(table: np.ndarray, place: float) -> float:
    place = min(max(place, 0.0), len(table) - 2.0)
    k = int(place)
    return table[k] + (table[k + 1] - table[k]) * (place - k)


@njit(cache=True)
def _chest_walls(half_width: float, full_height: float, y_cm: np.ndarray, out: np.ndarray) -> None:
    for k in range(y_cm.size):
        out[k] = _wall(half_width, full_height, y_cm[k])


@njit(cache=True)
def _domes(numbers: tuple[float, float, float, float], distance: np.ndarray, out: np.ndarray) -> None:
    for k in range(distance.size):
        out[k] = _dome(numbers, distance[k])


@njit(cache=True)
def _axis(torso: Torso, y: float) -> float:
    return torso.curvature * np.sin(np.pi * (1.15 * y / torso.height - 0.05)) + torso.spine


@njit(cache=True)
def _wall(half_width: float, full_height: float, y: float) -> float:
    share = min(max(y / full_height, 0.0), 1.15)
    rise = 1 - _unit(1 - share / 0.85) ** 1.9
    return half_width * (APEX_SHARE + (1 - APEX_SHARE) * np.sqrt(rise) - 0.10 * _unit(share - 0.85))


@njit(cache=True)
def _dome(numbers: tuple[float, float, float, float], distance: float) -> float:
    half_width, top, fall_out, fall_in = numbers
    offset = distance / half_width - 0.46
    return top + fall_out * min(max(offset / 0.54, 0.0), 1.2) ** 2.2 + fall_in * _unit(-offset / 0.46) ** 2


@njit(cache=True)
def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@njit(cache=True)
def _smooth(value: float) -> float:
    share = _unit(value)
    return share * share * (3 - 2 * share)
