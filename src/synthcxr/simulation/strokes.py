"""Wires, tubes, vessels and septa: path lengths through bent cylinders."""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import project_tubes


def stroke_chord(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    points: np.ndarray,
    radii: np.ndarray | float,
    *,
    starts: np.ndarray | None = None,
) -> np.ndarray:
    """
    Path length through the union of round cylinders along polylines.

    Where strokes overlap the longest path counts: bends and crossings show no beads. A cylinder thinner than a pixel
    keeps its cross-section (its total attenuation) and not its width.

    Args:
        x_cm, y_cm (`np.ndarray` of shape `(width,)` and `(height,)`): Evenly spaced coordinates of the window.
        points (`np.ndarray` of shape `(num_points, 2)`): Vertices `(x, y)` in cm.
        radii (`np.ndarray` of shape `(num_points,)` or `float`): Radius at each vertex.
        starts (`np.ndarray`, *optional*): Indices at which a new polyline begins; `None` for a single one.

    Returns:
        `np.ndarray` of shape `(height, width)`, float32: Chord in cm.
    """
    widths = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(points),)).copy()
    breaks = np.zeros(len(points), dtype=np.uint8)
    breaks[0 if starts is None else starts] = 2
    pixel = float(abs(x_cm[1] - x_cm[0])) if len(x_cm) > 1 else 1.0
    out = np.zeros((len(y_cm), len(x_cm)), dtype=np.float32)
    line = np.ascontiguousarray(points, dtype=np.float64)
    project_tubes(
        out, float(x_cm[0]), float(y_cm[0]), pixel, line, widths, 2 * widths, breaks, np.zeros(len(line)), 0.8
    )
    return out


def smooth_curve(controls: np.ndarray, *, step_cm: float = 0.4) -> np.ndarray:
    """
    Pass a smooth curve (centripetal-like Catmull-Rom) through control points.

    Args:
        controls (`np.ndarray` of shape `(num_controls, 2)`): Points in cm.
        step_cm (`float`, *optional*, defaults to 0.4): About the length of a segment; the same at every image size.

    Returns:
        `np.ndarray` of shape `(num_points, 2)`: The curve, both ends included.
    """
    return _interpolate(np.ascontiguousarray(controls, dtype=np.float64), float(step_cm))


def wander(points: np.ndarray, rng: np.random.Generator, *, amplitude_cm: float) -> np.ndarray:
    """Bend a polyline `(num_points, 2)` by three slow random waves across its course; always nine draws."""
    phases, weights, rates = rng.random(3) * 2 * np.pi, rng.normal(size=3), 0.5 + rng.random(3) * 2.5
    direction = np.gradient(points, axis=0)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    t = np.linspace(0.0, 1.0, len(points))
    offset = sum(
        w * np.sin(2 * np.pi * rate * t + phase) for w, rate, phase in zip(weights, rates, phases, strict=True)
    )
    return points + normal * (amplitude_cm * 0.6 * offset)[:, None]


def branching_tree(
    root: tuple[float, float],
    direction: float,
    rng: np.random.Generator,
    *,
    radius_cm: float,
    length_cm: float,
    generations: int = 4,
    spread: float = 0.55,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Grow a forked tree of airways or vessels.

    Args:
        root (`tuple[float, float]`): Where it starts, in cm.
        direction (`float`): Radians of the first branch.
        rng (`np.random.Generator`): Its number of draws depends on `generations` alone.
        radius_cm, length_cm (`float`): Of the first branch; each generation is about 0.75 of the one before.
        generations (`int`, *optional*, defaults to 4): Doublings.
        spread (`float`, *optional*, defaults to 0.55): Radians between a branch and its parent.

    Returns:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: Points, radii and starts as `stroke_chord` wants them.
    """
    draws = rng.standard_normal((2**generations - 1, 4))
    points, radii = np.empty((3 * len(draws), 2)), np.empty(3 * len(draws))
    start = float(root[0]), float(root[1])
    _branch(start, float(direction), draws, float(radius_cm), float(length_cm), float(spread), points, radii)
    return points, radii, np.arange(0, len(points), 3)


@njit(cache=True)
def _branch(
    root: tuple[float, float],
    direction: float,
    draws: np.ndarray,
    radius: float,
    length: float,
    spread: float,
    points: np.ndarray,
    radii: np.ndarray,
) -> None:
    angles = np.empty(len(draws))
    angles[0] = direction
    for k in range(len(draws)):
        generation = int(np.floor(np.log2(k + 1.0) + 1e-9))
        half = 0.5 * length * 0.78**generation * (1.0 + 0.2 * draws[k, 0])
        bend = angles[k] + 0.25 * draws[k, 1]
        x, y = root
        if k > 0:
            x, y = points[3 * ((k - 1) // 2) + 2]
        points[3 * k, 0], points[3 * k, 1] = x, y
        x, y = x + half * np.cos(angles[k]), y + half * np.sin(angles[k])
        points[3 * k + 1, 0], points[3 * k + 1, 1] = x, y
        points[3 * k + 2, 0], points[3 * k + 2, 1] = x + half * np.cos(bend), y + half * np.sin(bend)
        wide = radius * 0.76**generation
        radii[3 * k], radii[3 * k + 1], radii[3 * k + 2] = wide, 0.92 * wide, 0.82 * wide
        if 2 * k + 2 < len(draws):
            angles[2 * k + 1] = bend + spread * (1 + 0.3 * draws[k, 2])
            angles[2 * k + 2] = bend - spread * (1 + 0.3 * draws[k, 3])


@njit(cache=True)
def _interpolate(controls: np.ndarray, step: float) -> np.ndarray:
    last = len(controls) - 1
    counts = np.empty(last, np.int64)
    for index in range(last):
        length = np.hypot(controls[index + 1, 0] - controls[index, 0], controls[index + 1, 1] - controls[index, 1])
        counts[index] = max(2, int(np.ceil(length / step)))
    out = np.empty((counts.sum() + 1, 2))
    position = 0
    for index in range(last):
        for axis in range(2):
            p1, p2 = controls[index, axis], controls[index + 1, axis]
            p0 = controls[index - 1, axis] if index > 0 else 2 * p1 - p2
            p3 = controls[index + 2, axis] if index + 1 < last else 2 * p2 - p1
            for k in range(counts[index]):
                t = k / counts[index]
                bent = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t * t + (3 * p1 - p0 - 3 * p2 + p3) * t * t * t
                out[position + k, axis] = 0.5 * (2 * p1 + (p2 - p0) * t + bent)
        position += counts[index]
    out[position] = controls[last]
    return out
