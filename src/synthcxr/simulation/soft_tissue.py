"""Arms, breasts and muscle: soft parts outside the rib cage."""

from __future__ import annotations

import numpy as np

from .kernels import project_tubes
from .scene import Scene


def add_arms(scene: Scene) -> None:
    """Raise `scene.body_cm` to the length of the rays in the upper arms, which hang beside the chest."""
    geometry = scene.geometry
    width, size = geometry.half_width_cm, geometry.half_width_cm / 13.8
    radius = (4.7 + 0.15 * (geometry.body_mass_index - 24) + (0.4 if geometry.sex == "male" else 0)) * size**0.9
    radius = max(radius, 1.8)
    edge = width + geometry.wall_cm
    abduction = (1.0 if geometry.view == "AP" else 3.5) * size
    height = geometry.lung_height_cm
    radii = radius * np.array([1.45, 1.12, 1.0, 0.9])
    gains = radius * np.array([3.5, 3.1, 2.9, 2.6])
    for sign in (-1.0, 1.0):
        x = (
            1.06 * width,
            1.20 * width + 0.1 * radius,
            edge + 0.75 * radius + 0.5 * abduction,
            edge + radius + 2 * abduction,
        )
        y = (0.10 * height + 0.8 * size, 0.32 * height, 0.85 * height, 42 * size)
        points = np.column_stack([sign * np.array(x), y])
        breaks = np.array([2, 0, 0, 0], np.uint8)
        grid = float(scene.x_cm[0]), float(scene.y_cm[0]), scene.pixel_cm
        project_tubes(scene.body_cm, *grid, points, radii, gains, breaks, np.zeros(4), 0.8)


def add_breasts(scene: Scene) -> None:
    """Add the breasts, whose lower edge is sharp and whose upper edge is not, to `scene.body_cm`."""
    geometry = scene.geometry
    if geometry.breast_cm <= 0.3:
        return
    width, height = geometry.half_width_cm, geometry.lung_height_cm
    full = min(geometry.breast_cm, 7.0)
    wide = (0.46 + 0.025 * full) * width
    high = (0.26 + 0.015 * full) * height
    low = (0.70 + 0.025 * full) * height * (0.96 if geometry.supine else 1.0)
    thick = full * (0.7 if geometry.supine else 1.0)
    spread = 0.06 * width if geometry.supine else 0.0
    for sign in (-1.0, 1.0):
        centre = sign * (0.60 * width + spread)
        top, bottom = np.searchsorted(scene.y_cm, (low - 1.6 * high, low + high))
        left, right = np.searchsorted(scene.x_cm, (centre - wide, centre + wide))
        u = ((scene.x_cm[left:right] - centre) / wide).astype(np.float32)
        v = ((scene.y_cm[top:bottom] - low) / high).astype(np.float32)
        above = np.minimum(1 + np.minimum(v, 0) / np.float32(1.6), 1)
        fade = np.float32(thick) * above * above * (3 - 2 * above)
        below = (1 - np.maximum(v, 0) ** 2)[:, None] - u * u
        np.sqrt(np.maximum(below, 0, out=below), out=below)
        below *= fade[:, None]
        scene.body_cm[top:bottom, left:right] += below
