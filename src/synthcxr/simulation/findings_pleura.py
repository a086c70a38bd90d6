"""Fluid, air and scars between lung and chest wall: effusion, pneumothorax, pleural thickening."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

from ..ontology import FindingInstance
from .placement import (
    SIGN,
    LungFrame,
    region_stem,
    resolve_side,
    severity_level,
    visible,
    window_around,
    windowed_effect,
)
from .scene import FindingEffect, Geometry, Scene
from .strokes import stroke_chord
from .textures import fractal_noise, noise_seed, smoothstep, soft_blob


def pleural_effusion(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """
    Free fluid. Upright: a concave level that climbs the wall; small ones only blunt the angle. Supine: a veil that
    thickens towards the base. A half-sitting AP view shows some of both.
    """
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    lying = 1.0 if scene.geometry.supine else (0.45 * rng.random() if scene.geometry.view == "AP" else 0.0)
    upright = _meniscus(frame, level, rng, haze_cm=1.2 + 3.0 * lying)
    veil, rim = _veil(frame, level, rng) if lying else (0.0, 0.0)
    # What the report places in the angle must be seen there, lying or not.
    drained = 0.35 if region_stem(instance.region) == "costophrenic_angle" else 0.75
    fluid = np.minimum((1 - drained * lying) * upright * frame.thickness + lying * veil, frame.thickness)
    attenuation = frame.flood(np.minimum(fluid + lying * rim, frame.thickness))
    seen = visible(frame.mu_fill * fluid, floor=0.05, share=0.3)
    # Fluid behind the dome is there, but nobody can tell it from the abdomen.
    floor_y = scene.landmarks[f"{frame.side}_costophrenic"][1] + 0.06 * frame.height_cm
    return frame.effect(attenuation, seen & (frame.y_cm[:, None] < floor_y))


def deform_pleural_effusion(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """A large one-sided effusion pushes the mediastinum away."""
    level, push = severity_level(instance, rng), rng.uniform(0.2, 1.0)
    if instance.side not in SIGN or level < 0.7:
        return geometry
    return replace(
        geometry, mediastinal_shift_cm=geometry.mediastinal_shift_cm - SIGN[instance.side] * push * 4 * (level - 0.7)
    )


def pneumothorax(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """
    Air beside the lung. Upright: the lung shrinks towards its hilum, with its vessels; its pleura shows as a thin line
    and nothing lies beyond it. Supine: the air collects in front at the base (deep sulcus sign).
    """
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    if scene.geometry.supine and level < 0.8 and region_stem(instance.region) != "apex":
        return _deep_sulcus(frame, level, rng)
    shrink, strength = _shrinkage(frame, level, rng), rng.uniform(0.11, 0.19) * (0.8 + 0.6 * level)
    inner, outer = _retract(frame, shrink)
    line = strength * _pleural_line(frame, shrink)
    return frame.effect(inner + line, outer | (line > 0.4 * strength))


def deform_pneumothorax(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Under tension the mediastinum moves away and the dome is pushed down."""
    level, tension = severity_level(instance, rng), rng.random()
    if instance.side not in SIGN or level < 0.8 or tension < 0.4:
        return geometry
    shifted = replace(
        geometry, mediastinal_shift_cm=geometry.mediastinal_shift_cm - SIGN[instance.side] * (1.0 + 2.2 * tension)
    )
    dome = f"{instance.side}_dome_cm"
    return replace(shifted, **{dome: getattr(geometry, dome) - 1.2 * tension})


