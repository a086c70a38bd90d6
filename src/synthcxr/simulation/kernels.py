"""Compiled loops: path lengths through trunk, ellipsoids and tubes, one ray per pixel."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def project_trunk(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    recess_cm: float,
    neck_cm: float,
    body: np.ndarray,
    right: np.ndarray,
    left: np.ndarray,
) -> None:
    """
    Fill the length of every ray in the body and in each pleural cavity.

    Args:
        x_cm, y_cm (`np.ndarray` of shape `(width,)` and `(height,)`): Columns and rows in cm.
        rows, columns (`np.ndarray`): The curves of `thorax.Outline`.
        recess_cm (`float`): How far lung reaches down behind a dome.
        neck_cm (`float`): Half width of the neck.
        body, right, left (`np.ndarray` of shape `(height, width)`, float32): Filled with cm.
    """
    for i in range(y_cm.size):
        y = y_cm[i]
        mid, depth, thick = rows[i, 0], rows[i, 5], rows[i, 6]
        for j in range(x_cm.size):
            dx = x_cm[j] - mid
            side = 0 if dx < 0 else 1
            a = abs(dx)
            edge = rows[i, 7 + side]
            length = 0.0
            if a < edge:
                u = a / edge
                u *= u
                under = (y - columns[j, 2]) * 0.25
                if under > 0.0:
                    length = thick * np.sqrt((1.0 - u * u * np.sqrt(u)) * min(under, 1.0))
            if a < neck_cm and y < 9.0:
                u = a / neck_cm
                length = max(length, 2.1 * neck_cm * np.sqrt(1.0 - u * u) * min(1.0, (9.0 - y) * 0.11))
            body[i, j] = length

            lung = lung_length(a, y, rows[i, 1 + side], rows[i, 3 + side], depth, columns[j, side], recess_cm)
            right[i, j] = lung if side == 0 else 0.0
            left[i, j] = lung if side == 1 else 0.0


@njit(cache=True)
def lung_length(a: float, y: float, lateral: float, medial: float, depth: float, dome: float, recess: float) -> float:
    """
    Length of a ray inside one pleural cavity, in cm.

    Tangent to the lateral wall and to the mediastinum the length falls as a square root, so their edges are sharp.
    Below the top of a dome, a paraboloid, lung remains in front of and behind it.
    """
    if a <= medial or a >= lateral or y <= 0.0 or y >= dome + recess:
        return 0.0
    u = (a - medial) / (lateral - medial)
    length = depth * np.sqrt((1.0 - u * u * u) * min((a - medial) * 0.6, 1.0))
    if y > dome:
        length *= 0.55 * (1.0 - np.sqrt((y - dome) / recess)) + 0.45 * max(1.0 - 2.0 * (y - dome), 0.0)
    return length


@njit(cache=True)
def shrink_lung(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    recess_cm: float,
    side: int,
    hilum_x: float,
    hilum_y: float,
    scale: float,
    out: np.ndarray,
) -> None:
    """Fill `out` with the length of every ray in a lung that has shrunk towards its hilum by `scale` (below 1)."""
    pixel = x_cm[1] - x_cm[0]
    for i in range(y_cm.size):
        y = hilum_y + (y_cm[i] - hilum_y) / scale
        row = int((y - y_cm[0]) / pixel + 0.5)
        for j in range(x_cm.size):
            out[i, j] = 0.0
            x = hilum_x + (x_cm[j] - hilum_x) / scale
            column = int((x - x_cm[0]) / pixel + 0.5)
            if row < 0 or row >= y_cm.size or column < 0 or column >= x_cm.size:
                continue
            dx = x - rows[row, 0]
            if (dx < 0) == (side == 0):
                out[i, j] = scale * lung_length(
                    abs(dx),
                    y,
                    rows[row, 1 + side],
                    rows[row, 3 + side],
                    rows[row, 5],
                    columns[column, side],
                    recess_cm,
                )


@njit(cache=True)
def lengths_above(squares: np.ndarray, y_cm: np.ndarray, floor: np.ndarray, out: np.ndarray) -> None:
    """
    Turn squared path lengths into lengths, and cut them off below a dome.

    Args:
        squares (`np.ndarray` of shape `(height, width)`, float32): What `project_ellipsoids` gives.
        y_cm (`np.ndarray` of shape `(height,)`): Rows.
        floor (`np.ndarray` of shape `(width,)`): y of the dome; the cut is a centimetre wide.
        out (`np.ndarray` of shape `(height, width)`, float32): Filled with cm.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            share = min(max(1.4 - (y_cm[i] - floor[j]), 0.0), 1.0)
            out[i, j] = np.sqrt(max(squares[i, j], np.float32(0.0))) * np.float32(share)


