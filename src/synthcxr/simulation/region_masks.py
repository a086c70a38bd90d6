"""Exact masks of the anatomy, computed for the regions that are asked for and no others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ontology import REGIONS
from .kernels import fill_polygon
from .projection import solid_length, tube_length
from .scene import SIDES, Scene
from .skeleton import rib_bones


SIMULATED_REGIONS: tuple[str, ...] = tuple(id for id, region in REGIONS.items() if region.simulated)
"""Regions of the ontology that have a mask, in its order."""


def region_mask(scene: Scene, region: str) -> np.ndarray:
    """
    Mask of one region as projected; ribs and other bones by their outline, lungs down to the dome.

    Args:
        scene (`Scene`): Projected patient.
        region (`str`): One of `SIMULATED_REGIONS`.

    Returns:
        `np.ndarray` of shape `(image_size, image_size)`, bool: Empty when the region lies outside the field.

    Raises:
        ValueError: On a region without a mask.
    """
    if region not in SIMULATED_REGIONS:
        raise ValueError(f"region is {region!r}; expected one of {', '.join(SIMULATED_REGIONS)}.")
    side, _, part = region.partition("_")
    if side not in SIDES:
        return _MIDLINE[region](scene)
    if part.startswith(("rib_", "clavicle", "scapula")):
        return _bone(scene, region)
    return _SIDED[part](scene, side)


def _bone(scene: Scene, region: str) -> np.ndarray:
    if region not in scene.bones:  # ribs are many and seldom asked for
        scene.bones.update(rib_bones(scene.geometry, scene.ribs))
    length = tube_length(scene, scene.bones[region])
    if region in scene.plates:
        fill_polygon(scene.x_cm, scene.y_cm, scene.plates[region], 1.0, length)
    return length > 0


def _zone(lower: float, upper: float) -> Callable[[Scene, str], np.ndarray]:
    def mask(scene: Scene, side: str) -> np.ndarray:
        bottom = scene.landmarks[f"{side}_dome"][1]
        share = scene.y_cm / bottom
        return scene.lung_mask[side] & ((share >= lower) & (share < upper))[:, None]

    return mask


def _lung(scene: Scene, side: str) -> np.ndarray:
    return scene.lung_mask[side].copy()


def _hilum(scene: Scene, side: str) -> np.ndarray:
    x, y = scene.landmarks[f"{side}_hilum"]
    size = scene.geometry.half_width_cm / 13.8 * scene.geometry.hilum_gain
    return solid_length(scene, np.array([[x, y + 0.4 * size, 1.7 * size, 2.6 * size, 0.0, 1.0]])) > 0


def _costophrenic_angle(scene: Scene, side: str) -> np.ndarray:
    x, y = scene.landmarks[f"{side}_costophrenic"]
    reach = 3.0 * scene.geometry.half_width_cm / 13.8
    near = (scene.x_cm[None, :] - x) ** 2 + (scene.y_cm[:, None] - y) ** 2 < reach**2
    return scene.lung_extent[side] & near


def _hemidiaphragm(scene: Scene, side: str) -> np.ndarray:
    """A band of a centimetre along the dome, over the width of the lung."""
    dome = scene.dome[side][None, :]
    band = np.abs(scene.y_cm[:, None] - np.nan_to_num(dome, nan=1e6)) < 0.5
    return band & scene.lung_extent[side].any(axis=0)[None, :]


def _mediastinum(scene: Scene) -> np.ndarray:
    """Between the lungs, from the apices down to the domes; the heart is part of it."""
    between = (scene.x_cm[None, :] > scene.medial_edge["right"][:, None]) & (
        scene.x_cm[None, :] < scene.medial_edge["left"][:, None]
    )
    base = scene.landmarks["heart"][1] + scene.solids["heart"][0, 3]
    between &= (scene.y_cm < base)[:, None]
    vessels = np.vstack([scene.solids["great_vessels"], scene.solids["aortic_arch"]])
    return between | scene.heart_mask | (solid_length(scene, vessels) > 0)


def _abdomen(scene: Scene) -> np.ndarray:
    domes = [np.nan_to_num(scene.dome[side], nan=np.inf) for side in SIDES]
    middle = min(scene.landmarks[f"{side}_cardiophrenic"][1] for side in SIDES)
    right, left = scene.landmarks["right_cardiophrenic"][0], scene.landmarks["left_cardiophrenic"][0]
    top = np.minimum(*domes)
    top = np.where((scene.x_cm > right) & (scene.x_cm < left), middle, top)
    outside = ~np.isfinite(top)
    lowest = max(scene.landmarks[f"{side}_costophrenic"][1] for side in SIDES)
    top = np.where(outside, lowest, top)
    return (scene.y_cm[:, None] > top[None, :]) & (scene.body_cm > 4)


def _heart(scene: Scene) -> np.ndarray:
    return scene.heart_mask.copy()


def _aortic_arch(scene: Scene) -> np.ndarray:
    return solid_length(scene, scene.solids["aortic_arch"]) > 0


def _trachea(scene: Scene) -> np.ndarray:
    return tube_length(scene, scene.bones["trachea"]) > 0


def _spine(scene: Scene) -> np.ndarray:
    near = np.abs(scene.x_cm[None, :] - scene.midline[:, None]) < scene.spine_edge[:, None]
    return near & (scene.body_cm > 1)


def _gastric_bubble(scene: Scene) -> np.ndarray:
    return solid_length(scene, scene.solids["gastric_bubble"]) > 0


_SIDED: dict[str, Callable[[Scene, str], np.ndarray]] = {
    "lung": _lung,
    "apex": _zone(-1.0, 0.14),
    "upper_zone": _zone(-1.0, 1 / 3),
    "mid_zone": _zone(1 / 3, 2 / 3),
    "lower_zone": _zone(2 / 3, 9.0),
    "hilum": _hilum,
    "costophrenic_angle": _costophrenic_angle,
    "hemidiaphragm": _hemidiaphragm,
}
_MIDLINE: dict[str, Callable[[Scene], np.ndarray]] = {
    "heart": _heart,
    "mediastinum": _mediastinum,
    "aortic_arch": _aortic_arch,
    "trachea": _trachea,
    "spine": _spine,
    "abdomen": _abdomen,
    "gastric_bubble": _gastric_bubble,
}
