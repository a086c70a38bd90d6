"""Lungs that hold too little or too much air: atelectasis, emphysema, hyperinflation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..ontology import FindingInstance
from .opacities import LOBES, lobe_envelope, lung_noise, lung_presence
from .placement import SIGN, LungFrame, combine, place, region_box, region_stem, resolve_side, severity_level, visible
from .scene import SIDES, FindingEffect, Geometry, Scene
from .strokes import stroke_chord
from .textures import noise_seed, smoothstep, soft_blob


_BASAL = ("lower_zone", "base", "lower_lobe", "costophrenic_angle", "hemidiaphragm", None)


def atelectasis(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Airless lung: plates above the dome, a crowded base or a collapsed lobe; volume loss is in the geometry."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    kind, seed = rng.random(), int(rng.integers(0, 2**63 - 1))
    stream = np.random.default_rng(seed)
    stem = region_stem(instance.region)
    collapse = _collapse_of(stem)
    if collapse is not None and level > 0.5 and kind < (0.85 if stem in LOBES else 0.5):
        attenuation = collapse(frame, level, stream)
        return frame.effect(attenuation, visible(attenuation))
    plates = _plates(frame, instance, level, stream)
    if kind > 0.75 and level < 0.5:
        return frame.effect(plates, visible(plates))
    haze = _crowded_base(frame, level, stream) if stem in _BASAL else _crowded_patch(frame, instance, level, stream)
    return frame.effect(plates + haze, visible(plates) | visible(haze, floor=0.06))


def deform_atelectasis(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Volume loss: the dome rises and the mediastinum comes to the side, unless both sides lose alike."""
    level, dome, pull = severity_level(instance, rng), rng.uniform(0.2, 1.0), rng.uniform(0.1, 1.0)
    sides = SIDES if instance.side == "bilateral" else (instance.side,) if instance.side in SIGN else ()
    for side in sides:
        field = f"{side}_dome_cm"
        geometry = replace(geometry, **{field: getattr(geometry, field) + 2.2 * level * dome})
    if len(sides) == 1:
        shift = SIGN[sides[0]] * 1.8 * max(level - 0.25, 0) * pull
        geometry = replace(geometry, mediastinal_shift_cm=geometry.mediastinal_shift_cm + shift)
    return geometry