@njit(cache=True)
def settle_lung(
    y_cm: np.ndarray,
    dome: np.ndarray,
    core: np.ndarray,
    contrast: float,
    cavity: np.ndarray,
    lung: np.ndarray,
    blood: np.ndarray,
    aerated: np.ndarray,
    masks: np.ndarray,
) -> None:
    """
    Share a pleural cavity out among heart, lung and free air.

    Args:
        y_cm, dome (`np.ndarray` of shape `(height,)` and `(width,)`): Rows, and y of the dome per column.
        core (`np.ndarray` of shape `(height, width)`): Length of the ray in heart and great vessels.
        contrast (`float`): Attenuation of blood above that of lung, per cm.
        cavity (`np.ndarray`): Length in the cavity; what the core takes is taken off.
        lung (`np.ndarray`): Length in the lung, before that; `cavity` itself unless it has collapsed.
        blood (`np.ndarray`): Length in vessels; replaced by what they add to the line integral.
        aerated (`np.ndarray`): Zeros; filled with the length in aerated lung.
        masks (`np.ndarray` of shape `(3, height, width)`, bool): Zeros; filled: cavity, lung seen as such, free air.
    """
    factor = np.float32(contrast)
    for i in range(cavity.shape[0]):
        for j in range(cavity.shape[1]):
            whole, inside, middle = cavity[i, j], lung[i, j], core[i, j]
            if whole <= 0.0 and inside <= 0.0:
                blood[i, j] = 0.0
                continue
            air = max(inside - middle, np.float32(0.0))
            aerated[i, j] = air
            blood[i, j] = min(blood[i, j], np.float32(0.7) * air) * factor
            cavity[i, j] = max(whole - middle, np.float32(0.0))
            extent = whole > 0.2
            masks[0, i, j] = extent
            masks[1, i, j] = extent and y_cm[i] < dome[j] and middle < np.float32(0.5) * whole
            masks[2, i, j] = extent and inside < 0.2


@njit(cache=True)
def fill_lung(
    attenuation: np.ndarray,
    aerated: np.ndarray,
    texture: np.ndarray,
    cavity: np.ndarray,
    vessels: np.ndarray,
    mu_lung: float,
    mu_soft: float,
) -> None:
    """Replace the soft tissue of a cavity, in place, by lung of this texture and by its vessels."""
    lung, soft = np.float32(mu_lung), np.float32(mu_soft)
    for i in range(attenuation.shape[0]):
        for j in range(attenuation.shape[1]):
            inside = aerated[i, j] * texture[i, j] * lung - soft * cavity[i, j]
            attenuation[i, j] += inside + vessels[i, j]


@njit(cache=True)
def project_ellipsoids(
    x_cm: np.ndarray, y_cm: np.ndarray, solids: np.ndarray, softness: float, squares: np.ndarray
) -> None:
    """
    Raise the signed squared path length through a union of ellipsoids whose outlines melt into each other.

    Args:
        x_cm, y_cm (`np.ndarray`): Columns and rows in cm, evenly spaced.
        solids (`np.ndarray` of shape `(num_solids, 6)`): Centre x, y, half axes, angle of the first one, depth.
        softness (`float`): Width of the melting zone as a share of the squared depth; 0 for a plain union.
        squares (`np.ndarray` of shape `(height, width)`, float32): Raised; negative outside. Begin with `-1e6`.
    """
    pixel = x_cm[1] - x_cm[0]
    for k in range(solids.shape[0]):
        cx, cy, a, b, angle, depth = solids[k]
        cos, sin = np.cos(angle), np.sin(angle)
        wide = np.sqrt((a * cos) ** 2 + (b * sin) ** 2) * (1 + softness)
        high = np.sqrt((a * sin) ** 2 + (b * cos) ** 2) * (1 + softness)
        first = max(int((cx - wide - x_cm[0]) / pixel), 0)
        last = min(int((cx + wide - x_cm[0]) / pixel) + 2, x_cm.size)
        top = max(int((cy - high - y_cm[0]) / pixel), 0)
        bottom = min(int((cy + high - y_cm[0]) / pixel) + 2, y_cm.size)
        width = softness * depth * depth + 1e-9
        for i in range(top, bottom):
            dy = y_cm[i] - cy
            for j in range(first, last):
                dx = x_cm[j] - cx
                along = (dx * cos + dy * sin) / a
                across = (dy * cos - dx * sin) / b
                here = (1.0 - along * along - across * across) * depth * depth
                there = squares[i, j]
                blend = max(width - abs(here - there), 0.0)
                squares[i, j] = max(here, there) + 0.25 * blend * blend / width


