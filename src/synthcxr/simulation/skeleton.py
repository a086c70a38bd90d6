"""Ribs, clavicles, scapulae, humeri, spine and sternum as curves in three dimensions."""

from __future__ import annotations

import math

import numpy as np

from .scene import SIDES, Bone, Geometry
from .thorax import chest_wall, clamp, costophrenic_height, midline


NUM_RIBS = 11
RIB_POINTS = 30
LATERAL_POINT = 17  # vertices before it are the posterior arc
BACK, FRONT = slice(0, LATERAL_POINT + 1), slice(LATERAL_POINT, RIB_POINTS - 1)
RIB_MARROW = 0.86  # ribs are thin shells: their rims show as lines
NUM_ANTERIOR = 8  # lower ribs end in cartilage before they come round to the front

_RIB_ANGLE = np.radians(np.linspace(1, 152, RIB_POINTS))
_TURN = np.degrees(_RIB_ANGLE) / 90  # 1 at the side of the chest
_RIB_INDEX = np.arange(NUM_RIBS)[:, None]
# Up a little at the neck of the rib, then down to the side and on, steeper, to the front; lower ribs are steeper.
_TO_SIDE = clamp(0.42 + 0.10 * _RIB_INDEX, 0, 1.2) * (
    np.minimum(_TURN, 1) ** 1.7 - 0.10 * np.sin(np.pi * np.minimum(_TURN * 1.6, 1))
)
_TO_FRONT = clamp(0.35 + 0.12 * _RIB_INDEX, 0, 1.2) * clamp(_TURN - 1, 0, 1)
_ACROSS = np.sin(_RIB_ANGLE) ** 0.82
# Lower ribs are thin; heads are small and high, and the spine hides them.
_RIB_GAINS = np.tile([0.65, 0.9, 1, 1, 1, 1, 1, 1, 0.9, 0.7, 0.45], 2)[:, None] * np.array(
    [0.35, 0.5, 0.75, 0.9] + [1.0] * (RIB_POINTS - 4)
)
_HEAD_WIDTHS = np.array([1.25, 1.1, 1.02] + [1.0] * (RIB_POINTS - 3))
_FADE = np.interp(np.arange(RIB_POINTS), [LATERAL_POINT, RIB_POINTS - 2], [0.80, 0.40])
_SHARE = np.linspace(0, 1, 22)
_SHARE_WAVE, _SHARE_FALL = np.sin(2 * np.pi * _SHARE * 0.95), _SHARE**0.8
_COLLAR_RADIUS = 0.60 + 0.25 * np.exp(-_SHARE / 0.06) + 0.30 * clamp(_SHARE - 0.8, 0, 1)
_COLLAR_GAIN = 1.15 * (1 - 0.35 * clamp(_SHARE - 0.75, 0, 1) / 0.25)
_ARC_SHARE = np.linspace(0, 1, 9)[:, None]
_ARC_WEIGHTS = (1 - _ARC_SHARE) ** 2, 2 * _ARC_SHARE * (1 - _ARC_SHARE), _ARC_SHARE**2
# Lateral, medial and upper border, spine and glenoid of a scapula: radius, bone and marrow.
_SCAPULA_BORDERS = ((0.42, 0.50, 0.5), (0.20, 0.22, 0.3), (0.22, 0.20, 0.3), (0.55, 0.45, 0.6), (0.55, 0.60, 0.5))


def trace_ribs(geometry: Geometry, rng: np.random.Generator) -> dict[tuple[str, int], np.ndarray]:
    """
    Centre lines of all ribs.

    Args:
        geometry (`Geometry`): The patient.
        rng (`np.random.Generator`): Stream of the skeleton.

    Returns:
        `dict[tuple[str, int], np.ndarray]`: (side, index from 1) to `(RIB_POINTS, 3)`: x, y and depth in cm (positive
        to the front), from the spine round the side to the front.
    """
    normal, uniform = rng.standard_normal((2, NUM_RIBS)), rng.random(4)
    height = geometry.lung_height_cm
    pitch = (0.090 + 0.016 * uniform[0]) * height
    drop = (0.15 + 0.11 * uniform[1]) * height  # from the spine down to the side
    start = -0.035 * height + pitch * (_RIB_INDEX + 0.06 * normal[..., None])
    y = start + (drop * _TO_SIDE + drop * (1.05 + 0.3 * uniform[2]) * _TO_FRONT)
    wall = chest_wall(geometry, np.maximum(y, 0.25 * pitch)) + 0.25
    lower = np.maximum(y - costophrenic_height(geometry), 0)
    wall[:, 0] *= 0.74  # the first rib is a small ring inside the others
    spine = 0.7 * geometry.half_width_cm / 13.8
    x = spine + (wall - 0.05 * lower - spine) * _ACROSS
    x[..., _TURN > 1] = (wall * (0.36 + 0.64 * _ACROSS**0.9))[..., _TURN > 1]
    points = np.empty((*y.shape, 3))
    points[..., 0], points[..., 1] = x, y
    points[..., 2] = -0.40 * geometry.body_thickness_cm * np.cos(_RIB_ANGLE)
    points[0, ..., 0] *= -1
    turned = turn_about_axis(points, geometry)
    return {(side, k + 1): turned[s, k] for s, side in enumerate(SIDES) for k in range(NUM_RIBS)}


