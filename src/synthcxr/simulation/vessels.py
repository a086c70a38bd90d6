"""Lung vessels: trees that share out the lung among their leaves and taper by the number that each branch feeds."""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import project_ellipsoids, project_tubes
from .scene import SIDES, Geometry
from .thorax import chest_wall, costophrenic_height, dome_height, mediastinal_shift, midline


NUM_LEAVES = 220
LEAF_RADIUS_CM = 0.078
SHEATH = 2.0  # bronchus and connective tissue run along with every vessel
RADIUS_EXPONENT = 1 / 2.6  # Murray's law says 1/3; large arteries of the lung widen faster


def hilum(geometry: Geometry, side: str) -> tuple[float, float]:
    """Where the vessels of one lung begin: `(x, y)` in cm; the left hilum is a little higher."""
    height, size = geometry.lung_height_cm, geometry.half_width_cm / 13.8
    y = (0.395 if side == "right" else 0.365) * height
    sign = -1 if side == "right" else 1
    x = sign * 3.5 * size + 0.8 * mediastinal_shift(geometry) + 0.5 * float(midline(geometry, np.array([y]))[0])
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
        out = np.zeros((len(y_cm), len(x_cm)), np.float32)
        for points, radii, breaks in _trees(geometry, side, rng):
            project_tubes(out, x0, y0, pixel, points, radii, SHEATH * 2 * radii, breaks, np.zeros_like(radii), 0.8)
        maps[side] = np.maximum(out, _hilar_tissue(geometry, side, rng, x_cm, y_cm))
    return maps


def _trees(geometry: Geometry, side: str, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    sign = -1.0 if side == "right" else 1.0
    hx, hy = hilum(geometry, side)
    size = geometry.half_width_cm / 13.8
    trees = []
    # Arteries fan out from the hilum; veins of the lower lung run flatter, towards the left atrium below it.
    for drop, leaves in ((0.0, NUM_LEAVES), (0.075 * geometry.lung_height_cm, int(NUM_LEAVES * 0.6))):
        targets = _targets(geometry, side, leaves, rng)
        jitter = rng.standard_normal((2 * leaves, 4))
        root = np.array([hx - sign * 1.4 * size * (drop > 0), hy + drop, -1.0])
        starts, ends, fed = grow_tree(root, targets, jitter)
        radii = LEAF_RADIUS_CM * size * fed**RADIUS_EXPONENT
        trees.append(_bend(starts, ends, radii * _gain(geometry, 0.5 * (starts + ends)[:, 1], hy), jitter, fed))
    return trees


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
    return np.maximum(squares, 0) * np.float32(0.55 / size)


def _gain(geometry: Geometry, y: np.ndarray, hilum_y: float) -> np.ndarray:
    below = 1 / (1 + np.exp(-(y - hilum_y) / (0.05 * geometry.lung_height_cm)))
    near = np.exp(-(((y - hilum_y) / (0.12 * geometry.lung_height_cm)) ** 2))
    gain = geometry.vessel_gain_upper * (1 - below) + geometry.vessel_gain_lower * below
    return gain * (1 + (geometry.hilum_gain - 1) * near)


def _targets(geometry: Geometry, side: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Leaves `(count, 3)` spread evenly (a rank-one lattice with a random shift) over the lung's volume."""
    shift = rng.random(3)
    index = np.arange(count)[:, None]
    lattice = (index * np.array([0.8191725134, 0.6710436067, 0.5497004779]) + shift) % 1.0
    bottom = costophrenic_height(geometry) + 0.3 * geometry.recess_cm
    y = bottom * (0.02 + 0.98 * lattice[:, 0] ** 0.9)
    wall = chest_wall(geometry, y)
    across = 0.14 + 0.84 * lattice[:, 1] ** 0.75
    distance = wall * across
    inside = dome_height(geometry, side, distance)
    y = np.minimum(y, inside + 0.25 * geometry.recess_cm * lattice[:, 2])
    sign = -1.0 if side == "right" else 1.0
    depth = 0.36 * geometry.body_thickness_cm * (2 * lattice[:, 2] - 1)
    return np.column_stack([midline(geometry, y) + sign * distance, y, depth])


def _bend(
    starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, jitter: np.ndarray, fed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Polylines of three points: branches are never straight."""
    run = ends - starts
    middle = starts + 0.5 * run
    middle[:, 0] -= 0.09 * jitter[: len(run), 3] * run[:, 1]
    middle[:, 1] += 0.09 * jitter[: len(run), 3] * run[:, 0]
    points = np.stack([starts, middle, ends], axis=1)[:, :, :2].reshape(-1, 2)
    taper = np.where(fed > 1, 0.92, 0.45)
    widths = np.column_stack([radii, radii * (1 + taper) / 2, radii * taper]).reshape(-1)
    breaks = np.zeros(len(points), np.uint8)
    breaks[::3] = 2
    return np.ascontiguousarray(points), widths, breaks


@njit(cache=True)
def grow_tree(root: np.ndarray, targets: np.ndarray, jitter: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Grow a binary tree whose leaves are `targets`, by splitting them in two again and again.

    Args:
        root (`np.ndarray` of shape `(3,)`): Where the trunk begins.
        targets (`np.ndarray` of shape `(num_leaves, 3)`): Reordered in place.
        jitter (`np.ndarray` of shape `(2 * num_leaves, 4)`): Standard normal numbers, a row for every branch.

    Returns:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: Start and end `(num_branches, 3)` of every branch, and how many
        leaves it feeds `(num_branches,)`.
    """
    most = 2 * len(targets)
    starts, ends, fed = np.empty((most, 3)), np.empty((most, 3)), np.empty(most)
    stack = np.empty((most, 2), np.int64)
    origin = np.empty((most, 3))
    stack[0, 0], stack[0, 1] = 0, len(targets)
    origin[0] = root
    depth, count = 1, 0
    while depth > 0 and count < most:
        depth -= 1
        first, last = stack[depth, 0], stack[depth, 1]
        here = origin[depth].copy()
        number = last - first
        centre = np.zeros(3)
        for k in range(first, last):
            centre += targets[k]
        centre /= number
        starts[count] = here
        fed[count] = number
        if number == 1:
            ends[count] = targets[first]
            count += 1
            continue
        step = centre - here
        # Stems fork early, which makes the tree radiate from its root; twigs go most of the way.
        reach = 0.62 - 0.50 * np.sqrt(number / len(targets))
        span = np.sqrt((step * step).sum())
        for axis in range(3):
            ends[count, axis] = here[axis] + reach * step[axis] + 0.07 * span * jitter[count, axis]
        # Split across the direction of growth, along the widest remaining axis.
        widest, axis = -1.0, 0
        for candidate in range(3):
            spread = 0.0
            for k in range(first, last):
                spread += (targets[k, candidate] - centre[candidate]) ** 2
            spread *= 1.0 - 0.7 * (step[candidate] / (span + 1e-9)) ** 2
            if spread > widest:
                widest, axis = spread, candidate
        cut = centre[axis] + 0.25 * np.sqrt(widest / number) * jitter[count, 3]
        low = first
        for k in range(first, last):
            if targets[k, axis] < cut:
                for c in range(3):
                    swap = targets[k, c]
                    targets[k, c] = targets[low, c]
                    targets[low, c] = swap
                low += 1
        if low == first or low == last:
            low = (first + last) // 2
        for begin, end in ((first, low), (low, last)):
            stack[depth, 0], stack[depth, 1] = begin, end
            origin[depth] = ends[count]
            depth += 1
        count += 1
    return starts[:count], ends[:count], fed[:count]