@njit(cache=True)
def project_tubes(
    out: np.ndarray,
    x0: float,
    y0: float,
    pixel: float,
    points: np.ndarray,
    radii: np.ndarray,
    gains: np.ndarray,
    breaks: np.ndarray,
    hollow: np.ndarray,
    wall: float,
) -> None:
    """
    Raise `out` to the path length through tubes along polylines.

    The longest path counts where segments overlap, so bends show no beads. A tube thinner than a pixel is widened and
    keeps its total attenuation.

    Args:
        out (`np.ndarray` of shape `(height, width)`, float32): Raised, never lowered.
        x0, y0, pixel (`float`): Centre of the first pixel and the pitch, in cm.
        points (`np.ndarray` of shape `(num_points, 2)`): Vertices in cm.
        radii (`np.ndarray` of shape `(num_points,)`): Half widths in cm.
        gains (`np.ndarray` of shape `(num_points,)`): Path length at the axis of a solid tube.
        breaks (`np.ndarray` of shape `(num_points,)`, uint8): 1 where a polyline with flat ends begins, 2 where one
            with round ends begins, else 0.
        hollow (`np.ndarray` of shape `(num_points,)`): Share of the inside that is not bone; 0 for a solid tube.
        wall (`float`): Inner over outer radius.
    """
    height, width = out.shape
    least = 0.75 * pixel
    flat = False
    for k in range(len(points) - 1):
        if k == 0 or breaks[k] > 0:
            flat = breaks[k] == 1
        if breaks[k + 1] > 0:
            continue
        first = flat and (k == 0 or breaks[k] > 0)
        last = flat and (k + 2 == len(points) or breaks[k + 2] > 0)
        ax, ay, bx, by = points[k, 0], points[k, 1], points[k + 1, 0], points[k + 1, 1]
        ra, rb = radii[k], radii[k + 1]
        reach = max(ra, rb, least)
        left = max(int(np.ceil((min(ax, bx) - reach - x0) / pixel)), 0)
        right = min(int(np.floor((max(ax, bx) + reach - x0) / pixel)), width - 1)
        top = max(int(np.ceil((min(ay, by) - reach - y0) / pixel)), 0)
        bottom = min(int(np.floor((max(ay, by) + reach - y0) / pixel)), height - 1)
        ux, uy = bx - ax, by - ay
        norm = 1.0 / (ux * ux + uy * uy + 1e-12)
        pace = abs(uy) * np.sqrt(norm)  # a long slanting segment fills but a strip of its box
        shell = hollow[k] > 0.0
        for row in range(top, bottom + 1):
            py = y0 + row * pixel - ay
            start, stop = left, right
            if pace > 0.05:
                middle, half = ax + py * ux / uy - x0, reach / pace
                start = max(int(np.ceil((middle - half) / pixel)), left)
                stop = min(int(np.floor((middle + half) / pixel)), right)
            for column in range(start, stop + 1):
                px = x0 + column * pixel - ax
                t = (px * ux + py * uy) * norm
                # A hollow tube's rounded joint would draw a ring; a short overlap closes the bend.
                if flat and (t < (0.0 if first else -0.1) or t > (1.0 if last else 1.1)):
                    continue
                t = min(max(t, 0.0), 1.0)
                dx, dy = px - t * ux, py - t * uy
                radius = ra + t * (rb - ra)
                wide = max(radius, least)
                away, whole = dx * dx + dy * dy, wide * wide
                if away >= whole:
                    continue
                value = np.sqrt(whole - away)
                if shell and away < wall * wall * whole:
                    value -= hollow[k] * np.sqrt(wall * wall * whole - away)
                value *= (gains[k] + t * (gains[k + 1] - gains[k])) * radius / whole
                if value > out[row, column]:
                    out[row, column] = value


