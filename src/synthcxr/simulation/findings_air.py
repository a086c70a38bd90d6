"""Air where none belongs: under the diaphragm and in the chest wall."""

from __future__ import annotations

import numpy as np

from ..ontology import FindingInstance
from .placement import SIGN, LungFrame, combine, resolve_side, severity_level, visible, window_around, windowed_effect
from .scene import FindingEffect, Scene
from .textures import fractal_noise, noise_seed, smoothstep


def pneumoperitoneum(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """A crescent of air between dome and liver; under both domes when there is much, hardly any when supine."""
    level = severity_level(instance, rng)
    main = side if side in SIGN else ("right" if rng.random() < 0.8 else "left")
    seeds = [int(rng.integers(0, 2**63 - 1)) for _ in range(2)]
    effects = [_crescent(scene, main, level, np.random.default_rng(seeds[0]))]
    if side is None and level > 0.6:
        other = "left" if main == "right" else "right"
        effects.append(_crescent(scene, other, 0.7 * level, np.random.default_rng(seeds[1])))
    return combine(*effects)


def subcutaneous_emphysema(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """Streaks of air between the muscles of the chest wall, from the side of the chest to the neck."""
    side = resolve_side(instance, side, rng)
    level = severity_level(instance, rng)
    frame, sign = LungFrame(scene, side), SIGN[side]
    centre, height = rng.uniform(0.1, 0.55), (0.2 + 0.55 * level) * frame.height_cm
    pectoral, fan, seed = rng.random(), rng.uniform(0.5, 0.9), noise_seed(rng)
    y_middle = frame.apex_y + centre * frame.height_cm
    edge = scene.landmarks[f"{side}_costophrenic"][0]
    window = window_around(
        scene,
        (min(0.15 * edge, 2.2 * edge), max(0.15 * edge, 2.2 * edge)),
        (y_middle - 1.4 * height, y_middle + 1.4 * height),
    )
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    lateral, _ = frame.edges(y_cm)
    outside = sign * (x_cm[None, :] - lateral[:, None])
    wall = smoothstep(outside, -0.2, 0.5) * smoothstep(outside, 2.2 + 3.5 * level, 0.8)
    chest = 0.55 * smoothstep(outside, -7.0, -1.0) * smoothstep(outside, 1.0, -0.5) * (pectoral * level > 0.3)
    zone = (wall + chest) * smoothstep(np.abs(y_cm - y_middle), height, 0.4 * height)[:, None]
    zone = zone * smoothstep(scene.body_cm[window], 1.5, 5.0)
    streaks = _streaks(x_cm, y_cm, seed, angle=sign * fan * 1.57)
    patches = 0.5 + 0.5 * fractal_noise(x_cm, y_cm, seed=seed + 9, scale_cm=3.0, octaves=2)
    smooth = scene.mu_soft * (0.5 + 3.5 * level) * zone
    attenuation = -smooth * streaks * np.clip(patches, 0.15, 1.5)
    return windowed_effect(scene, window, attenuation.astype(np.float32), visible(smooth, share=0.45))


def _streaks(x_cm: np.ndarray, y_cm: np.ndarray, seed: int, *, angle: float) -> np.ndarray:
    fibres = fractal_noise(x_cm, y_cm, seed=seed, scale_cm=1.0, octaves=2, stretch=5.0, angle=angle)
    bubbles = fractal_noise(x_cm, y_cm, seed=seed + 3, scale_cm=1.1, octaves=2)
    return np.clip(0.35 + 0.75 * fibres + 0.25 * bubbles, 0.0, 2.0)


def _crescent(scene: Scene, side: str, level: float, rng: np.random.Generator) -> FindingEffect:
    child = scene.geometry.half_width_cm / 13.8
    dome_x, dome_y = scene.landmarks[f"{side}_dome"]
    offset, lean, thickness = rng.uniform(-1.0, 1.5), rng.uniform(-0.3, 0.3), rng.uniform(0.22, 0.4)
    seed = noise_seed(rng)
    half = child * (2.2 + 3.6 * level)
    height = child * (0.25 + 2.2 * level**1.4) * (0.5 if scene.geometry.supine else 1.0)
    centre = dome_x + SIGN[side] * offset * child
    window = window_around(scene, (centre - half, centre + half), (dome_y - 1.0, dome_y + height + 4.0))
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    known = np.isfinite(scene.dome[side])
    roof = np.interp(x_cm, scene.x_cm[known], scene.dome[side][known]) + thickness * child
    t = (x_cm - centre) / half
    wave = fractal_noise(x_cm, np.zeros(2), seed=seed, scale_cm=4.0, octaves=1)[0]
    drop = height * np.clip(1 - t * t, 0, 1) * (1 + lean * t + 0.08 * wave)
    depth_y = y_cm[:, None] - roof[None, :]
    soft = 0.16 * child
    inside = smoothstep(depth_y, -soft, soft) * smoothstep(depth_y - drop[None, :], soft, -soft)
    # The bubble is a lens: as deep as it is wide near the top of the dome, thin towards its rim.
    chord = child * (1.6 + 6.5 * level) * np.sqrt(np.clip(1 - t * t, 0, 1))[None, :] * inside
    attenuation = -np.minimum(scene.mu_soft * chord, 0.45 * scene.attenuation[window])
    return windowed_effect(scene, window, attenuation.astype(np.float32), visible(attenuation))
