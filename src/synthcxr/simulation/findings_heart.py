"""Heart and mediastinum: wide silhouettes live in the geometry, a hiatal hernia is added behind the heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ontology import FindingInstance
from .placement import severity_level, visible, window_around, windowed_effect
from .scene import FindingEffect, Geometry, Scene
from .textures import elliptic_distance, fractal_noise, noise_seed, smoothstep, sphere_chord


_WIDEST_NORMAL = 0.5  # cardiothoracic ratio


def cardiomegaly(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """The heart itself, which the geometry has made wide."""
    return FindingEffect(np.zeros(scene.heart_mask.shape, dtype=np.float32), scene.heart_mask.copy())


def deform_cardiomegaly(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """Cardiothoracic ratio from just above normal to 0.7, whatever the patient's own was; a globular apex."""
    level, rounder = severity_level(instance, rng), rng.uniform(0.0, 1.0)
    start = max(geometry.cardiothoracic_ratio, _WIDEST_NORMAL)
    # The ratio of an AP view is larger to begin with, and so is what counts as abnormal there.
    ratio = start + 0.02 + 0.17 * level * (1 if geometry.view == "PA" else 0.9)
    return replace(
        geometry,
        cardiothoracic_ratio=float(min(ratio, 0.74)),
        heart_height=geometry.heart_height + 0.1 * rounder * level,
        heart_offset=geometry.heart_offset * (1 - 0.15 * rounder * level),
    )


def enlarged_cardiomediastinum(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """The silhouette between the lungs, which the geometry has made wide."""
    right, left = scene.lung_mask["right"], scene.lung_mask["left"]
    columns = np.arange(scene.image_size)[None, :]
    inner = scene.image_size - right[:, ::-1].argmax(axis=1)[:, None]  # first column after the right lung
    outer = left.argmax(axis=1)[:, None]
    rows = right.any(axis=1) & left.any(axis=1) & (scene.y_cm < scene.landmarks["heart"][1])
    mask = rows[:, None] & (columns >= inner) & (columns < outer)
    return FindingEffect(np.zeros(mask.shape, dtype=np.float32), mask | scene.heart_mask)


def deform_enlarged_cardiomediastinum(
    geometry: Geometry, instance: FindingInstance, rng: np.random.Generator
) -> Geometry:
    """A wide upper mediastinum and a heart at the upper end of normal or above."""
    level = severity_level(instance, rng)
    return replace(
        geometry,
        mediastinal_width_cm=geometry.mediastinal_width_cm * (1.15 + 0.5 * level),
        cardiothoracic_ratio=float(min(geometry.cardiothoracic_ratio + 0.02 + 0.1 * level, 0.68)),
    )


def aortic_enlargement(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """The aortic arch, which the geometry has made large."""
    radius = 1.08 * scene.geometry.aortic_knob_radius_cm
    distance = elliptic_distance(
        scene.x_cm, scene.y_cm, centre=scene.landmarks["aortic_knob"], radii=(radius, radius * 1.1)
    )
    return FindingEffect(np.zeros(distance.shape, dtype=np.float32), distance < 1)


def deform_aortic_enlargement(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """A large knob and an unfolded descending aorta."""
    level, unfolding = severity_level(instance, rng), rng.uniform(0.5, 1.2)
    return replace(
        geometry,
        aortic_knob_radius_cm=float(min(geometry.aortic_knob_radius_cm * (1.2 + 0.65 * level), 3.6)),
        aortic_unfolding_cm=geometry.aortic_unfolding_cm + 1.4 * level * unfolding,
        mediastinal_width_cm=geometry.mediastinal_width_cm * (1 + 0.1 * level),
    )


def hernia(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """Stomach above the diaphragm: a round shadow behind the heart, with air and a fluid level when upright."""
    level = severity_level(instance, rng)
    junction, child = scene.landmarks["gastro_oesophageal_junction"], scene.geometry.half_width_cm / 13.8
    shift, aspect, air, height = rng.uniform(-0.3, 0.6), rng.uniform(0.75, 1.1), rng.random(), rng.uniform(-0.5, 0.15)
    seed = noise_seed(rng)
    radius = child * (1.5 + 3.4 * level)
    centre = (junction[0] + shift * radius, junction[1] - (0.35 + 0.45 * level) * radius)
    reach = 1.4 * radius
    window = window_around(scene, (centre[0] - reach, centre[0] + reach), (centre[1] - reach, centre[1] + reach))
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    distance = elliptic_distance(x_cm, y_cm, centre=centre, radii=(radius, radius * aspect))
    distance += 0.03 * fractal_noise(x_cm, y_cm, seed=seed, scale_cm=3.5, octaves=2)
    body = sphere_chord(distance, 1.8 * radius)
    # Behind the heart the sac takes the room of lung and fat.
    gain = 0.75 * (scene.mu_soft - scene.mu_lung["left"]) * body
    attenuation = gain * smoothstep(distance, 1.0, 0.9)
    if air < 0.75:
        wall = distance / (1 - 0.35 / radius)
        pocket = np.minimum(sphere_chord(wall, 1.8 * radius), body)
        level_y = centre[1] + height * radius * aspect
        if not scene.geometry.supine:
            pocket = pocket * smoothstep(y_cm - level_y, 0.05, -0.05)[:, None]
        attenuation = attenuation - scene.mu_soft * (0.6 + 0.3 * air) * pocket
    above = y_cm[:, None] < junction[1] + 0.3 * radius
    seen = (distance < 1.0) & above & (visible(gain) | (np.abs(attenuation) > 0.04))
    return windowed_effect(scene, window, attenuation.astype(np.float32), seen)