def pleural_thickening(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """Scarred pleura seen on edge: an apical cap or a band along the lateral wall, uneven in width."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    apical = rng.random() < 0.5
    if region_stem(instance.region) is not None:
        apical = region_stem(instance.region) in ("apex", "upper_zone", "upper_lobe")
    width = (0.25 + 1.0 * level) * frame.height_cm / 20.0
    centre, half = rng.uniform(0.5, 0.8), 0.14 + 0.3 * level
    if region_stem(instance.region) == "costophrenic_angle":
        centre, half = 0.98, 0.6 * half
    noise = fractal_noise(frame.x_cm, frame.y_cm, seed=noise_seed(rng), scale_cm=4.0, octaves=2, persistence=0.35)
    inset = _inset(frame)
    if apical:
        along = smoothstep(frame.v, 0.2 + 0.06 * level, 0.05) * smoothstep(frame.u, 0.1, 0.45)
        width *= 1.4
    else:
        along = smoothstep(np.abs(frame.v - centre), half, half - 0.12) * smoothstep(frame.u, 0.55, 0.8)
    local = width * along * np.clip(1 + 0.2 * noise, 0.4, 1.6)
    band = smoothstep(inset, local + 0.2, np.maximum(local - 0.2, -0.15))
    # On edge it replaces the whole depth of lung; seen flat it is two thin sheets.
    on_edge = np.minimum(frame.thickness, 3.0 + 6.0 * level) * band * (local > 0.05)
    attenuation = frame.mu_fill * np.minimum(on_edge + 0.35 * local * smoothstep(inset, 4.0, 0.0), frame.thickness)
    return frame.effect(attenuation, visible(frame.mu_fill * on_edge))


def _meniscus(frame: LungFrame, level: float, rng: np.random.Generator, *, haze_cm: float) -> np.ndarray:
    rise, power = rng.uniform(1.0, 2.4) + 2.4 * level, rng.uniform(2.0, 5.0)
    medial, wave = rng.uniform(0.1, 0.45), rng.normal(0, 0.12, size=2)
    amount = -0.045 + 0.62 * level**2.2
    child = frame.height_cm / 20.0
    level_y = frame.scene.landmarks[f"{frame.side}_costophrenic"][1] - amount * frame.height_cm
    u = np.clip(frame.u, 0.0, 1.05)
    climb = u**power + medial * (1 - np.minimum(u, 1.0)) ** (1.5 * power)
    climb += wave[0] * np.sin(3 * u) + wave[1] * u * (1 - u)
    surface = level_y - child * rise * climb
    # Below the surface the fluid wraps round the lung, so the haze clears only gradually.
    return smoothstep(frame.y_cm[:, None] - surface, -0.25 * child, haze_cm * child * (0.6 + level))


def _veil(frame: LungFrame, level: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Depth in cm of the layer behind the lung, and of the rim that it forms along the wall and over the apex."""
    depth = (0.6 + 5.2 * level**1.3) * frame.height_cm / 18.0
    top, cap = rng.uniform(-0.1, 0.3) - 0.5 * level, rng.uniform(0.0, 1.2)
    layer = depth * (0.1 + 0.9 * smoothstep(frame.v, top, 1.0))
    layer = layer * (0.8 + 0.2 * smoothstep(frame.u, 0.0, 1.0))
    rim = smoothstep(_inset(frame), 0.9 * cap * level + 0.05, 0.0) if level > 0.5 else np.zeros_like(layer)
    return np.minimum(layer, frame.thickness), 2.5 * rim


def _shrinkage(frame: LungFrame, level: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source coordinates of every pixel of the window in the lung before it shrank, and the scale there."""
    hilum = frame.hilum()
    amount = 0.045 + 0.62 * level**1.25
    tilt, sharp, phase, ripple = rng.uniform(0.3, 0.75), rng.uniform(1.4, 2.4) - 0.9 * level, *rng.random(2)
    dx = (frame.x_cm - hilum[0])[None, :]
    dy = (frame.y_cm - hilum[1])[:, None]
    scale = _radial_scale(frame.sign * dx, -dy, amount, tilt, sharp, (phase, ripple))
    return hilum[0] + dx / scale, hilum[1] + dy / scale, scale


def _radial_scale(
    lateral: np.ndarray, up: np.ndarray, amount: float, tilt: float, sharp: float, wave: tuple[float, float]
) -> np.ndarray:
    distance = np.hypot(lateral, up) + 1e-6
    towards = (lateral * np.sin(tilt) + up * np.cos(tilt)) / distance
    # The base keeps to its dome, so the lung does not move straight down.
    weight = ((1 + towards) / 2) ** sharp * smoothstep(-up / distance, 0.97, 0.45)
    weight = weight * smoothstep(lateral / distance, -0.35, -0.05)  # nor off the mediastinum
    turn = np.arctan2(lateral, up)
    return 1 - amount * weight * (1 + 0.07 * wave[1] * np.sin(3 * turn + 6.28 * wave[0]))


def _retract(frame: LungFrame, shrink: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    source_x, source_y, scale = shrink
    pixel = frame.scene.pixel_cm
    rows = (source_y - frame.y_cm[0]) / pixel
    columns = (source_x - frame.x_cm[0]) / pixel
    coordinates = np.stack(np.broadcast_arrays(rows, columns))
    vessels = frame.vessels
    thickness = map_coordinates(frame.thickness, coordinates, order=1, cval=0.0)
    moved_vessels = map_coordinates(vessels, coordinates, order=1, cval=0.0)
    mu = frame.scene.mu_lung[frame.side]
    # The same tissue in less room: depth shrinks with the outline and the density grows.
    kept = np.minimum(thickness * np.sqrt(scale), frame.thickness) * np.minimum(scale**-1.5, 2.6)
    attenuation = mu * (kept - frame.thickness) + moved_vessels - vessels
    lost = (thickness < 0.4 * frame.thickness) & (frame.thickness > 0.4)
    # Near the mediastinum and the dome the outlines coincide and differ by interpolation alone.
    gap = (1 - scale) * np.hypot(source_x - frame.hilum()[0], source_y - frame.hilum()[1])
    return attenuation.astype(np.float32), lost & (gap > 0.15)


def _pleural_line(frame: LungFrame, shrink: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Contour of the shrunken lung, as a share of the line's strength."""
    hilum = frame.hilum()
    heights = np.linspace(frame.apex_y + 0.02 * frame.height_cm, frame.apex_y + 1.05 * frame.height_cm, 48)
    lateral, medial = frame.edges(heights)
    outer = np.stack([lateral, heights], axis=1)[::-1]
    inner = np.stack([medial, heights], axis=1)[:16]
    apex = np.array([frame.scene.landmarks[f"{frame.side}_apex"]])
    contour = np.vstack([outer, apex, inner])
    scale = _sample_scale(frame, shrink[2], contour, hilum)
    gap = (1 - scale) * np.hypot(*(contour - hilum).T)
    moved = hilum + (contour - hilum) * scale[:, None]
    keep = gap > 0.12
    if keep.sum() < 3:
        return np.zeros_like(frame.thickness)
    radius = 0.07
    chord = stroke_chord(frame.x_cm, frame.y_cm, moved[keep], radius, starts=_breaks(keep))
    return chord / (2 * radius) * frame.extent


def _breaks(keep: np.ndarray) -> np.ndarray:
    """Indices in the kept points at which a new run begins."""
    kept = np.flatnonzero(keep)
    return np.flatnonzero(np.diff(kept, prepend=kept[0] - 2) > 1)


def _sample_scale(frame: LungFrame, scale: np.ndarray, contour: np.ndarray, hilum: tuple[float, float]) -> np.ndarray:
    # The scale depends on the direction from the hilum alone, so it may be read half way to the contour.
    half = hilum + 0.5 * (contour - np.asarray(hilum))
    rows = (half[:, 1] - frame.y_cm[0]) / frame.scene.pixel_cm
    columns = (half[:, 0] - frame.x_cm[0]) / frame.scene.pixel_cm
    return map_coordinates(scale, np.stack([rows, columns]), order=1, mode="nearest")


def _deep_sulcus(frame: LungFrame, level: float, rng: np.random.Generator) -> FindingEffect:
    scene, child = frame.scene, frame.height_cm / 20.0
    angle = scene.landmarks[f"{frame.side}_costophrenic"]
    lateral, _ = frame.edges(angle[1])
    reach = child * (1.6 + 3.4 * level)
    centre = (float(lateral) - frame.sign * 0.75 * reach, angle[1] - 0.1 * reach)
    window = window_around(
        scene,
        (min(lateral, centre[0] - 1.6 * reach), max(lateral, centre[0] + 1.6 * reach)),
        (centre[1] - 2.2 * reach, centre[1] + 1.8 * reach),
    )
    blob = soft_blob(
        scene.x_cm[window[1]],
        scene.y_cm[window[0]],
        centre=centre,
        radii=(0.8 * reach, 1.35 * reach),
        angle=frame.sign * rng.uniform(0.05, 0.25),
        softness=0.3,
        irregularity=0.08,
        seed=noise_seed(rng),
    )
    wall = np.interp(scene.y_cm[window[0]], frame.y_cm, frame.edges(frame.y_cm)[0])
    inside = frame.sign * (wall[:, None] - scene.x_cm[window[1]][None, :]) > 0
    thickness = scene.lung_thickness[frame.side][window]
    lung = 0.55 * scene.mu_lung[frame.side] * thickness
    below = scene.mu_soft * (0.6 + 2.6 * level) * child * (1 - np.minimum(thickness / 3.0, 1.0))
    attenuation = -(lung + below) * blob * inside
    return windowed_effect(scene, window, attenuation.astype(np.float32), visible(attenuation))


def _inset(frame: LungFrame) -> np.ndarray:
    """Distance in cm from the outline of the lung, for every ray of the window."""
    padded = np.pad(frame.extent, 1)
    return (distance_transform_edt(padded)[1:-1, 1:-1] - 0.5).astype(np.float32) * frame.scene.pixel_cm
