"""Building blocks of lung opacities: lobes, clouds, what fills them, and the textures of lung."""

from __future__ import annotations

import numpy as np

from ..ontology import FindingInstance
from .placement import LungFrame, place, region_box, visible
from .scene import FindingEffect
from .strokes import branching_tree, stroke_chord
from .textures import fractal_noise, noise_seed, smoothstep, soft_blob


LOBES = ("upper_lobe", "middle_lobe", "lower_lobe")


def lobe_envelope(frame: LungFrame, lobe: str, rng: np.random.Generator) -> np.ndarray:
    """
    Where a lobe projects on the frontal image: sharp at a fissure that the beam grazes, fading elsewhere.

    Args:
        frame (`LungFrame`): Lung.
        lobe (`str`): `"upper_lobe"`, `"middle_lobe"` (on the left the lingula) or `"lower_lobe"`.
        rng (`np.random.Generator`): Three draws.

    Returns:
        `np.ndarray` of float32: 0 to 1.
    """
    fissure, slope, sharp = rng.uniform(0.46, 0.56), rng.uniform(-0.05, 0.09), rng.uniform(0.008, 0.03)
    if frame.side == "left":  # no minor fissure: the lower edge of the upper lobe fades
        sharp += 0.1
    edge = fissure + slope * (frame.u - 0.5) + 0.03 * np.sin(2.6 * frame.u)
    inside = lung_presence(frame)
    if lobe == "upper_lobe":
        return smoothstep(frame.v, edge + sharp, edge - sharp) * inside
    if lobe == "middle_lobe":
        lateral = smoothstep(frame.u, 1.1, 0.25)
        return smoothstep(frame.v, edge - sharp, edge + sharp) * smoothstep(frame.v, 1.02, 0.7) * lateral * inside
    return smoothstep(frame.v, edge - 0.12, edge + 0.2) * (0.55 + 0.45 * smoothstep(frame.v, 0.5, 0.85)) * inside


def patches(
    frame: LungFrame,
    instance: FindingInstance,
    level: float,
    rng: np.random.Generator,
    *,
    count: int,
    softness: float = 0.5,
    growth: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Scatter soft clouds round one point of the instance's region.

    Args:
        frame (`LungFrame`): Lung.
        instance (`FindingInstance`): Its region says where, its `size_cm` (if any) how wide the main cloud is.
        level (`float`): Severity from 0 to 1; moves the size.
        rng (`np.random.Generator`): As many draws whatever `count` is.
        count (`int`): Clouds, at most 6.
        softness (`float`, *optional*, defaults to 0.5): Width of their margins.
        growth (`float`, *optional*, defaults to 1.0): Factor on their radii.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Envelope from 0 to 1, and depth of lung involved in cm.
    """
    size = frame.height_cm / 20.0
    draws = rng.random((6, 6))  # always as many draws, however many patches
    first = place(frame, instance.region, rng, fallback="lung")
    seeds = [noise_seed(rng) for _ in range(6)]
    clear = np.ones(frame.thickness.shape, dtype=np.float32)
    depth = 0.0
    for index in range(min(count, 6)):
        draw = draws[index]
        radius = growth * size * (1.3 + 2.1 * level) * (0.6 + 0.8 * draw[0])
        if instance.size_cm is not None:
            radius = instance.size_cm / 2 * (1.0 if index == 0 else 0.6)
        reach = 0.0 if index == 0 else radius * (0.8 + 1.2 * draw[1])
        turn = 2 * np.pi * draw[2]
        centre = (first[0] + reach * np.cos(turn), first[1] + 1.2 * reach * np.sin(turn))
        radii = (radius, radius * (0.65 + 0.5 * draw[3]))
        clear *= 1 - soft_blob(
            frame.x_cm,
            frame.y_cm,
            centre=centre,
            radii=radii,
            angle=np.pi * draw[4],
            softness=softness,
            irregularity=0.17,
            seed=seeds[index],
        )
        depth = max(depth, 2.2 * radius)
    _, _, v0, v1 = region_box(instance.region)
    zone = smoothstep(frame.v, v0 - 0.16, v0 - 0.02) * smoothstep(frame.v, v1 + 0.16, v1 + 0.02)
    return (1 - clear) * zone * lung_presence(frame), np.minimum(frame.thickness, depth)


def filled(
    frame: LungFrame,
    envelope: np.ndarray,
    depth: np.ndarray,
    fill: float,
    rng: np.random.Generator,
    *,
    bronchograms: bool,
) -> FindingEffect:
    """Fill `envelope` with fluid, unevenly, with dark branching airways where enough air is gone for them to show."""
    grain = 1 + 0.09 * lung_noise(frame, rng, 2.6)
    smooth = fill * frame.mu_fill * depth * envelope
    tree = noise_seed(rng)
    attenuation = frame.flood(np.minimum(fill * depth * envelope * grain, 0.97 * frame.thickness))
    if bronchograms:
        bronchi = airways(frame, envelope, np.random.default_rng(tree))
        attenuation -= np.minimum(frame.scene.mu_soft * fill * bronchi * envelope, 0.6 * smooth)
    return frame.effect(attenuation, visible(smooth))


def airways(frame: LungFrame, envelope: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Path length in cm through bronchi that fork from the hilum into the centre of `envelope`."""
    hilum = frame.hilum()
    weight = float(envelope.sum()) + 1e-6
    x = float((envelope.sum(axis=0) * frame.x_cm).sum()) / weight
    y = float((envelope.sum(axis=1) * frame.y_cm).sum()) / weight
    length, child = np.hypot(x - hilum[0], y - hilum[1]), frame.height_cm / 20.0
    direction = np.arctan2(y - hilum[1], x - hilum[0])
    points, radii, starts = branching_tree(
        hilum, direction, rng, radius_cm=0.34 * child, length_cm=0.55 * length + 1.0, generations=5, spread=0.42
    )
    return stroke_chord(frame.x_cm, frame.y_cm, points, radii, starts=starts)


def lung_presence(frame: LungFrame) -> np.ndarray:
    """1 where there is lung to change; 0 outside, without an edge of its own where the lung thins out."""
    return np.minimum(frame.thickness / 1.0, 1.0)


def lung_noise(frame: LungFrame, rng: np.random.Generator, scale_cm: float) -> np.ndarray:
    """Unevenness over the window, mean 0 and standard deviation 1; one draw."""
    return fractal_noise(frame.x_cm, frame.y_cm, seed=noise_seed(rng), scale_cm=scale_cm, octaves=3, persistence=0.45)


def lung_web(frame: LungFrame, seed: int, *, scale_cm: float) -> np.ndarray:
    """Reticular pattern over the window, 0 to 1."""
    return fractal_noise(frame.x_cm, frame.y_cm, seed=seed, scale_cm=scale_cm, octaves=2, ridged=True)


def lung_blob(
    frame: LungFrame,
    centre: tuple[float, float],
    radii: tuple[float, float],
    rng: np.random.Generator,
    *,
    softness: float,
) -> np.ndarray:
    """One frayed ellipse of random orientation, 0 to 1."""
    return soft_blob(
        frame.x_cm,
        frame.y_cm,
        centre=centre,
        radii=radii,
        angle=rng.uniform(0, np.pi),
        softness=softness,
        irregularity=0.17,
        seed=noise_seed(rng),
    )
