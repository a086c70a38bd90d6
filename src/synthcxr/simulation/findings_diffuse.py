"""Disease of both lungs at large: edema, fibrosis, COVID-19 pattern."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ontology import FindingInstance
from .opacities import lung_noise, lung_presence, lung_web
from .placement import LungFrame, combine, region_box, resolve_side, severity_level, visible
from .resampling import blur
from .scene import SIDES, FindingEffect, Geometry, Scene
from .strokes import stroke_chord
from .textures import noise_seed, smoothstep, soft_blob


_KERLEY_LINES = 24


def edema(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Cardiogenic edema: fuzzy vessels, Kerley B lines, peribronchial cuffs, perihilar haze, bat wings when severe."""
    level = severity_level(instance, rng)
    tilt = 0.09 * rng.normal()
    effects = []
    for each, sign in zip(SIDES, (1, -1), strict=True):
        seed = int(rng.integers(0, 2**63 - 1))
        if side in (None, each):
            share = float(np.clip(level * (1 + sign * tilt), 0.03, 1.0))
            effects.append(_edema_of_lung(LungFrame(scene, each), share, np.random.default_rng(seed)))
    return combine(*effects)


def deform_edema(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Cephalisation: upper vessels as wide as lower ones or wider, hila larger, a slightly wider vascular pedicle."""
    level = severity_level(instance, rng)
    return replace(
        geometry,
        vessel_gain_upper=geometry.vessel_gain_upper * (1.1 + 0.55 * level),
        vessel_gain_lower=geometry.vessel_gain_lower * (1.0 + 0.2 * level),
        hilum_gain=geometry.hilum_gain * (1.0 + 0.25 * level),
        mediastinal_width_cm=geometry.mediastinal_width_cm * (1.0 + 0.08 * level),
    )


def fibrosis(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Coarse web of scars at the base and rim, or bands drawn up to the hilum at the apex."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    apical = rng.random() < 0.4
    if instance.region is not None:
        apical = region_box(instance.region)[2] < 0.2
    rim = smoothstep(frame.u, 0.2, 0.95)
    low, high = (0.42, 0.1) if apical else (0.5, 0.92)
    zone = smoothstep(frame.v + 0.06 * lung_noise(frame, rng, 4.0), low - 0.1 * level, high)
    envelope = zone * (0.35 + 0.65 * rim) * lung_presence(frame)
    seed, bands = noise_seed(rng), _scar_bands(frame, level, rng, apical=bool(apical))
    web = lung_web(frame, seed, scale_cm=1.1) + 0.6 * lung_web(frame, seed + 1, scale_cm=0.6)
    strength = 0.08 + 0.6 * level
    scars = strength * envelope * (web - 0.35)
    haze = (0.05 + 0.4 * level) * frame.mu_fill * envelope * np.minimum(frame.thickness, 7)
    return frame.effect(scars + haze + bands, visible(haze + 0.4 * strength * envelope))


def deform_fibrosis(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Scars shrink the lung: raised dome."""
    level = severity_level(instance, rng)
    rise = 1.8 * level * rng.uniform(0.4, 1.0)
    right, left = instance.side in ("right", "bilateral", None), instance.side in ("left", "bilateral", None)
    return replace(
        geometry,
        right_dome_cm=geometry.right_dome_cm + (rise if right else 0.0),
        left_dome_cm=geometry.left_dome_cm + (rise if left else 0.0),
    )


def covid_19_pattern(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """Ground glass in several peripheral patches, mostly low, on both sides and not alike."""
    level = severity_level(instance, rng)
    effects = []
    for each in SIDES:
        seed, uneven = int(rng.integers(0, 2**63 - 1)), rng.uniform(0.7, 1.15)
        if side in (None, each):
            effects.append(
                _covid_of_lung(LungFrame(scene, each), instance, level * uneven, np.random.default_rng(seed))
            )
    return combine(*effects)


def _edema_of_lung(frame: LungFrame, level: float, rng: np.random.Generator) -> FindingEffect:
    hilum, child = frame.hilum(), frame.height_cm / 20.0
    reach = child * (3.2 + 4.0 * level)
    wing = soft_blob(
        frame.x_cm,
        frame.y_cm,
        centre=(hilum[0] + frame.sign * 0.45 * reach, hilum[1] + 0.25 * reach),
        radii=(reach, 1.25 * reach),
        softness=0.8,
        irregularity=0.18,
        seed=noise_seed(rng),
    )
    inside = lung_presence(frame)
    gravity = smoothstep(frame.v, 0.15, 1.05)
    cotton = np.clip(1 + 0.22 * lung_noise(frame, rng, 2.4), 0.3, 1.8)
    alveolar = max(level - 0.5, 0.0) * 2.0  # bat wings appear in the upper half of the scale, sparing the rim
    fill = (0.05 + 0.22 * level) * wing + 0.15 * level * gravity
    wings = 0.5 * alveolar * wing * smoothstep(frame.u, 1.0, 0.72)
    depth = np.minimum(frame.thickness, 9.0 * child)
    haze = frame.mu_fill * depth * inside * (fill + wings)
    texture = frame.mu_fill * depth * inside * (cotton - 1) * (0.3 * fill + 0.9 * wings)
    vessels = frame.vessels
    blurred = blur(vessels, 0.45 * child / frame.scene.pixel_cm)
    fuzzy = ((0.5 + 0.6 * level) * blurred - 0.4 * level * vessels) * inside
    lines = _kerley_lines(frame, level, rng) + _cuffs(frame, level, rng)
    return frame.effect(haze + texture + fuzzy + lines, visible(haze))


def _kerley_lines(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    draws = rng.random((_KERLEY_LINES, 4))
    count = int(2 + 22 * min(level * 1.2, 1.0))
    height, length, slope, inset = draws[:count].T
    y = frame.apex_y + (0.66 + 0.38 * height) * frame.height_cm
    lateral, medial = frame.edges(y)
    x = lateral + (0.015 + 0.03 * inset) * (medial - lateral)
    span = frame.height_cm / 20.0 * (0.8 + 1.3 * length)
    ends = np.stack([x - frame.sign * span, y + 0.25 * span * (slope - 0.6)], axis=1)
    points = np.stack([np.stack([x, y], axis=1), ends], axis=1).reshape(-1, 2)
    chord = stroke_chord(frame.x_cm, frame.y_cm, points, 0.055, starts=np.arange(0, 2 * count, 2))
    # A septum is a sheet about a centimetre deep seen on edge, not a thread.
    return (0.05 + 0.07 * level) * chord / 0.11 * frame.extent


def _cuffs(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    """Bronchi near the hilum seen on end, their walls thickened: small rings."""
    draws, hilum = rng.random((3, 4)), frame.hilum()
    first, second, size, strength = draws.T[:, :, None]
    turn, radius = np.linspace(0, 2 * np.pi, 13), 0.28 + 0.16 * size
    x = hilum[0] + frame.sign * (0.4 + 2.0 * first) + radius * np.cos(turn)
    y = hilum[1] + 4 * (second - 0.5) + radius * np.sin(turn)
    rings = np.stack([x, y], axis=2).reshape(-1, 2)
    walls = np.repeat((0.04 + 0.07 * strength) * np.sqrt(0.5 + level), 13)
    chord = stroke_chord(frame.x_cm, frame.y_cm, rings, walls, starts=np.arange(0, 39, 13))
    return 2.5 * level * frame.scene.mu_soft * chord * frame.extent


def _covid_of_lung(
    frame: LungFrame, instance: FindingInstance, level: float, rng: np.random.Generator
) -> FindingEffect:
    draws, seeds = rng.random((8, 5)), [noise_seed(rng) for _ in range(8)]
    clear = np.ones(frame.thickness.shape, dtype=np.float32)
    child = frame.height_cm / 20.0
    for index in range(1 + int(round(6 * min(level, 1.0)))):
        draw = draws[index]
        u, v = 0.72 + 0.25 * draw[0], 0.98 - 0.62 * draw[1] ** 1.4
        if instance.region is not None:
            _, _, v0, v1 = region_box(instance.region)
            v = v0 + draw[1] * (v1 - v0)
        radius = child * (1.1 + 1.6 * draw[2]) * (0.8 + 0.5 * level)
        clear *= 1 - soft_blob(
            frame.x_cm,
            frame.y_cm,
            centre=frame.point(u, v),
            radii=(radius * (1.0 + 0.7 * draw[3]), radius * 0.8),
            angle=np.pi * (0.35 + 0.3 * draw[4]),
            softness=0.55,
            irregularity=0.18,
            seed=seeds[index],
        )
    envelope = (1 - clear) * lung_presence(frame)
    smooth = (0.14 + 0.42 * level) * frame.mu_fill * envelope * np.minimum(frame.thickness, 6.5 * child)
    lines = 0.03 * (0.4 + level) * envelope * (lung_web(frame, noise_seed(rng), scale_cm=1.4) - 0.3)
    return frame.effect(smooth * np.clip(1 + 0.12 * lung_noise(frame, rng, 2.0), 0.3, 1.7) + lines, visible(smooth))


def _scar_bands(frame: LungFrame, level: float, rng: np.random.Generator, *, apical: bool) -> np.ndarray:
    draws, hilum = rng.random((7, 4)), frame.hilum()
    points, starts = [], []
    for index, (first, second, bend, near) in enumerate(draws[: 2 + int(5 * level)]):
        v = 0.06 + 0.26 * second if apical else 0.72 + 0.3 * second
        far = frame.point(0.3 + 0.65 * first, v)
        start = (
            far[0] + (hilum[0] - far[0]) * (0.35 + 0.6 * near),
            far[1] + (hilum[1] - far[1]) * (0.35 + 0.6 * near),
        )
        middle = ((far[0] + start[0]) / 2 + (bend - 0.5), (far[1] + start[1]) / 2 + 0.5 * (bend - 0.5))
        starts.append(3 * index)
        points += [far, middle, start]
    chord = stroke_chord(frame.x_cm, frame.y_cm, np.array(points), 0.09, starts=np.array(starts))
    return (0.05 + 0.12 * level) * chord / 0.18 * (frame.thickness > 0.3)
