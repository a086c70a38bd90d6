"""Heart, great vessels, airways and stomach as ellipsoids and tubes."""

from __future__ import annotations

import numpy as np

from .scene import SIDES, Bone, Geometry
from .thorax import APEX_SHARE, clamp, dome_height, mediastinal_shift, midline, upper_half_widths
from .vessels import hilum


_AORTA_SHARE, _TRACHEA_SHARE = np.linspace(0, 1, 12), np.linspace(0, 1, 9)


def heart_solids(geometry: Geometry) -> np.ndarray:
    """
    Ventricles, right atrium and outflow tracts as ellipsoids `(3, 6)`.

    Their united width over that of the thorax is the cardiothoracic ratio.

    Columns: centre x and y, half axes, angle of the first axis, depth.
    """
    half = geometry.cardiothoracic_ratio * geometry.half_width_cm
    shift = mediastinal_shift(geometry) + _axis(geometry, 0.8)
    tilt, offset = geometry.heart_tilt, geometry.heart_offset
    depth = 0.50 * geometry.body_thickness_cm * (half / (0.46 * geometry.half_width_cm)) ** 0.5

    wide = 0.86 * half
    minor = min(geometry.heart_height, 0.85) * 1.02 * half
    major = np.sqrt(max(wide**2 - (minor * np.sin(tilt)) ** 2, minor**2)) / np.cos(tilt)
    scale = wide / np.hypot(major * np.cos(tilt), minor * np.sin(tilt))
    major, minor = major * scale, minor * scale
    high = np.hypot(major * np.sin(tilt), minor * np.cos(tilt))
    centre_x = (1 + offset) * half - wide
    floor = 0.5 * sum(dome_height(geometry, side, 0.3 * geometry.half_width_cm) for side in SIDES)
    centre_y = floor + 0.38 * half - high
    atrium_wide, atrium_high = 0.46 * half, 0.66 * half
    atrium = (-(1 - offset) * half + atrium_wide, floor - 0.34 * half)
    return np.array(
        [
            [centre_x + shift, centre_y, major, minor, tilt, depth],
            [atrium[0] + shift, atrium[1], atrium_wide, atrium_high, 0.0, 0.75 * depth],
            [centre_x - 0.26 * half + shift, centre_y - 0.50 * half, 0.60 * half, 0.80 * half, -0.25, 0.85 * depth],
        ]
    )


def great_vessel_solids(geometry: Geometry, heart: np.ndarray) -> dict[str, np.ndarray]:
    """Aortic arch, and ascending aorta, caval vein and pulmonary trunk above the heart, as ellipsoids."""
    height, size = geometry.lung_height_cm, geometry.half_width_cm / 13.8
    right, left = upper_half_widths(geometry)
    shift = 0.4 * mediastinal_shift(geometry)
    axis = _axis(geometry, 0.25)
    knob = geometry.aortic_knob_radius_cm
    knob_x = axis + left + 0.42 * knob - knob + 0.3 * size + shift
    trunk_edge = left + 0.35 * size + geometry.pulmonary_trunk_cm
    top = min(heart[0, 1] - 0.2 * heart[0, 3], 0.62 * height)
    trunk_y = 0.36 * height
    return {
        "aortic_arch": np.array([[knob_x, 0.205 * height, knob, 1.12 * knob, 0.2, 7.0 * size]]),
        "great_vessels": np.array(
            [
                [axis + shift + 0.35 * trunk_edge, trunk_y, 0.65 * trunk_edge, 0.10 * height, 0.25, 8.0 * size],
                [
                    axis + shift + 0.5 * size,
                    0.5 * (trunk_y + top) + 0.03 * height,
                    1.0 * trunk_edge,
                    0.20 * height,
                    -0.20,
                    7.0 * size,
                ],
                [axis + shift - 0.3 * size, 0.36 * height, right + 0.1 * size, 0.20 * height, 0.02, 8.5 * size],
            ]
        ),
    }


def descending_aorta(geometry: Geometry) -> Bone:
    """The tube from the arch down the left of the spine; a large unfolding bows it outwards."""
    height, size = geometry.lung_height_cm, geometry.half_width_cm / 13.8
    y = (0.22 + 0.93 * _AORTA_SHARE) * height
    bow = geometry.aortic_unfolding_cm * np.sin(np.pi * clamp((y / height - 0.2) / 0.8, 0, 1))
    radius = np.full(12, (0.80 * geometry.aortic_knob_radius_cm + 0.1) * size**0.2)
    x = midline(geometry, y) + 0.128 * geometry.half_width_cm - 0.5 * radius + 0.5 * size + bow
    return Bone(np.column_stack([x, y]), radius, 2 * radius, 0.0)


