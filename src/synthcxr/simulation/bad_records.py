"""Records that should not be in a data set: other views, other body parts, and pictures spoilt on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .kernels import project_ellipsoids, project_tubes
from .parenchyma import sample_tile
from .processing import Exposure, Rendition
from .resampling import blur
from .scene import Scene


NO_CHEST = ("lateral_view", "not_a_chest")
"""Defects after which nothing of the frontal chest is left, so that no mask is."""


def lateral_attenuation(scene: Scene) -> np.ndarray:
    """
    The same patient seen from the side, the front to the image's left.

    Ribs, spine, heart and domes are the frontal ones, turned by 90 degrees; lungs and trunk are simplified.

    Args:
        scene (`Scene`): The frontal projection.

    Returns:
        `np.ndarray` of shape `(image_size, image_size)`, float32: Line integrals.
    """
    geometry = scene.geometry
    height, width, half = geometry.lung_height_cm, geometry.half_width_cm, 0.5 * geometry.body_thickness_cm
    z = -scene.x_cm[None, :]  # positive to the front, which is the image's left
    y = scene.y_cm[:, None]
    share = np.clip(y / height, 0, 1.3)
    front = half * (0.55 + 0.45 * np.sqrt(np.clip(share * 1.6, 0, 1)))
    back = half * (0.80 + 0.20 * np.sin(np.pi * np.clip(share, 0, 1)))
    depth = np.where(z > 0, z / front, -z / back)
    trunk = 2 * (width + geometry.wall_cm) * np.sqrt(np.maximum(1 - depth**4, 0)) * np.clip((y + 9) / 12, 0, 1)
    neck = 10 * np.sqrt(np.maximum(1 - ((z - 0.1 * half * (y < 0)) / 5.5) ** 2, 0)) * (y < 4)
    body = np.maximum(trunk, neck)

    inner = np.where(z > 0, z / (0.86 * front), -z / (0.80 * back))
    dome = height + geometry.dome_sag_cm * np.maximum(-z / half, -0.3) * 1.8 - 0.4 * geometry.right_dome_cm
    lungs = 1.35 * width * np.sqrt(np.maximum(1 - np.abs(inner) ** 3, 0)) * np.sqrt(np.clip(share * 2.2, 0, 1))
    lungs *= np.clip((dome - y) / 1.2, 0, 1)
    solids = np.array(
        [
            [-0.30 * half, 0.74 * height, 0.34 * half, 0.22 * height, -0.5, 9.0 * width / 13.8],
            [-0.10 * half, 0.42 * height, 0.30 * half, 0.14 * height, 0.2, 6.0 * width / 13.8],
        ]
    )
    squares = np.full(body.shape, -1e6, np.float32)
    project_ellipsoids(scene.x_cm, scene.y_cm, solids, 0.1, squares)
    lungs = np.maximum(lungs - np.sqrt(np.maximum(squares, 0)), 0)
    density = 0.5 * (geometry.lung_density_left + geometry.lung_density_right)
    grain = sample_tile(scene.x_cm, scene.y_cm, offset=(0.3, 0.7))
    attenuation = scene.mu_soft * (body - lungs * (1 - density * (1 + 0.15 * grain)))
    return (attenuation + scene.mu_bone * _lateral_bones(scene, half)).astype(np.float32)


def _lateral_bones(scene: Scene, half: float) -> np.ndarray:
    out = np.zeros_like(scene.attenuation)
    total = np.zeros_like(out)
    grid = float(scene.x_cm[0]), float(scene.y_cm[0]), scene.pixel_cm
    for (_, index), line in scene.ribs.items():
        points = np.column_stack([-0.92 * line[:, 2], line[:, 1]])
        _tube(total, out, grid, points, 0.6, 0.45 if index < 10 else 0.3)
    size = scene.geometry.half_width_cm / 13.8
    y = np.linspace(-8, 40, 60)
    curve = 0.62 * half + 0.10 * half * np.sin(np.pi * y / scene.geometry.lung_height_cm)
    _tube(total, out, grid, np.column_stack([curve, y]), 1.6 * size, 1.6)
    for level in np.arange(-8, 40, 2.2 * size):
        x = float(np.interp(level, y, curve))
        _tube(total, out, grid, np.array([[x - 1.5 * size, level], [x + 1.5 * size, level]]), 0.25, 0.6)
    sternum = np.array([[-0.62 * half, 1.0], [-0.9 * half, 0.6 * scene.geometry.lung_height_cm]])
    _tube(total, out, grid, sternum, 0.5 * size, 0.7)
    return total


def other_attenuation(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Something that is no chest: a hand, a knee, an abdomen, or a test card."""
    size = scene.image_size
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
    grid = -1.0 + 1 / size, -1.0 + 1 / size, 2.0 / size
    flesh, bone, buffer = (np.zeros((size, size), np.float32) for _ in range(3))
    kind = int(rng.integers(4))
    normal = rng.standard_normal((24, 2))
    if kind == 0:  # a hand
        for finger in range(5):
            lean = (finger - 2) * 0.20 + 0.03 * normal[finger, 0]
            reach = 0.85 - 0.12 * abs(finger - 1.8) - (0.25 if finger == 0 else 0)
            points = np.array([[0.14 * (finger - 2), 0.35], [lean * 2.0, 0.35 - reach]])
            _tube(flesh, buffer, grid, points, 0.085, 1.3)
            for joint in np.linspace(0, 0.92, 4):
                ends = points[0] + np.array([[joint], [joint + 0.26]]) * (points[1] - points[0])
                _tube(bone, buffer, grid, ends, 0.035, 1.0)
        _tube(flesh, buffer, grid, np.array([[0.0, 0.3], [0.0, 1.2]]), 0.33, 1.6)
        _tube(bone, buffer, grid, np.array([[-0.1, 0.55], [-0.1, 1.3]]), 0.09, 1.2)
        _tube(bone, buffer, grid, np.array([[0.12, 0.55], [0.12, 1.3]]), 0.07, 1.1)
        return flesh + bone
    if kind == 1:  # a knee
        _tube(flesh, buffer, grid, np.array([[0.0, -1.3], [0.03, 1.3]]), 0.55, 2.6)
        for top, bottom, radius in ((-1.3, -0.12, 0.20), (0.12, 1.3, 0.18)):
            _tube(bone, buffer, grid, np.array([[0.0, top], [0.0, bottom]]), radius, 1.5)
        for sign in (-1, 1):
            _tube(bone, buffer, grid, np.array([[0.19 * sign, -0.16], [0.13 * sign, -0.3]]), 0.2, 1.3)
            _tube(bone, buffer, grid, np.array([[0.17 * sign, 0.17], [0.1 * sign, 0.3]]), 0.17, 1.2)
        return flesh + bone
    if kind == 2:  # an abdomen
        flesh += (4.2 * np.sqrt(np.maximum(1 - (np.abs(x) / 0.92) ** 3, 0))).astype(np.float32)
        for level in np.linspace(-0.95, 0.5, 7):
            _tube(bone, buffer, grid, np.array([[-0.05, level], [0.05, level]]), 0.1, 0.9)
        for sign in (-1, 1):
            _tube(
                bone, buffer, grid, np.array([[0.15 * sign, 0.55], [0.55 * sign, 0.3], [0.5 * sign, 0.9]]), 0.14, 0.8
            )
        gas = np.zeros_like(flesh)
        for dx, dy in normal:
            blob = np.array([[0.4 * dx, 0.35 * dy, 0.08 + 0.04 * abs(dx), 0.07, dy, 0.9]])
            squares = np.full(flesh.shape, -1e6, np.float32)
            project_ellipsoids(x[0], y[:, 0], blob, 0.0, squares)
            np.maximum(gas, np.sqrt(np.maximum(squares, 0)), out=gas)
        return flesh + bone - 0.5 * gas
    bars = 0.8 + 1.6 * (np.floor((x + 1) * 6) % 2) * (np.abs(y) < 0.7) + 0.6 * np.floor((y + 1) * 4) / 4
    return bars.astype(np.float32)