@njit(cache=True)
def project_spine(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    axis: np.ndarray,
    half_width: np.ndarray,
    phase: np.ndarray,
    rotation: float,
    gain: float,
    out: np.ndarray,
) -> None:
    """
    Add the bone of the vertebral column, in cm of compact bone for a unit gain.

    Each vertebra has a waist, dense endplates, two pedicles and a spinous process; discs are soft.

    Args:
        x_cm, y_cm (`np.ndarray`): Columns and rows in cm.
        axis, half_width, phase (`np.ndarray` of shape `(height,)`): x of the axis, half width of a body, number of
            the vertebra with its fraction (0 to 1 from the upper endplate to the next one).
        rotation (`float`): Offset of the spinous process from the axis in cm.
        gain (`float`): Thickness of the bone.
        out (`np.ndarray` of shape `(height, width)`, float32): Added to.
    """
    pixel = x_cm[1] - x_cm[0]
    for i in range(y_cm.size):
        f = phase[i] - np.floor(phase[i])
        hw = half_width[i] * (1.0 - 0.10 * np.sin(np.pi * f) ** 2)
        plate = np.exp(-(((f - 0.05) / 0.05) ** 2)) + np.exp(-(((f - 0.80) / 0.05) ** 2))
        level = 0.75 if f < 0.85 else 0.30
        first = max(int((axis[i] - 2.3 * half_width[i] - x_cm[0]) / pixel), 0)
        last = min(int((axis[i] + 2.3 * half_width[i] - x_cm[0]) / pixel) + 2, x_cm.size)
        for j in range(first, last):
            dx = x_cm[j] - axis[i]
            u = abs(dx) / hw
            value = 0.0
            if u < 1.0:
                rim = np.sqrt(1.0 - u**6)
                value = level + 0.30 * plate
                if u > 0.60 and f < 0.85:
                    value += 0.35 * np.exp(-(((u - 0.93) / 0.09) ** 2))
                value *= rim
                pedicle = ((u - 0.62) / 0.20) ** 2 + ((f - 0.30) / 0.17) ** 2
                if pedicle < 3.5:
                    value += 0.28 * np.exp(-(((pedicle - 1.0) / 0.7) ** 2))
            elif u < 2.2 and abs(f - 0.34) < 0.16:
                value = 0.20 * np.sqrt(1.0 - ((f - 0.34) / 0.16) ** 2) * (1.0 - (u - 1.0) * 0.55)
            process = ((dx - rotation) / 0.32) ** 2 + ((f - 0.72) / 0.26) ** 2
            if process < 1.0:
                value += 0.55 * np.sqrt(1.0 - process)
            out[i, j] += gain * value


@njit(cache=True)
def fill_polygon(x_cm: np.ndarray, y_cm: np.ndarray, corners: np.ndarray, value: float, out: np.ndarray) -> None:
    """
    Add `value` to the pixels whose centre lies inside a polygon.

    Args:
        x_cm, y_cm (`np.ndarray`): Columns and rows in cm, evenly spaced.
        corners (`np.ndarray` of shape `(num_corners, 2)`): In order; the last one joins the first.
        value (`float`): Added.
        out (`np.ndarray` of shape `(height, width)`, float32): Added to.
    """
    pixel = x_cm[1] - x_cm[0]
    top = max(int((corners[:, 1].min() - y_cm[0]) / pixel), 0)
    bottom = min(int((corners[:, 1].max() - y_cm[0]) / pixel) + 2, y_cm.size)
    left = max(int((corners[:, 0].min() - x_cm[0]) / pixel), 0)
    right = min(int((corners[:, 0].max() - x_cm[0]) / pixel) + 2, x_cm.size)
    count = len(corners)
    crossings = np.empty(count)
    for i in range(top, bottom):
        found = 0
        for k in range(count):
            ax, ay = corners[k, 0], corners[k, 1]
            bx, by = corners[(k + 1) % count, 0], corners[(k + 1) % count, 1]
            if (ay > y_cm[i]) != (by > y_cm[i]):
                crossings[found] = ax + (bx - ax) * (y_cm[i] - ay) / (by - ay)
                found += 1
        crossings[:found].sort()
        for k in range(0, found - 1, 2):
            for j in range(left, right):
                if crossings[k] <= x_cm[j] < crossings[k + 1]:
                    out[i, j] += value
