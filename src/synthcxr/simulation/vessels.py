"""Lung vessels: trees that share out the lung among their leaves and taper by the number that each branch feeds."""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import project_ellipsoids, project_tubes
from .scene import SIDES, Geometry
from .thorax import COLLAPSE_REACH, mediastinal_shift, midline, place_in_lung


NUM_LEAVES = (180, 100)  # of the arteries and of the veins of a lung
LEAF_RADIUS_CM = 0.100
SHEATH = 2.3  # bronchus and connective tissue run along with every vessel
RADIUS_EXPONENT = 1 / 2.9  # Murray's law says 1/3; large arteries of the lung widen a little faster

# Trees grow in a lung of standard size, so that no deformation changes how they branch, and are then fitted.
_UNIT_CM = np.array([13.8, 25.0, 8.0])
# Arteries fan out from the hilum; veins of the lower lung run flatter, towards the left atrium below it.
_ROOTS = np.array([[3.4, 0.385 * 22.4, -1.0], [1.9, 0.46 * 22.4, -1.0]])
_LATTICE = np.array([0.8191725134, 0.6710436067, 0.5497004779])


def hilum(geometry: Geometry, side: str) -> tuple[float, float]:
    """Where the vessels of one lung begin: `(x, y)` in cm; the left hilum is a little higher."""
    height, size = geometry.lung_height_cm, geometry.half_width_cm / 13.8
    y = (0.395 if side == "right" else 0.365) * height
    sign = -1 if side == "right" else 1
    x = sign * 3.5 * size + 0.8 * mediastinal_shift(geometry) + 0.5 * float(midline(geometry, y))
    return float(x), float(y)


def project_vessels(
    geometry: Geometry, rng: np.random.Generator, x_cm: np.ndarray, y_cm: np.ndarray
) -> dict[str, np.ndarray]:
    """
    Path length through the arteries and veins of both lungs.

    Args:
        geometry (`Geometry`): The patient; `vessel_gain_*` and `hilum_gain` scale the calibres.
        rng (`np.random.Generator`): Stream of the vessels; it makes the same draws whatever the geometry.
        x_cm, y_cm (`np.ndarray`): Columns and rows in cm.

    Returns:
        `dict[str, np.ndarray]`: Side to cm of blood on every ray, `(height, width)` float32.
    """
    maps = {}
    x0, y0, pixel = float(x_cm[0]), float(y_cm[0]), float(x_cm[1] - x_cm[0])
    for side in SIDES:
        points, radii, breaks = _fitted_tree(geometry, side, rng)
        out = np.zeros((len(y_cm), len(x_cm)), np.float32)
        project_tubes(out, x0, y0, pixel, points, radii, SHEATH * 2 * radii, breaks, np.zeros_like(radii), 0.8)
        maps[side] = np.maximum(out, _hilar_tissue(geometry, side, rng, x_cm, y_cm), out=out)
    return maps


