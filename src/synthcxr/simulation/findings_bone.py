"""Bones: a broken rib and a bent spine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import map_coordinates

from ..ontology import FindingInstance
from .placement import region_stem, resolve_side, severity_level, window_around, windowed_effect
from .scene import FindingEffect, Geometry, Scene
from .strokes import stroke_chord
from .textures import smoothstep


_SPINE_HALF_WIDTH_CM = 1.8


def fracture(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """One rib broken: a lucent gap, the far fragment stepped sideways; an old one carries callus instead of a gap."""
    side = resolve_side(instance, side, rng)
    level = severity_level(instance, rng)
    along, choice, turn, old = rng.random(4)
    rib = _broken_rib(scene, instance, side, choice)
    if rib is None:
        return FindingEffect(np.zeros_like(scene.attenuation), np.zeros(scene.attenuation.shape, dtype=bool))
    point, tangent, normal = _break_point(scene, rib, 0.15 + 0.6 * along)
    step = (0.15 + 1.15 * level) * scene.rib_radius_cm * (1 if turn < 0.5 else -1)
    healed = old > 0.7
    return _displaced(scene, point, tangent, normal, step, level=level, healed=healed)


def scoliosis(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """The spine, which the geometry has bent."""
    midline = np.interp(scene.y_cm, scene.y_cm[np.isfinite(scene.midline)], scene.midline[np.isfinite(scene.midline)])
    low = max(scene.landmarks["right_dome"][1], scene.landmarks["left_dome"][1]) + 3
    rows = (scene.y_cm > scene.landmarks["right_apex"][1] - 1) & (scene.y_cm < low)
    near = np.abs(scene.x_cm[None, :] - midline[:, None]) < _SPINE_HALF_WIDTH_CM * scene.geometry.half_width_cm / 13.8
    return FindingEffect(np.zeros(near.shape, dtype=np.float32), near & rows[:, None])


def deform_scoliosis(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """A lateral curve of 0.5 to 3 cm, to the right more often than to the left."""
    level, turn = severity_level(instance, rng), rng.random()
    sign = -1 if turn < 0.7 else 1
    return replace(geometry, spine_curvature_cm=sign * (0.5 + 2.6 * level) * geometry.half_width_cm / 13.8)


def _broken_rib(scene: Scene, instance: FindingInstance, side: str, choice: float) -> np.ndarray | None:
    stem = region_stem(instance.region)
    available = sorted(index for each, index in scene.ribs if each == side)
    if not available:
        return None
    if stem is not None and stem.startswith("rib_"):
        wanted = int(stem.removeprefix("rib_"))
        return scene.ribs[side, wanted if wanted in available else available[-1]]
    middle = [index for index in available if 3 <= index <= 9] or available
    return scene.ribs[side, middle[min(int(choice * len(middle)), len(middle) - 1)]]


def _break_point(scene: Scene, rib: np.ndarray, along: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A point between the spine and the side of the chest, where the rib runs in the image plane."""
    lateral = int(np.argmax(np.abs(rib[:, 0])))
    index = int(np.clip(round(lateral * (0.25 + 0.6 * along)), 1, len(rib) - 2))
    tangent = rib[index + 1, :2] - rib[index - 1, :2]
    tangent = tangent / max(float(np.linalg.norm(tangent)), 1e-6)
    return rib[index, :2], tangent, np.array([-tangent[1], tangent[0]])


def _displaced(
    scene: Scene,
    point: np.ndarray,
    tangent: np.ndarray,
    normal: np.ndarray,
    step: float,
    *,
    level: float,
    healed: bool,
) -> FindingEffect:
    radius, gap = scene.rib_radius_cm, 0.06 + 0.4 * level
    reach = 4.0 * radius + abs(step)
    window = window_around(scene, (point[0] - reach, point[0] + reach), (point[1] - reach, point[1] + reach))
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    dx, dy = x_cm[None, :] - point[0], y_cm[:, None] - point[1]
    along, across = dx * tangent[0] + dy * tangent[1], dx * normal[0] + dy * normal[1]
    # The far fragment moves sideways at the break and is back in place a few rib widths on.
    cut = np.clip(along / (0.8 * scene.pixel_cm) + 0.5, 0, 1)
    weight = cut * smoothstep(along, 3.4 * radius, 0.0) * smoothstep(np.abs(across), 2.4 * radius, 1.1 * radius)
    shift = step * weight
    rows = (y_cm[:, None] - shift * normal[1] - scene.y_cm[0]) / scene.pixel_cm
    columns = (x_cm[None, :] - shift * normal[0] - scene.x_cm[0]) / scene.pixel_cm
    moved = map_coordinates(scene.attenuation, np.stack(np.broadcast_arrays(rows, columns)), order=1, mode="nearest")
    attenuation = moved - scene.attenuation[window]
    ends = np.stack([point - 1.15 * radius * normal, point + (1.15 * radius + step) * normal])
    if healed:
        body = np.stack([point - 1.3 * radius * tangent, point + 0.5 * step * normal, point + 1.3 * radius * tangent])
        callus = stroke_chord(x_cm, y_cm, body, radius * np.array([0.7, 1.35, 0.7]))
        attenuation += (0.25 + 0.3 * level) * scene.mu_bone * callus
    else:
        # The gap opens both cortices, about half a centimetre of bone on the ray.
        line = stroke_chord(x_cm, y_cm, ends, 0.5 * gap + 0.04)
        attenuation -= 1.1 * radius * scene.mu_bone * np.minimum(line / (gap + 0.08), 1.0)
    seen = (along / (2.2 * radius)) ** 2 + (across / (1.5 * radius + abs(step))) ** 2 < 1
    return windowed_effect(scene, window, attenuation.astype(np.float32), seen)