def emphysema(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Destroyed lung: dark patches with few vessels, mostly high, and thin-walled bullae; the geometry is large."""
    level = severity_level(instance, rng)
    effects = []
    for each in SIDES:
        seed = int(rng.integers(0, 2**63 - 1))
        if side in (None, each):
            effects.append(_emphysema_of_lung(LungFrame(scene, each), instance, level, np.random.default_rng(seed)))
    return combine(*effects)


def hyperinflation(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """Too much air everywhere: all of it is in the geometry, so the lungs themselves are the visible extent."""
    severity_level(instance, rng)
    mask = np.zeros((scene.image_size, scene.image_size), dtype=bool)
    for each in SIDES:
        if side in (None, each):
            mask |= scene.lung_mask[each]
    return FindingEffect(np.zeros(mask.shape, dtype=np.float32), mask)


def deform_emphysema(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Hyperinflated, less dense, with thin vessels."""
    geometry = deform_hyperinflation(geometry, instance, rng)
    level = severity_level(instance, rng)
    return replace(
        geometry,
        lung_density_right=geometry.lung_density_right * (1 - 0.2 * level),
        lung_density_left=geometry.lung_density_left * (1 - 0.2 * level),
        vessel_gain_upper=geometry.vessel_gain_upper * (1 - 0.45 * level),
        vessel_gain_lower=geometry.vessel_gain_lower * (1 - 0.3 * level),
        hilum_gain=geometry.hilum_gain * (1 + 0.2 * level),
    )


def deform_hyperinflation(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Long lungs, low flat domes, a narrow upright heart, a deep chest."""
    level, stretch = severity_level(instance, rng), rng.uniform(0.7, 1.1)
    longer = geometry.lung_height_cm * (1 + 0.2 * level * stretch)
    return replace(
        geometry,
        lung_height_cm=longer,
        # The patient is taller in the image: keep the field round the lungs.
        field_cm=max(geometry.field_cm, (longer + 0.5 * geometry.dome_sag_cm + 1) / 0.88),
        dome_flattening=min(geometry.dome_flattening + 0.15 + 0.75 * level * stretch, 0.95),
        cardiothoracic_ratio=geometry.cardiothoracic_ratio * (1 - 0.17 * level),
        heart_tilt=max(geometry.heart_tilt * (1 + 0.3 * level), 0.1),
        body_thickness_cm=geometry.body_thickness_cm * (1 + 0.06 * level),
        lung_density_right=geometry.lung_density_right * (1 - 0.16 * level),
        lung_density_left=geometry.lung_density_left * (1 - 0.16 * level),
    )


def _plates(frame: LungFrame, instance: FindingInstance, level: float, rng: np.random.Generator) -> np.ndarray:
    child, draws = frame.height_cm / 20.0, rng.random((4, 6))
    _, _, v0, v1 = region_box(instance.region, "base")
    v0, v1 = (v0 - 0.12, v1 - 0.04) if region_stem(instance.region) in _BASAL else (v0, v1)
    points, radii, starts = [], [], []
    for where, height, length, slope, bend, width in draws[: 1 + int(2.6 * level)]:
        x, y = frame.point(0.2 + 0.45 * where, v0 + height * (v1 - v0))
        span = child * (2.6 + 2.6 * length + 3.0 * level)
        angle = frame.sign * (0.55 * slope - 0.2)
        radius = child * (0.12 + 0.1 * width + 0.12 * level)
        starts.append(len(points))
        for step in np.linspace(-0.5, 0.5, 9):
            sag = 0.7 * span * (bend - 0.45) * (0.25 - step * step)
            points.append((x + span * step * np.cos(angle), y + span * step * np.sin(angle) + sag))
            radii.append(radius * (1.0 - 1.4 * step * step))
    chord = stroke_chord(frame.x_cm, frame.y_cm, np.array(points), np.array(radii), starts=np.array(starts))
    # A plate is seen on edge: it is several centimetres deep, more or less in the beam's direction.
    depth = np.minimum(frame.thickness, (1.1 + 3.2 * level) * child)
    fuzzy = np.clip(0.8 + 0.35 * lung_noise(frame, rng, 1.8), 0.15, 1.4)
    return frame.mu_fill * depth * fuzzy * np.minimum(chord / (2 * child * (0.2 + 0.12 * level)), 1.2)


def _crowded_base(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    top, lean = rng.uniform(0.72, 0.84) - 0.14 * level, rng.uniform(-0.1, 0.12)
    wave = 0.05 * lung_noise(frame, rng, 3.5)
    zone = smoothstep(frame.v + wave + lean * (frame.u - 0.5), top, top + 0.28) * lung_presence(frame)
    grain = np.clip(1 + 0.12 * lung_noise(frame, rng, 2.2), 0.3, 1.7)
    return (0.08 + 0.55 * level) * frame.mu_fill * zone * grain * np.minimum(frame.thickness, 6.0)


def _crowded_patch(frame: LungFrame, instance: FindingInstance, level: float, rng: np.random.Generator) -> np.ndarray:
    """A subsegment without air: an oblong haze that points to the hilum."""
    x, y = place(frame, instance.region, rng, fallback="mid_zone")
    hilum, long, wide = frame.hilum(), rng.uniform(1.8, 3.0), rng.uniform(0.5, 0.9)
    size = frame.height_cm / 20.0 * (0.8 + 0.8 * level)
    blob = soft_blob(
        frame.x_cm,
        frame.y_cm,
        centre=(x, y),
        radii=(long * size, wide * size),
        angle=float(np.arctan2(y - hilum[1], x - hilum[0])),
        softness=0.6,
        irregularity=0.15,
        seed=noise_seed(rng),
    )
    return (0.15 + 0.6 * level) * frame.mu_fill * blob * lung_presence(frame) * np.minimum(frame.thickness, 3.5)


def _lower_collapse(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    """The lower lobe folds to a triangle against the spine, on the left behind the heart; its edge is straight."""
    reach, lean, blur = rng.uniform(0.3, 0.5) * (0.6 + 0.5 * level), rng.uniform(0.85, 1.15), rng.uniform(0.8, 2.2)
    bend = rng.uniform(-1.0, 0.4)
    midline = float(np.interp(frame.dome_y, frame.scene.y_cm, np.nan_to_num(frame.scene.midline)))
    lateral, _ = frame.edges(frame.dome_y)
    hilum = frame.hilum()
    foot = midline + (lateral - midline) * (0.35 + reach)
    slope = (foot - hilum[0]) / max(frame.dome_y - hilum[1], 1.0) * lean
    bow = bend * np.sin(np.pi * np.clip((frame.y_cm - hilum[1]) / max(frame.dome_y - hilum[1], 1.0), 0, 1))
    edge = hilum[0] + slope * (frame.y_cm - hilum[1]) + frame.sign * bow
    offset = frame.sign * (edge[:, None] - frame.x_cm[None, :]) + 0.3 * lung_noise(frame, rng, 4.0)
    inside = smoothstep(offset, -blur, blur) * smoothstep(frame.y_cm - hilum[1], 0.0, 4.0)[:, None]
    depth = np.minimum(frame.thickness, frame.height_cm * 0.4)
    return (0.35 + 0.6 * level) * frame.mu_fill * depth * inside * lung_presence(frame)


def _upper_collapse(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    """The upper lobe folds against apex and mediastinum under a fissure that has swung up (right) or fades (left)."""
    shift, blur = rng.uniform(-0.04, 0.04), 0.015 if frame.side == "right" else 0.12
    edge = 0.17 + shift + (1 - level) * 0.12 + 0.16 * np.maximum(1 - frame.u, 0) ** 1.5
    cone = smoothstep(frame.v, edge + blur, edge - blur)
    envelope = np.maximum(cone, 0.25 * lobe_envelope(frame, "upper_lobe", rng)) * lung_presence(frame)
    grain = np.clip(1 + 0.12 * lung_noise(frame, rng, 2.5), 0.5, 1.4)
    return (0.35 + 0.6 * level) * frame.mu_fill * envelope * grain * np.minimum(frame.thickness, 8.0)


def _middle_collapse(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    """The middle lobe, or the lingula, folds to a wedge that blurs the border of the heart."""
    centre, half, reach = rng.uniform(0.68, 0.78), rng.uniform(0.08, 0.14), rng.uniform(0.5, 0.8)
    offset = np.abs(frame.v + 0.1 * frame.u - centre) + 0.015 * lung_noise(frame, rng, 4.0)
    band = smoothstep(offset, half + 0.06, half - 0.04) * smoothstep(frame.u, reach, 0.0)
    return (0.3 + 0.6 * level) * frame.mu_fill * band * lung_presence(frame) * np.minimum(frame.thickness, 7.0)


def _collapse_of(stem: str | None) -> Callable[[LungFrame, float, np.random.Generator], np.ndarray] | None:
    """How the lobe of a region collapses; a mid zone holds none."""
    if stem in ("upper_lobe", "upper_zone", "apex"):
        return _upper_collapse
    if stem == "middle_lobe":
        return _middle_collapse
    return None if stem == "mid_zone" else _lower_collapse


def _emphysema_of_lung(
    frame: LungFrame, instance: FindingInstance, level: float, rng: np.random.Generator
) -> FindingEffect:
    scene, stem = frame.scene, region_stem(instance.region)
    patchy = 0.65 + 0.3 * lung_noise(frame, rng, 4.0)
    zone = smoothstep(frame.v, 0.75, 0.15) if stem == "upper_zone" else 0.6 + 0.4 * smoothstep(frame.v, 0.9, 0.2)
    lost = np.clip((0.1 + 0.5 * level) * (0.45 + 0.55 * zone) * patchy, 0, 0.85) * lung_presence(frame)
    vessels = frame.vessels
    mu = scene.mu_lung[frame.side]
    bullae, rings = np.zeros_like(frame.thickness), np.zeros_like(frame.thickness)
    draws, seeds = rng.random((5, 4)), [noise_seed(rng) for _ in range(5)]
    for (first, second, size, wall), seed in zip(draws[: int(5.99 * max(level - 0.3, 0) / 0.7)], seeds, strict=False):
        v = 0.08 + (0.3 if stem == "upper_zone" else 0.7) * second**1.5
        centre, radius = frame.point(0.15 + 0.75 * first, v), (0.8 + 1.8 * size) * frame.height_cm / 20.0
        radii = (radius, radius * (0.75 + 0.4 * wall))
        bullae = np.maximum(bullae, _bulla(frame, centre, radii, seed))
        turn = np.linspace(0.2 * np.pi, (1.0 + wall) * np.pi, 24)
        ring = np.stack([centre[0] + radii[0] * np.cos(turn), centre[1] + radii[1] * np.sin(turn)], axis=1)
        rings = np.maximum(rings, stroke_chord(frame.x_cm, frame.y_cm, ring, 0.05))
    attenuation = -mu * frame.thickness * np.maximum(lost, 0.55 * bullae) - vessels * np.maximum(lost, bullae)
    attenuation += 0.4 * rings * frame.extent
    seen = (zone > 0.25) & scene.lung_mask[frame.side][frame.window]
    return frame.effect(attenuation, seen)


def _bulla(frame: LungFrame, centre: tuple[float, float], radii: tuple[float, float], seed: int) -> np.ndarray:
    blob = soft_blob(frame.x_cm, frame.y_cm, centre=centre, radii=radii, softness=0.18, irregularity=0.03, seed=seed)
    return blob * lung_presence(frame)
