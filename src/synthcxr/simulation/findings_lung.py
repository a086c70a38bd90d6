"""Opacities of one lung: consolidation, pneumonia, infiltration."""

from __future__ import annotations

import numpy as np

from ..ontology import FindingInstance
from .opacities import LOBES, airways, filled, lobe_envelope, lung_blob, lung_noise, lung_presence, lung_web, patches
from .placement import LungFrame, region_box, region_stem, resolve_side, severity_level, visible
from .scene import FindingEffect, Scene
from .textures import noise_seed, smoothstep


def consolidation(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """Alveoli filled with fluid: a lobe with its fissure, patches, or a peripheral band, with air bronchograms."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    lobe = _lobe(instance, rng)
    kind = rng.random()
    if instance.size_cm is None and lobe is not None and (kind < 0.45 or region_stem(instance.region) in LOBES):
        envelope, depth = _lobar(frame, instance, lobe, level, rng)
    elif kind < 0.8 or instance.size_cm is not None:
        envelope, depth = patches(frame, instance, level, rng, count=1 + int(3 * level))
    else:
        envelope, depth = _peripheral(frame, instance, level, rng)
    fill = 0.3 + 0.65 * level
    return filled(frame, envelope, depth, fill, rng, bronchograms=fill > 0.45)


def pneumonia(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Softer and patchier than a consolidation: ill-defined clouds, in a third of cases a whole lobe."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    lobe = _lobe(instance, rng)
    lobar = rng.random() < 0.33
    if lobar and lobe is not None and instance.size_cm is None:
        envelope, depth = _lobar(frame, instance, lobe, level, rng)
    else:
        envelope, depth = patches(frame, instance, level, rng, count=1 + int(4 * level), softness=0.6)
    streaks = _peribronchial_streaks(frame, envelope, 0.03 + 0.05 * level, rng)
    effect = filled(frame, envelope, depth, 0.18 + 0.55 * level, rng, bronchograms=level > 0.6)
    effect.attenuation[frame.window] += streaks
    return effect


def infiltration(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Hazy and reticular change without borders."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    level = severity_level(instance, rng)
    envelope, depth = patches(frame, instance, level, rng, count=2 + int(2 * level), softness=0.9, growth=1.35)
    web = lung_web(frame, noise_seed(rng), scale_cm=1.3)
    haze = (0.06 + 0.20 * level) * frame.mu_fill * envelope * depth
    lines = (0.05 + 0.13 * level) * envelope * (web - 0.3) * np.minimum(frame.thickness / 5, 1)
    return frame.effect(haze + lines, visible(haze + 0.25 * envelope * (0.05 + 0.13 * level)))


def _lobe(instance: FindingInstance, rng: np.random.Generator) -> str | None:
    """The lobe that the region stands for; none for a zone that no lobe fills. One draw."""
    stem, choice = region_stem(instance.region), rng.random()
    if stem in LOBES:
        return stem
    if stem in ("upper_zone", "apex"):
        return "upper_lobe"
    if stem in ("lower_zone", "base", "costophrenic_angle", "hemidiaphragm"):
        return "lower_lobe" if choice < 0.75 else "middle_lobe"
    return None if stem == "mid_zone" else LOBES[int(3 * choice)]


def _lobar(
    frame: LungFrame, instance: FindingInstance, lobe: str, level: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    envelope = lobe_envelope(frame, lobe, rng)
    u0, u1, v0, v1 = region_box(instance.region, lobe)
    # A small one fills a segment of the lobe only.
    centre = frame.point(rng.uniform(u0, u1), rng.uniform(v0 + 0.05, v1))
    radius = (0.22 + 0.75 * level) * 0.5 * frame.height_cm
    segment = lung_blob(frame, centre, (radius, radius * rng.uniform(0.6, 1.0)), rng, softness=0.45)
    return envelope * segment, np.minimum(frame.thickness, (0.35 + 0.5 * level) * frame.height_cm * 0.5)


def _peripheral(
    frame: LungFrame, instance: FindingInstance, level: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    _, v = region_box(instance.region)[:2], region_box(instance.region)[2:]
    centre, half = rng.uniform(*v), 0.1 + 0.2 * level
    wave = 0.08 * lung_noise(frame, rng, 3.0)
    rim = smoothstep(frame.u + wave, 0.85 - 0.35 * level, 0.98)
    band = smoothstep(np.abs(frame.v - centre) + wave, half + 0.1, half - 0.06)
    return rim * band * lung_presence(frame), np.minimum(frame.thickness, 7.0)


def _peribronchial_streaks(
    frame: LungFrame, envelope: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    bronchi = airways(frame, envelope, rng)
    return strength * np.minimum(bronchi / 0.3, 1.0) * (0.25 + 0.75 * envelope) * (envelope > 0.05)