def airways(geometry: Geometry) -> list[Bone]:
    """Trachea and the two main bronchi, as tubes of air; the trachea comes first."""
    height, size = geometry.lung_height_cm, geometry.half_width_cm / 13.8
    carina = carina_point(geometry)
    share = _TRACHEA_SHARE
    y = -0.30 * height + (carina[1] + 0.30 * height) * share
    push = -0.35 * size * np.exp(-(((y / height - 0.20) / 0.08) ** 2))  # the arch pushes it to the right
    x = midline(geometry, y) * 0.6 + (carina[0] - _axis(geometry, 0.27) * 0.6) * share**1.5 + push
    radius = (0.72 if geometry.sex == "female" else 0.88) * size**0.7
    trachea = Bone(np.column_stack([x, y]), np.full(9, radius), np.full(9, 1.9 * radius), 0.0)
    tubes = [trachea]
    for side, share in (("right", 0.80), ("left", 0.68)):
        end = np.array(hilum(geometry, side)) * [0.92, 0.93]
        middle = 0.5 * (np.array(carina) + end) + [0, -0.1]
        line = np.array([carina, middle, end])
        wide = radius * share * np.array([1.0, 0.95, 0.7])
        tubes.append(Bone(line, wide, wide * np.array([1.7, 1.4, 0.6]), 0.0))
    return tubes


def carina_point(geometry: Geometry) -> tuple[float, float]:
    """Where the trachea divides."""
    shift = 0.6 * mediastinal_shift(geometry)
    return _axis(geometry, 0.27) * 0.8 + shift - 0.2, 0.275 * geometry.lung_height_cm


def stomach_solids(geometry: Geometry, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gas of the stomach `(1, 6)` under the left dome, and of the bowel `(num_bubbles, 6)`."""
    uniform, normal = rng.random(8), rng.standard_normal((5, 6))
    width, size = geometry.half_width_cm, geometry.half_width_cm / 13.8
    distance = (0.34 + 0.22 * uniform[0]) * width
    top = dome_height(geometry, "left", float(distance))
    wide, high = (1.6 + 2.4 * uniform[1]) * size, (0.7 + 1.3 * uniform[2]) * size
    depth = (1.5 + 4.0 * uniform[3]) * size * (0.5 if geometry.supine else 1.0)
    gas = np.array(
        [[distance + _axis(geometry, 1.1), top + 0.75 * size + high, wide, high, 0.25 - 0.3 * uniform[4], depth]]
    )
    bowel = np.column_stack(
        [
            distance + 2.0 * size + 3.0 * size * normal[:, 0],
            top + (5.5 + 1.5 * np.abs(normal[:, 1])) * size,
            (0.9 + 0.4 * np.abs(normal[:, 2])) * size,
            (0.7 + 0.3 * np.abs(normal[:, 3])) * size,
            normal[:, 4],
            (0.8 + 0.5 * np.abs(normal[:, 5])) * size,
        ]
    )
    bowel[2:, 0] *= -0.9  # hepatic flexure
    return gas, bowel[: int(6 * uniform[5])]


def landmarks(
    geometry: Geometry, heart: np.ndarray, arch: np.ndarray, gas: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Points `(x, y)` in cm that findings and devices steer by."""
    height, width, size = geometry.lung_height_cm, geometry.half_width_cm, geometry.half_width_cm / 13.8
    carina = carina_point(geometry)
    right, left = upper_half_widths(geometry)
    base = _axis(geometry, 1.0)
    ventricles, atrium = heart[0], heart[1]
    points = {
        "carina": carina,
        "trachea_top": (_axis(geometry, -0.2) * 0.6, -0.28 * height),
        "sternal_notch": (mediastinal_shift(geometry), 0.07 * height),
        "aortic_knob": (arch[0, 0], arch[0, 1]),
        "heart": (ventricles[0], ventricles[1]),
        "left_ventricle": (ventricles[0] + 0.5 * ventricles[2], ventricles[1] + 0.35 * ventricles[3]),
        "right_ventricle": (ventricles[0] - 0.1 * ventricles[2], ventricles[1] + 0.6 * ventricles[3]),
        "cavoatrial_junction": (atrium[0] + 0.15 * atrium[2], atrium[1] - 0.85 * atrium[3]),
        "gastro_oesophageal_junction": (base + 0.9 * size, height - geometry.left_dome_cm + 0.9 * size),
        "stomach": (gas[0, 0], gas[0, 1] + gas[0, 3] + 1.5 * size),
    }
    for side, sign in (("right", -1), ("left", 1)):
        points[f"{side}_hilum"] = hilum(geometry, side)
        for name, share in (("dome", 0.46), ("costophrenic", 0.965), ("cardiophrenic", 0.22)):
            points[f"{side}_{name}"] = (base + sign * share * width, dome_height(geometry, side, share * width))
        points[f"{side}_apex"] = (_axis(geometry, 0.0) + sign * APEX_SHARE * width, 0.0)
    return points


def _axis(geometry: Geometry, share: float) -> float:
    return float(midline(geometry, share * geometry.lung_height_cm))