def turn_about_axis(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Turn points `(..., 3)` by the patient's rotation and add the curve of the spine."""
    cos, sin = math.cos(geometry.rotation), math.sin(geometry.rotation)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    turned = np.empty_like(points)
    turned[..., 0] = x * cos - z * sin + (midline(geometry, y) - 0.275 * geometry.body_thickness_cm * sin)
    turned[..., 1] = y
    turned[..., 2] = x * sin + z * cos
    return turned


def rib_radius(geometry: Geometry) -> float:
    """Half the height of a rib in cm."""
    return 0.64 * (geometry.half_width_cm / 13.8) ** 0.9


def rib_tubes(geometry: Geometry, ribs: dict[tuple[str, int], np.ndarray]) -> tuple[np.ndarray, ...]:
    """
    Shape of all ribs as tubes.

    Args:
        geometry (`Geometry`): The patient.
        ribs (`dict[tuple[str, int], np.ndarray]`): What `trace_ribs` gives.

    Returns:
        `tuple[np.ndarray, ...]`: Points `(num_ribs, RIB_POINTS, 2)`, half widths and gains `(num_ribs, RIB_POINTS)`
        of the posterior arcs, which end at the side; half widths and gains of the fainter anterior ones.
    """
    lines = np.array(list(ribs.values()))
    step = np.empty_like(lines)
    step[:, 1:-1] = 0.5 * (lines[:, 2:] - lines[:, :-2])
    step[:, 0], step[:, -1] = lines[:, 1] - lines[:, 0], lines[:, -1] - lines[:, -2]
    step *= step
    flat = step[..., 0] + step[..., 1] + 1e-12
    # A ray along a rib at the side of the chest meets more of it; the cap avoids beads there.
    oblique = np.minimum(np.sqrt(1 + step[..., 2] / flat), 1.3)
    # Seen from its edge a rib is thinner than it is high.
    widths = rib_radius(geometry) * (1 - 0.42 * step[..., 1] / flat) * _HEAD_WIDTHS
    gain = 0.92 * geometry.bone_gain * (geometry.half_width_cm / 13.8) ** 0.5
    gains = gain * oblique * _RIB_GAINS
    return lines[..., :2], widths, gains, 1.05 * widths, gains * _FADE


def rib_bones(geometry: Geometry, ribs: dict[tuple[str, int], np.ndarray]) -> dict[str, list[Bone]]:
    """Region of every rib to its posterior arc and, in the upper ribs, its anterior one."""
    points, widths, gains, front_widths, front_gains = rib_tubes(geometry, ribs)
    bones = {}
    for row, (side, index) in enumerate(ribs):
        arcs = bones[f"{side}_rib_{index}"] = [
            Bone(points[row, BACK], widths[row, BACK], gains[row, BACK], RIB_MARROW)
        ]
        if index <= NUM_ANTERIOR:
            arcs.append(Bone(points[row, FRONT], front_widths[row, FRONT], front_gains[row, FRONT], RIB_MARROW))
    return bones


def clavicle(geometry: Geometry, side: str, rng: np.random.Generator) -> Bone:
    """The S-shaped collar bone; higher and flatter in an AP view."""
    normal = rng.standard_normal(3)
    width, height, size = geometry.half_width_cm, geometry.lung_height_cm, geometry.half_width_cm / 13.8
    raised = 0.035 * height if geometry.view == "AP" else 0.0
    medial = (1.9 * size, 0.085 * height - 0.6 * raised + 0.3 * normal[0])
    end = (1.14 * width, (-0.045 * height) - 1.2 * raised + 0.7 * normal[1] * size)
    sign = -1.0 if side == "right" else 1.0
    line = np.empty((len(_SHARE), 3))
    line[:, 0] = sign * (medial[0] + (end[0] - medial[0]) * _SHARE)
    line[:, 1] = medial[1] + (end[1] - medial[1]) * _SHARE_FALL + 0.9 * (0.55 + 0.1 * normal[2]) * size * _SHARE_WAVE
    line[:, 2] = 0.42 * geometry.body_thickness_cm * (1 - _SHARE)
    points = turn_about_axis(line, geometry)[:, :2]
    return Bone(points, size * _COLLAR_RADIUS, geometry.bone_gain * size**0.6 * _COLLAR_GAIN, 0.70, round_ends=True)


def scapula(geometry: Geometry, side: str, rng: np.random.Generator) -> tuple[np.ndarray, list[Bone]]:
    """The shoulder blade: corners of its plate `(num_corners, 2)`, and its thick borders, spine and glenoid."""
    normal = rng.standard_normal(4)
    width, height, size = geometry.half_width_cm, geometry.lung_height_cm, geometry.half_width_cm / 13.8
    sign = -1.0 if side == "right" else 1.0
    raised = 1.8 * size if geometry.view == "AP" else 0.4
    inner = width - geometry.scapula_cm
    corners = np.array(
        [
            [inner - 0.8 * size, 0.02 * height - raised],  # superior angle
            [inner - 1.2 * size, 0.16 * height - raised],
            [inner + (0.2 + 0.5 * normal[0]) * size, 0.50 * height - raised + 0.6 * normal[1]],  # inferior angle
            [inner + 2.2 * size, 0.40 * height - raised],
            [inner + 4.3 * size, 0.15 * height - raised],  # below the glenoid
            [inner + 4.9 * size, 0.02 * height - raised],
            [inner + 3.0 * size, -0.01 * height - raised],
        ]
    )
    corners[:, 0] *= sign
    axis = float(midline(geometry, 0.2 * height))
    corners[:, 0] += axis
    mineral = geometry.bone_gain
    tip = np.array([axis + sign * (inner + 6.2 * size), -0.07 * height - raised])
    ridge = np.array([axis + sign * (inner + 2.6 * size), -0.035 * height - raised])
    socket = corners[4] + [sign * 0.5 * size, -0.05 * height]
    arcs = _arcs(
        np.array(
            [
                [corners[2], corners[3], corners[4]],
                [corners[0], corners[1], corners[2]],
                [corners[0], corners[6], corners[5]],
                [corners[1], ridge, tip],
                [corners[4], socket, corners[5]],
            ]
        )
    )
    ones = np.ones(9)
    borders = [
        Bone(arc, radius * size * ones, gain * mineral * ones, hollow)
        for arc, (radius, gain, hollow) in zip(arcs, _SCAPULA_BORDERS, strict=True)
    ]
    return corners, borders


def humerus(geometry: Geometry, side: str, rng: np.random.Generator) -> list[Bone]:
    """Head and shaft of the upper arm bone."""
    normal = rng.standard_normal(2)
    width, height, size = geometry.half_width_cm, geometry.lung_height_cm, geometry.half_width_cm / 13.8
    sign = -1.0 if side == "right" else 1.0
    raised = 1.6 * size if geometry.view == "AP" else 0.2
    inner = width - geometry.scapula_cm
    head = np.array([sign * (inner + 7.3 * size), 0.08 * height - raised])
    elbow = head + [sign * (3.5 + 1.5 * normal[0]) * size, 26 * size]
    if geometry.age < 2:
        head = head + [0, 1.0]
    shaft = head + _ARC_SHARE[:6] * (8 / 5) * (elbow - head)
    mineral = geometry.bone_gain
    ball = np.array([head, head + [0.01, 0.01]])
    return [
        Bone(shaft, np.full(6, 1.15 * size), np.full(6, 1.5 * mineral), 0.78),
        Bone(ball, np.full(2, 2.3 * size), np.full(2, 1.5 * mineral), 0.72, round_ends=True),
    ]


def vertebrae(geometry: Geometry, y_cm: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Per row: x of the axis, half width of a vertebral body, and number of the vertebra with its fraction."""
    uniform = rng.random(2)
    size = geometry.half_width_cm / 13.8
    share = y_cm / geometry.lung_height_cm
    half_width = (1.45 + 0.30 * clamp(share, -0.3, 1.4)) * size**0.8
    first = 1.75 * size**0.9 * (0.95 + 0.1 * uniform[0])
    # Vertebrae grow downwards: the pitch is `first * exp(growth * y)`, the number its integral of 1 / pitch.
    growth = 0.016 / size
    number = (1 - np.exp(-growth * y_cm)) / (growth * first) + uniform[1]
    return midline(geometry, y_cm), half_width, number


def _arcs(points: np.ndarray) -> np.ndarray:
    """Curves `(num_curves, 9, 2)` through three points each `(num_curves, 3, 2)`."""
    start, middle, end = points[:, None, 0], points[:, None, 1], points[:, None, 2]
    control = 2 * middle - 0.5 * (start + end)
    return _ARC_WEIGHTS[0] * start + _ARC_WEIGHTS[1] * control + _ARC_WEIGHTS[2] * end