def _fitted_tree(geometry: Geometry, side: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points `(n, 2)`, radii and breaks `(n,)` of all vessels of one lung."""
    trees = [_standard_tree(root, leaves, rng) for root, leaves in zip(_ROOTS, NUM_LEAVES, strict=True)]
    points, radii, breaks = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    points /= _UNIT_CM
    places = place_in_lung(geometry, side, points)
    hx, hy = hilum(geometry, side)
    sign, size = -1.0 if side == "right" else 1.0, geometry.half_width_cm / 13.8
    offset = hx - sign * 3.4 * size - midline(geometry, hy)
    scale = 1 - COLLAPSE_REACH * getattr(geometry, f"collapse_{side}")
    gains = geometry.vessel_gain_upper * size, geometry.vessel_gain_lower * size, geometry.hilum_gain
    fitted = np.empty((len(points), 2))
    _fit_tree(points, places, sign, (hx, hy), offset, float(scale), geometry.lung_height_cm, gains, fitted, radii)
    return fitted, radii, breaks


def _standard_tree(
    root: np.ndarray, leaves: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points `(n, 3)`, radii and breaks `(n,)` of one tree in the lung of standard size."""
    targets = _spread_leaves(rng.random(3), leaves)
    jitter = rng.standard_normal((2 * leaves, 4))
    return grow_tree(root, targets, jitter, LEAF_RADIUS_CM, RADIUS_EXPONENT)


def _hilar_tissue(
    geometry: Geometry, side: str, rng: np.random.Generator, x_cm: np.ndarray, y_cm: np.ndarray
) -> np.ndarray:
    """Main artery and lymph nodes: a few soft lumps at the hilum and, below it, along the lower lobe's artery."""
    normal = rng.standard_normal((3, 4))
    x, y = hilum(geometry, side)
    size = geometry.half_width_cm / 13.8
    sign = -1 if side == "right" else 1
    places = ((-0.3, -0.7, 0.9, 1.3), (0.4, 1.4, 0.85, 2.0), (-0.6, 0.6, 1.1, 1.6))
    lumps = [
        [
            x + sign * (dx + 0.3 * draw[0]) * size,
            y + (dy + 0.4 * draw[1]) * size,
            wide * size * geometry.hilum_gain,
            high * size * geometry.hilum_gain * (1 + 0.15 * draw[2]),
            -0.25 * sign,
            (1.5 + 0.3 * draw[3]) * size * geometry.hilum_gain,
        ]
        for (dx, dy, wide, high), draw in zip(places, normal, strict=True)
    ]
    squares = np.full((len(y_cm), len(x_cm)), -1e6, np.float32)
    project_ellipsoids(x_cm, y_cm, np.array(lumps), 0.3, squares)
    # The power makes the rim soft: lumps lie in fat and among small vessels.
    return np.maximum(squares, 0) * np.float32(0.8 / size)


@njit(cache=True)
def _spread_leaves(shift: np.ndarray, leaves: int) -> np.ndarray:
    """Leaves `(leaves, 3)` all over the standard lung: a rank-one lattice with a random shift."""
    targets = np.empty((leaves, 3))
    for k in range(leaves):
        place = (k * _LATTICE + shift) % 1.0
        targets[k, 0] = (0.14 + 0.84 * place[1] ** 0.75) * _UNIT_CM[0]
        targets[k, 1] = (0.02 + 0.98 * place[0] ** 0.9) * _UNIT_CM[1]
        targets[k, 2] = (2 * place[2] - 1) * _UNIT_CM[2]
    return targets


@njit(cache=True)
def _fit_tree(
    points: np.ndarray,
    places: np.ndarray,
    sign: float,
    hilum_cm: tuple[float, float],
    offset: float,
    scale: float,
    height: float,
    gains: tuple[float, float, float],
    fitted: np.ndarray,
    radii: np.ndarray,
) -> None:
    """Begin the tree at the patient's hilum, shrink it with its lung, and scale its calibres by their level."""
    hx, hy = hilum_cm
    steps = 256
    calibres = np.empty(steps + 2)
    for k in range(steps + 2):
        away = (1.5 * k / steps - 0.25) - hy / height
        below = 1 / (1 + np.exp(-away / 0.05))
        central = np.exp(-((away / 0.12) ** 2))
        calibres[k] = (gains[0] * (1 - below) + gains[1] * below) * (1 + (gains[2] - 1) * central)
    for k in range(len(points)):
        axis, distance, y = places[k, 0], places[k, 1], places[k, 2]
        near = np.exp(-((points[k, 0] * 13.8 / 3.4 - 1) ** 2) - ((y - hy) / 3) ** 2)
        x = axis + sign * distance + near * offset
        fitted[k, 0], fitted[k, 1] = hx + scale * (x - hx), hy + scale * (y - hy)
        level = min(max((y / height + 0.25) / 1.5 * steps, 0.0), float(steps))
        low = int(level)
        radii[k] *= calibres[low] + (calibres[low + 1] - calibres[low]) * (level - low)


@njit(cache=True)
def grow_tree(
    root: np.ndarray, targets: np.ndarray, jitter: np.ndarray, leaf_radius: float, exponent: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Grow a binary tree whose leaves are `targets`, by splitting them in two again and again.

    Args:
        root (`np.ndarray` of shape `(3,)`): Where the trunk begins.
        targets (`np.ndarray` of shape `(num_leaves, 3)`): Reordered in place.
        jitter (`np.ndarray` of shape `(2 * num_leaves, 4)`): Standard normal numbers, a row for every branch.
        leaf_radius (`float`): Radius of a branch that feeds one leaf, in cm.
        exponent (`float`): A branch that feeds n leaves is n to this power wider.

    Returns:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: Points `(num_points, 3)`, radius at each, and breaks as
        `kernels.project_tubes` wants them: a twig has two points, a branch that forks has three.
    """
    most = 2 * len(targets) - 1
    points, radii = np.empty((3 * most, 3)), np.empty(3 * most)
    breaks = np.zeros(3 * most, np.uint8)
    stack, origin = np.empty((most, 2), np.int64), np.empty((most, 3))
    stack[0, 0], stack[0, 1] = 0, len(targets)
    origin[0] = root
    depth, count, place = 1, 0, 0
    here, end, work = np.empty(3), np.empty(3), np.empty((3, 3))
    while depth > 0:
        depth -= 1
        first, last = stack[depth, 0], stack[depth, 1]
        number = last - first
        here[:] = origin[depth]
        points[place], radii[place], breaks[place] = here, leaf_radius * number**exponent, 2
        if number == 1:
            points[place + 1], radii[place + 1] = targets[first], 0.45 * leaf_radius
            place, count = place + 2, count + 1
            continue
        low = _split(targets, first, last, here, jitter[count], len(targets), end, work)
        stack[depth, 0], stack[depth, 1] = first, low
        stack[depth + 1, 0], stack[depth + 1, 1] = low, last
        origin[depth], origin[depth + 1] = end, end
        depth += 2
        bend = 0.09 * jitter[count, 3]  # branches are never straight
        points[place + 1] = 0.5 * (here + end)
        points[place + 1, 0] -= bend * (end[1] - here[1])
        points[place + 1, 1] += bend * (end[0] - here[0])
        points[place + 2] = end
        radii[place + 1], radii[place + 2] = 0.96 * radii[place], 0.92 * radii[place]
        place, count = place + 3, count + 1
    return points[:place], radii[:place], breaks[:place]


@njit(cache=True)
def _split(
    targets: np.ndarray,
    first: int,
    last: int,
    here: np.ndarray,
    jitter: np.ndarray,
    total: int,
    end: np.ndarray,
    work: np.ndarray,
) -> int:
    """Set where a branch ends, and part its targets in two; returns the index of the second part."""
    number = last - first
    centre, step, spreads = work[0], work[1], work[2]
    work[:] = 0.0
    for k in range(first, last):
        for axis in range(3):
            centre[axis] += targets[k, axis]
    for axis in range(3):
        centre[axis] /= number
        step[axis] = centre[axis] - here[axis]
    for k in range(first, last):
        for axis in range(3):
            spreads[axis] += (targets[k, axis] - centre[axis]) ** 2
    span = np.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    # Stems fork early, which makes the tree radiate from its root; twigs go most of the way.
    reach = 0.62 - 0.50 * np.sqrt(number / total)
    for axis in range(3):
        end[axis] = here[axis] + reach * step[axis] + 0.07 * span * jitter[axis]
    # Split across the direction of growth, along the widest remaining axis.
    widest, chosen = -1.0, 0
    for axis in range(3):
        spread = spreads[axis] * (1.0 - 0.7 * (step[axis] / (span + 1e-9)) ** 2)
        if spread > widest:
            widest, chosen = spread, axis
    cut = centre[chosen] + 0.25 * np.sqrt(widest / number) * jitter[3]
    low = first
    for k in range(first, last):
        if targets[k, chosen] < cut:
            for axis in range(3):
                swap = targets[k, axis]
                targets[k, axis] = targets[low, axis]
                targets[low, axis] = swap
            low += 1
    if low == first or low == last:
        low = (first + last) // 2
    return low
