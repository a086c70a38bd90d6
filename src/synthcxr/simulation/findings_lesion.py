"""Focal lesions of the lung: nodule, mass, cavity, granuloma, and tuberculosis, which mixes them."""

from __future__ import annotations

import numpy as np

from ..ontology import FindingInstance
from .opacities import filled, patches
from .placement import LungFrame, combine, place, resolve_side, severity_level, visible, window_around
from .scene import FindingEffect, Scene
from .strokes import stroke_chord
from .textures import fractal_noise, lobed_distance, noise_seed, smoothstep, soft_blob, sphere_chord


def nodule(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """A round or slightly lobed body of soft tissue up to 3 cm; subtle ones are small and less dense than tissue."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    centre = place(frame, instance.region, rng)
    diameter = instance.size_cm or (0.65 + 2.2 * level) * _child(frame)
    density = np.clip(0.5 + 0.6 * level + rng.normal(0, 0.08), 0.35, 1.1)
    shape = _Rim(rng, roughness=0.07)
    return _solid(frame, centre, diameter, density, shape, edge=0.16)


def mass(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """A body of more than 3 cm, lobulated or with spicules, often near the hilum."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    central = rng.random() < 0.35 and instance.region is None
    centre = place(frame, instance.region, rng, fallback="hilum" if central else "lung")
    diameter = instance.size_cm or (3.1 + 5.0 * level) * _child(frame)
    spiculated = rng.random() < 0.45
    shape = _Rim(rng, roughness=0.085)
    effect = _solid(frame, centre, diameter, 0.65 + 0.35 * level, shape, edge=0.14)
    spicules = _spicules(frame, centre, 0.5 * diameter, rng)
    if spiculated:
        effect.attenuation[frame.window] += spicules
    return effect


def cavity(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """A wall round air, sometimes with a fluid level; haze around it."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    centre = place(frame, instance.region, rng, fallback="upper_zone" if rng.random() < 0.7 else "lung")
    diameter = instance.size_cm or (1.6 + 4.2 * level) * _child(frame)
    return _cavity(frame, centre, diameter, level, rng)


def granuloma(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """A few millimetres of calcium: small, dense, slightly irregular; in a third of cases two or three together."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    centre, draws = place(frame, instance.region, rng), rng.random((3, 4))
    count = 1 if rng.random() < 0.67 else 2 + int(draws[0, 0] < 0.4)
    diameter = instance.size_cm or (0.32 + 0.5 * level) * np.sqrt(_child(frame))
    points, starts, radii = [], [], []
    for index, (turn, reach, size, shape) in enumerate(draws[:count]):
        offset = index * diameter * (1.2 + 1.5 * reach)
        x, y = centre[0] + offset * np.cos(6.28 * turn), centre[1] + offset * np.sin(6.28 * turn)
        radius = 0.5 * diameter * (1.0 if index == 0 else 0.5 + 0.4 * size)
        starts.append(3 * index)
        bend = 0.5 * radius
        points += [(x - bend, y), (x, y + bend * (shape - 0.5)), (x + bend, y + bend * (turn - 0.5))]
        radii += [0.75 * radius, radius, 0.7 * radius]
    chord = stroke_chord(frame.x_cm, frame.y_cm, np.array(points), np.array(radii), starts=np.array(starts))
    attenuation = (scene.mu_soft + (0.5 + 1.2 * level) * scene.mu_bone) * chord
    return frame.effect(attenuation, visible(attenuation, share=0.12))


def tuberculosis(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Patches in the upper zone, cavities in them when advanced, a large hilum, calcified specks when old."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level, old = severity_level(instance, rng), rng.random()
    where = instance if instance.region else _with_region(instance, f"{frame.side}_upper_zone")
    envelope, depth = patches(frame, where, level, rng, count=2 + int(3 * level), softness=0.6, growth=0.8)
    parts = [filled(frame, envelope, depth, 0.2 + 0.45 * level, rng, bronchograms=False)]
    holes = [(place(frame, where.region, rng), 1.2 + 1.6 * rng.random(), noise_seed(rng)) for _ in range(2)]
    for index, (centre, diameter, seed) in enumerate(holes):
        if level > 0.45 + 0.3 * index:
            size = diameter * _child(frame) * (0.6 + level)
            parts.append(_cavity(frame, centre, size, level, np.random.default_rng(seed)))
    hilar = _hilar_nodes(frame, level * rng.uniform(0.3, 1.0), rng)
    parts.append(frame.effect(hilar, visible(hilar) & (level > 0.3)))
    specks = _specks(frame, where, rng)
    if old > 0.6:
        parts[0].attenuation[frame.window] += specks
    return combine(*parts)


class _Rim:
    """Random outline of a lesion; always eleven draws."""

    def __init__(self, rng: np.random.Generator, *, roughness: float) -> None:
        self.amplitudes = roughness * rng.normal(size=4) / np.array([1.0, 1.2, 1.7, 2.2])
        self.phases = rng.random(4) * 2 * np.pi
        self.aspect, self.angle, self.seed = 0.8 + 0.2 * rng.random(), np.pi * rng.random(), noise_seed(rng)

    def distance(self, x_cm: np.ndarray, y_cm: np.ndarray, centre: tuple[float, float], radius: float) -> np.ndarray:
        distance = lobed_distance(
            x_cm,
            y_cm,
            centre=centre,
            radii=(radius, radius * self.aspect),
            angle=self.angle,
            amplitudes=self.amplitudes,
            phases=self.phases,
        )
        return distance + 0.05 * fractal_noise(x_cm, y_cm, seed=self.seed, scale_cm=0.6 * radius, octaves=2)


def _solid(
    frame: LungFrame, centre: tuple[float, float], diameter: float, density: float, shape: _Rim, *, edge: float
) -> FindingEffect:
    window = _box(frame.scene, centre, 0.9 * diameter)
    x_cm, y_cm = frame.scene.x_cm[window[1]], frame.scene.y_cm[window[0]]
    thickness = frame.scene.lung_thickness[frame.side][window]
    distance = shape.distance(x_cm, y_cm, centre, 0.5 * diameter)
    # The profile of a ball, with the last part of its rim dissolved into the lung.
    chord = sphere_chord(distance / (1 + edge), diameter) * smoothstep(distance, 1 + edge, 1 - 2 * edge)
    chord = np.minimum(chord * density, thickness)
    attenuation = frame.mu_fill * chord
    seen = visible(attenuation, share=0.15)
    return frame.effect(attenuation, seen, window=window)


def _spicules(frame: LungFrame, centre: tuple[float, float], radius: float, rng: np.random.Generator) -> np.ndarray:
    draws = rng.random((16, 3))
    points, radii, starts = [], [], []
    for index, (turn, length, bend) in enumerate(draws):
        angle = 2 * np.pi * (index + 0.8 * turn) / len(draws)
        inner, outer = 0.7 * radius, radius * (1.15 + 0.7 * length)
        starts.append(2 * index)
        points.append((centre[0] + inner * np.cos(angle), centre[1] + inner * np.sin(angle)))
        angle += 0.3 * (bend - 0.5)
        points.append((centre[0] + outer * np.cos(angle), centre[1] + outer * np.sin(angle)))
        radii += [0.16, 0.03]
    chord = stroke_chord(frame.x_cm, frame.y_cm, np.array(points), np.array(radii), starts=np.array(starts))
    return 3.0 * frame.mu_fill * chord * frame.extent  # strands of fibrous tissue are sheets, deeper than wide


def _cavity(
    frame: LungFrame, centre: tuple[float, float], diameter: float, level: float, rng: np.random.Generator
) -> FindingEffect:
    scene = frame.scene
    outer_rim, inner_rim = _Rim(rng, roughness=0.08), _Rim(rng, roughness=0.1)
    wall, offset = rng.uniform(0.12, 0.34), rng.normal(0, 0.05, size=2) * diameter
    fluid, height, seed = rng.random() < 0.35, rng.uniform(0.1, 0.6), noise_seed(rng)
    window = _box(scene, centre, 1.1 * diameter)
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    thickness = scene.lung_thickness[frame.side][window]
    radius = 0.5 * diameter
    outer = outer_rim.distance(x_cm, y_cm, centre, radius)
    inner = inner_rim.distance(x_cm, y_cm, (centre[0] + offset[0], centre[1] + offset[1]), radius * (1 - wall))
    body = np.minimum(sphere_chord(outer, diameter), thickness)
    hole = np.minimum(sphere_chord(inner, diameter * (1 - wall)), body)
    if fluid and not scene.geometry.supine:
        below = smoothstep(y_cm[:, None] - centre[1] - height * radius, -0.04, 0.04)
        hole = hole * (1 - below)
    density = 0.55 + 0.45 * level
    halo = soft_blob(x_cm, y_cm, centre=centre, radii=(1.25 * radius,) * 2, softness=0.5, irregularity=0.15, seed=seed)
    haze = 0.15 * level * halo * np.minimum(thickness, diameter)
    attenuation = frame.mu_fill * (density * (body - hole) + haze) - scene.mu_lung[frame.side] * hole * density
    seen = (outer < 1.0) | visible(frame.mu_fill * haze, share=0.5)
    return frame.effect(attenuation.astype(np.float32), seen, window=window)


def _hilar_nodes(frame: LungFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    hilum, draws = frame.hilum(), rng.random((3, 3))
    chord = np.zeros_like(frame.thickness)
    for first, second, size in draws:
        radius = (0.6 + 0.5 * size + 0.7 * level) * _child(frame)
        shape = _Rim(rng, roughness=0.06)
        where = (hilum[0] + frame.sign * 1.4 * (first - 0.2), hilum[1] + 2.4 * (second - 0.5))
        chord = np.maximum(chord, sphere_chord(shape.distance(frame.x_cm, frame.y_cm, where, radius), 2 * radius))
    return frame.mu_fill * level * np.minimum(chord, frame.thickness)


def _specks(frame: LungFrame, instance: FindingInstance, rng: np.random.Generator) -> np.ndarray:
    draws = rng.random((5, 2))
    points, radii = [], []
    for size, shape in draws:
        x, y = place(frame, instance.region, rng)
        points += [(x, y), (x + 0.15 * shape, y + 0.1)]
        radii += [0.09 + 0.1 * size] * 2
    chord = stroke_chord(
        frame.x_cm, frame.y_cm, np.array(points), np.array(radii), starts=np.arange(0, len(points), 2)
    )
    return (frame.scene.mu_soft + frame.scene.mu_bone) * chord * frame.extent


def _with_region(instance: FindingInstance, region: str) -> FindingInstance:
    return FindingInstance(
        instance.finding, side=instance.side, region=region, severity=instance.severity, size_cm=instance.size_cm
    )


def _box(scene: Scene, centre: tuple[float, float], reach: float) -> tuple[slice, slice]:
    return window_around(scene, (centre[0] - reach, centre[0] + reach), (centre[1] - reach, centre[1] + reach))


def _child(frame: LungFrame) -> float:
    """Size of the lung relative to an adult's."""
    return frame.height_cm / 20.0
