"""One study to one radiograph with exact masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..ontology import FINDING_IDS, FindingInstance, StudySpec
from .anatomy import sample_geometry
from .artefacts import add_collimation, add_markers, burn_text
from .bad_records import NO_CHEST, lateral_attenuation, move_pixels, other_attenuation, spoil_exposure, spoil_image
from .findings import apply_effect, deform, render
from .lookalikes import add_lookalikes
from .processing import develop, expose, measure_window, sample_exposure, sample_rendition
from .projection import build_scene
from .region_masks import SIMULATED_REGIONS, region_mask
from .resampling import turn_image, turn_mask, turned
from .scene import Geometry, Scene
from .streams import stream


MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 64, 1024


@dataclass(frozen=True)
class SimulatedObject:
    """
    Visible extent of one finding on one side.

    Args:
        category (`str`): Finding id.
        mask (`np.ndarray` of shape `(image_size, image_size)`, bool): Its pixels; never empty.
        bbox (`tuple[float, float, float, float]`): COCO box of the mask: x, y, width, height in pixels.
    """

    category: str
    mask: np.ndarray
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True)
class SimulatedStudy:
    """
    A radiograph and what is on it.

    Args:
        image (`np.ndarray` of shape `(image_size, image_size)`, uint8): The radiograph.
        objects (`tuple[SimulatedObject, ...]`): One per finding instance and side, those that are visible.
        regions (`dict[str, np.ndarray]`): Region id to its mask, bool.
    """

    image: np.ndarray
    objects: tuple[SimulatedObject, ...] = ()
    regions: dict[str, np.ndarray] = field(default_factory=dict)


def simulate(
    spec: StudySpec, *, image_size: int, seed: int | None = None, regions: Iterable[str] | None = None
) -> SimulatedStudy:
    """
    Simulate the radiograph of a study.

    The body follows from `spec.patient.seed`, every finding from its own seed; position, exposure, noise from `seed`:
    a study with and without a finding (`spec.without`) shows the same patient, held and exposed in the same way.

    Args:
        spec (`StudySpec`):
            What to show. `acquisition.defect` makes a bad record of it; a lateral view has no masks.
        image_size (`int`):
            Side of the image in pixels, 64 to 1024. The anatomy is the same at every size.
        seed (`int`, *optional*):
            Stream of positioning, exposure and noise; `spec.seed` by default.
        regions (`Iterable[str]`, *optional*):
            Regions to give masks of; all that are simulated by default. Fewer are faster.

    Returns:
        `SimulatedStudy`: Image, objects and regions; the same bytes for the same arguments, in any process.

    Raises:
        ValueError: When `image_size`, the scanner or a region is unknown or out of range.

    Example:

    ```python
    >>> from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
    >>> from synthcxr.simulation import simulate

    >>> patient = Patient("p1", "female", 61.0, 24.0, seed=5)
    >>> effusion = FindingInstance("pleural_effusion", side="left", severity="moderate", seed=9)
    >>> study = simulate(StudySpec("s1", patient, Acquisition("PA"), (effusion,), seed=3), image_size=128)
    >>> study.image.shape, [item.category for item in study.objects]
    ((128, 128), ['pleural_effusion'])

    ```
    """
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise ValueError(f"image_size is {image_size}; expected {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}.")
    seed = spec.seed if seed is None else seed
    scene = project_study(spec, image_size=image_size, seed=seed)
    healthy = scene.attenuation.copy()
    masks = add_findings(scene)
    image = _take_picture(scene, healthy, seed)
    if _shows_no_chest(spec):
        return SimulatedStudy(image)
    wanted = SIMULATED_REGIONS if regions is None else tuple(regions)
    mover = _MaskMover(scene, seed)
    objects = (_object(category, mover.move(mask)) for category, mask in masks)
    return SimulatedStudy(
        image=image,
        objects=tuple(item for item in objects if item is not None),
        regions={region: mover.move(region_mask(scene, region)) for region in wanted},
    )


def project_study(spec: StudySpec, *, image_size: int, seed: int | None = None) -> Scene:
    """
    Project a study's patient, deformed by the findings, with healthy look-alikes, without the findings' shadows.

    Args:
        spec (`StudySpec`): The study.
        image_size (`int`): Side of the detector in pixels.
        seed (`int`, *optional*): Stream of the positioning; `spec.seed` by default.

    Returns:
        `Scene`: Line integrals, before `add_findings`.
    """
    seed = spec.seed if seed is None else seed
    geometry = deformed_geometry(spec, seed=seed)
    scene = build_scene(spec, geometry, image_size=image_size)
    add_lookalikes(scene, seed=seed)
    return scene


def deformed_geometry(spec: StudySpec, *, seed: int | None = None) -> Geometry:
    """Shape of a study's patient after all its findings have changed it, in the ontology's order."""
    geometry = sample_geometry(spec, seed=seed)
    for instance in _in_order(spec):
        geometry = deform(geometry, instance, stream(instance.seed, instance.finding, "deform"))
    return geometry


def add_findings(scene: Scene) -> list[tuple[str, np.ndarray]]:
    """
    Add the line integrals of all findings to a scene.

    Args:
        scene (`Scene`): `attenuation` is changed in place.

    Returns:
        `list[tuple[str, np.ndarray]]`: Finding id and mask, one per instance and side, before the image is turned.
    """
    masks = []
    for instance in _in_order(scene.spec):
        sides = ("right", "left") if instance.side == "bilateral" else (instance.side,)
        for side in sides:
            rng = stream(instance.seed, instance.finding, side or "both")
            effect = render(scene, instance, side, rng)
            apply_effect(scene, effect)
            masks.append((instance.finding, effect.mask))
    np.maximum(scene.attenuation, 0, out=scene.attenuation)
    return masks


def _in_order(spec: StudySpec) -> list[FindingInstance]:
    return sorted(spec.findings, key=lambda instance: FINDING_IDS.index(instance.finding))


def _shows_no_chest(spec: StudySpec) -> bool:
    return spec.acquisition.view == "LATERAL" or spec.acquisition.defect in NO_CHEST


def _take_picture(scene: Scene, healthy: np.ndarray, seed: int) -> np.ndarray:
    acquisition = scene.spec.acquisition
    attenuation, lungs = scene.attenuation, scene.lung_mask["right"] | scene.lung_mask["left"]
    if _shows_no_chest(scene.spec):
        attenuation = _other_subject(scene, seed)
        healthy, lungs = attenuation, np.zeros_like(lungs)
    exposure = sample_exposure(acquisition, stream(seed, "exposure"))
    rendition = sample_rendition(acquisition, stream(seed, "rendition"))
    exposure, rendition = spoil_exposure(acquisition.defect, exposure, rendition)
    pixel = scene.pixel_cm
    window = measure_window(healthy, lungs, exposure, rendition, pixel_cm=pixel)
    density = expose(_turned(attenuation, scene.geometry.tilt), exposure, stream(seed, "noise"), pixel_cm=pixel)
    grey = develop(density, rendition, window, pixel_cm=pixel)
    artefacts = stream(seed, "artefacts")
    add_collimation(grey, artefacts)
    add_markers(grey, acquisition, artefacts)
    spoiling = stream(seed, "defect", "image")
    if acquisition.defect == "burnt_in_text":
        burn_text(grey, spoiling)
    grey = spoil_image(acquisition.defect, grey, spoiling)
    grey = move_pixels(acquisition.defect, grey, stream(seed, "defect", "move"))
    return (grey * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _other_subject(scene: Scene, seed: int) -> np.ndarray:
    if scene.spec.acquisition.defect == "not_a_chest":
        return other_attenuation(scene, stream(seed, "defect", "subject"))
    return lateral_attenuation(scene)


def _turned(attenuation: np.ndarray, tilt: float) -> np.ndarray:
    out = np.empty_like(attenuation)
    turn_image(attenuation, tilt, out)
    return out


class _MaskMover:
    """Moves masks as the image was moved: by the tilt, then by a defect."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.index = turn_mask(scene.image_size, scene.geometry.tilt)
        self.defect = scene.spec.acquisition.defect
        self.seed = seed

    def move(self, mask: np.ndarray) -> np.ndarray:
        moved = turned(mask, self.index)
        if self.defect not in ("rotated_90", "rotated_180", "cropped"):
            return moved
        return move_pixels(self.defect, moved, stream(self.seed, "defect", "move"))


def _object(category: str, mask: np.ndarray) -> SimulatedObject | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = float(columns[0]), float(rows[0])
    return SimulatedObject(category, mask, (left, top, float(columns[-1] + 1) - left, float(rows[-1] + 1) - top))