def _tube(
    total: np.ndarray,
    buffer: np.ndarray,
    grid: tuple[float, float, float],
    points: np.ndarray,
    radius: float,
    gain: float,
) -> None:
    """Add one tube, hollow as bones are, to `total`."""
    count = len(points)
    buffer[:] = 0
    breaks = np.array([2] + [0] * (count - 1), np.uint8)
    points = np.ascontiguousarray(points, dtype=np.float64)
    project_tubes(
        buffer, *grid, points, np.full(count, radius), np.full(count, gain), breaks, np.full(count, 0.4), 0.8
    )
    total += buffer


def spoil_exposure(defect: str | None, exposure: Exposure, rendition: Rendition) -> tuple[Exposure, Rendition]:
    """Settings of an over- or underexposed image; others are left alone."""
    if defect == "overexposed":
        return exposure, replace(rendition, lung_level=rendition.lung_level - 0.45, gamma=1.6, compression=0.0)
    if defect == "underexposed":
        faint = replace(exposure, quanta=exposure.quanta * 0.003)
        return faint, replace(rendition, lung_level=0.84, dense_level=1.05, gamma=0.8, compression=0.0)
    return exposure, rendition


def spoil_image(defect: str | None, grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Invert or blur the finished picture; turning and cropping are done by `move_pixels`, as masks move with them."""
    if defect == "inverted":
        return 1 - grey
    if defect == "blurred":
        return blur(grey, len(grey) * (0.012 + 0.018 * rng.random()))
    return grey


def move_pixels(defect: str | None, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """
    Turn or crop an image or a mask.

    Args:
        defect (`str`, *optional*): `"rotated_90"`, `"rotated_180"` and `"cropped"` move pixels; others do not.
        image (`np.ndarray` of shape `(size, size)`): Image or mask.
        rng (`np.random.Generator`): Opened anew for every image and mask of a study, so that they move together.

    Returns:
        `np.ndarray` of the same shape and type.
    """
    draw = rng.random(4)
    if defect == "rotated_180":
        return np.ascontiguousarray(image[::-1, ::-1])
    if defect == "rotated_90":
        return np.ascontiguousarray(np.rot90(image, 1 if draw[0] < 0.5 else 3))
    if defect == "cropped":
        size = len(image)
        span = int(size * (0.40 + 0.15 * draw[1]))
        top, left = int((size - span) * draw[2]), int((size - span) * draw[3])
        return _enlarged(image[top : top + span, left : left + span], size)
    return image


def _enlarged(part: np.ndarray, size: int) -> np.ndarray:
    """Stretch a square to `size`: masks by the nearest pixel, images bilinearly."""
    place = np.clip((np.arange(size) + 0.5) * len(part) / size - 0.5, 0, len(part) - 1)
    if part.dtype == np.bool_:
        index = np.rint(place).astype(np.int64)
        return np.ascontiguousarray(part[np.ix_(index, index)])
    low = np.minimum(place.astype(np.int64), len(part) - 2)
    share = (place - low).astype(np.float32)
    rows = part[low] + (part[low + 1] - part[low]) * share[:, None]
    return np.ascontiguousarray(rows[:, low] + (rows[:, low + 1] - rows[:, low]) * share)
