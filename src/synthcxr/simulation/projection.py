"""Projecting a `Geometry` onto the detector: the sum of path length times attenuation over everything on a ray."""

from __future__ import annotations

import numpy as np

from ..ontology import StudySpec
from .kernels import (
    fill_lung,
    fill_polygon,
    lengths_above,
    project_ellipsoids,
    project_spine,
    project_trunk,
    project_tubes,
    settle_lung,
    shrink_lung,
)
from .mediastinum import airways, descending_aorta, great_vessel_solids, heart_solids, landmarks, stomach_solids
from .parenchyma import lung_texture
from .placement import window_around
from .scene import SIDES, Bone, Geometry, Scene
from .skeleton import (
    BACK,
    FRONT,
    NUM_ANTERIOR,
    NUM_RIBS,
    RIB_MARROW,
    clavicle,
    humerus,
    rib_radius,
    rib_tubes,
    scapula,
    trace_ribs,
    vertebrae,
)
from .soft_tissue import add_arms, add_breasts
from .streams import stream
from .thorax import COLLAPSE_REACH, Outline, trace_outline
from .vessels import hilum, project_vessels


WALL = 0.80  # inner over outer radius of a hollow bone
OUTLINE_SOFTNESS = 0.28  # how far chambers of the heart melt into each other
_OUTSIDE = -1e6


def build_scene(spec: StudySpec, geometry: Geometry, *, image_size: int) -> Scene:
    """
    Project a patient.

    Args:
        spec (`StudySpec`):
            The study; textures and vessels come from the streams of its patient.
        geometry (`Geometry`):
            The patient's shape in this acquisition.
        image_size (`int`):
            Side of the square detector in pixels.

    Returns:
        `Scene`: Line integrals without findings, and everything that findings need to place themselves.
    """
    pixel = geometry.field_cm / image_size
    centres = (np.arange(image_size) + 0.5) * pixel
    x_cm = centres - 0.5 * geometry.field_cm + geometry.centre_x_cm
    y_cm = centres + geometry.top_y_cm
    outline = trace_outline(geometry, x_cm, y_cm)
    scene = _empty_scene(spec, geometry, x_cm, y_cm, outline)
    cavities = _project_cavities(scene, outline)
    core = _project_core(scene, outline)
    _project_lungs(scene, outline, cavities, core)
    _attenuate_soft_tissue(scene, cavities, core)
    _attenuate_skeleton(scene)
    return scene


def solid_length(scene: Scene, solids: np.ndarray, *, softness: float = 0.0) -> np.ndarray:
    """Path length in cm through a union of ellipsoids, `(image_size, image_size)` float32."""
    squares = np.full(scene.attenuation.shape, _OUTSIDE, np.float32)
    project_ellipsoids(scene.x_cm, scene.y_cm, solids, softness, squares)
    return np.sqrt(np.maximum(squares, 0, out=squares), out=squares)


def solid_patch(scene: Scene, solids: np.ndarray, *, softness: float = 0.0) -> tuple[tuple[slice, slice], np.ndarray]:
    """The rows and columns that hold a union of ellipsoids, and the path length through it there."""
    reach = solids[:, 2:4].max(axis=1) * (1 + softness)
    low, high = (solids[:, :2] - reach[:, None]).min(axis=0), (solids[:, :2] + reach[:, None]).max(axis=0)
    window = window_around(scene, (low[0], high[0]), (low[1], high[1]))
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    squares = np.full((len(y_cm), len(x_cm)), _OUTSIDE, np.float32)
    project_ellipsoids(x_cm, y_cm, solids, softness, squares)
    return window, np.sqrt(np.maximum(squares, 0, out=squares), out=squares)


def tube_length(scene: Scene, tubes: list[Bone], *, out: np.ndarray | None = None) -> np.ndarray:
    """Path length in cm through the union of tubes, `(image_size, image_size)` float32; raises `out` where given."""
    out = np.zeros_like(scene.attenuation) if out is None else out
    if not tubes:
        return out
    points = np.concatenate([tube.points for tube in tubes])
    radii = np.concatenate([tube.radii for tube in tubes])
    gains = np.concatenate([tube.gains for tube in tubes])
    breaks, hollow = np.zeros(len(points), np.uint8), np.empty(len(points))
    first = 0
    for tube in tubes:
        breaks[first] = 2 if tube.round_ends else 1
        hollow[first : first + len(tube.points)] = tube.hollow
        first += len(tube.points)
    x0, y0 = float(scene.x_cm[0]), float(scene.y_cm[0])
    project_tubes(out, x0, y0, scene.pixel_cm, points, radii, gains, breaks, hollow, WALL)
    return out


def _empty_scene(spec: StudySpec, geometry: Geometry, x_cm: np.ndarray, y_cm: np.ndarray, outline: Outline) -> Scene:
    size = len(x_cm)
    heart = heart_solids(geometry)
    great = great_vessel_solids(geometry, heart)
    gas, bowel = stomach_solids(geometry, stream(spec.patient.seed, "stomach"))
    points = landmarks(geometry, heart, great["aortic_arch"], gas)
    rows, columns = outline.rows, outline.columns
    inside = (y_cm > 0) & (y_cm < geometry.lung_height_cm + geometry.dome_sag_cm + geometry.recess_cm)
    lateral, medial, domes = {}, {}, {}
    for index, side in enumerate(SIDES):
        sign = -1 if side == "right" else 1
        lateral[side] = np.where(inside, rows[:, 0] + sign * rows[:, 1 + index], np.nan)
        medial[side] = np.where(inside, rows[:, 0] + sign * rows[:, 3 + index], np.nan)
        distance = (x_cm - points["right_dome"][0] - 0.46 * geometry.half_width_cm) * sign
        beside = (distance > 0) & (distance < geometry.half_width_cm)
        domes[side] = np.where(beside, columns[:, index], np.nan)
    blank = np.zeros((size, size), np.float32)
    return Scene(
        spec=spec,
        geometry=geometry,
        image_size=size,
        pixel_cm=geometry.field_cm / size,
        x_cm=x_cm,
        y_cm=y_cm,
        attenuation=blank,
        body_cm=blank,
        lung_thickness={},
        lung_mask={},
        lung_extent={},
        pleural_gap={},
        vessels={},
        heart_cm=blank,
        heart_mask=blank,
        landmarks=points,
        ribs=trace_ribs(geometry, stream(spec.patient.seed, "ribs")),
        rib_radius_cm=rib_radius(geometry),
        lateral_edge=lateral,
        medial_edge=medial,
        lung_edge=dict(lateral),
        dome=domes,
        midline=rows[:, 0],
        mu_soft=geometry.mu_soft,
        mu_bone=geometry.mu_bone,
        mu_lung={
            "right": geometry.lung_density_right * geometry.mu_soft,
            "left": geometry.lung_density_left * geometry.mu_soft,
        },
        solids={"heart": heart, **great, "gastric_bubble": gas, "bowel": bowel},
    )


def _project_cavities(scene: Scene, outline: Outline) -> dict[str, np.ndarray]:
    geometry, shape = scene.geometry, scene.attenuation.shape
    body, right, left = (np.empty(shape, np.float32) for _ in range(3))
    neck = (5.0 + 0.12 * max(geometry.body_mass_index - 25, 0)) * (geometry.half_width_cm / 13.8) ** 0.8
    project_trunk(scene.x_cm, scene.y_cm, outline.rows, outline.columns, geometry.recess_cm, neck, body, right, left)
    scene.body_cm = body
    add_arms(scene)
    add_breasts(scene)
    return {"right": right, "left": left}


def _project_core(scene: Scene, outline: Outline) -> np.ndarray:
    """Heart and great vessels displace lung; returns their length and sets the heart's map and outline."""
    squares = np.full(scene.attenuation.shape, _OUTSIDE, np.float32)
    project_ellipsoids(scene.x_cm, scene.y_cm, scene.solids["heart"], OUTLINE_SOFTNESS, squares)
    # The heart lies flat on the diaphragm: what an ellipsoid would have below the dome is cut off.
    dome = np.where(scene.x_cm < scene.landmarks["heart"][0] - 3.0, outline.columns[:, 0], outline.columns[:, 1])
    scene.heart_cm, core = np.empty_like(squares), np.empty_like(squares)
    lengths_above(squares, scene.y_cm, dome, scene.heart_cm)
    scene.heart_mask = scene.heart_cm > 0
    for name in ("great_vessels", "aortic_arch"):
        project_ellipsoids(scene.x_cm, scene.y_cm, scene.solids[name], OUTLINE_SOFTNESS, squares)
    lengths_above(squares, scene.y_cm, dome, core)
    scene.bones["descending_aorta"] = [descending_aorta(scene.geometry)]
    return tube_length(scene, scene.bones["descending_aorta"], out=core)


def _project_lungs(scene: Scene, outline: Outline, cavities: dict[str, np.ndarray], core: np.ndarray) -> None:
    geometry = scene.geometry
    blood = project_vessels(geometry, stream(scene.spec.patient.seed, "vessels"), scene.x_cm, scene.y_cm)
    for index, side in enumerate(SIDES):
        cavity, collapse = cavities[side], getattr(geometry, f"collapse_{side}")
        lung = _collapsed(scene, outline, index, collapse) if collapse > 0 else cavity
        aerated, masks = np.zeros_like(cavity), np.zeros((3, *cavity.shape), bool)
        contrast, dome = scene.mu_soft - scene.mu_lung[side], np.ascontiguousarray(outline.columns[:, index])
        settle_lung(scene.y_cm, dome, core, contrast, cavity, lung, blood[side], aerated, masks)
        scene.lung_thickness[side], scene.vessels[side] = aerated, blood[side]
        scene.lung_extent[side], scene.lung_mask[side], scene.pleural_gap[side] = masks


def _collapsed(scene: Scene, outline: Outline, index: int, collapse: float) -> np.ndarray:
    geometry, side = scene.geometry, SIDES[index]
    scale = 1 - COLLAPSE_REACH * collapse
    hx, hy = hilum(geometry, side)
    lung = np.empty(scene.attenuation.shape, np.float32)
    rows, columns = outline.rows, outline.columns
    shrink_lung(scene.x_cm, scene.y_cm, rows, columns, geometry.recess_cm, index, hx, hy, scale, lung)
    filled = lung > 0.2
    outermost = filled.argmax(axis=1) if side == "right" else len(scene.x_cm) - 1 - filled[:, ::-1].argmax(axis=1)
    scene.lung_edge[side] = np.where(filled.any(axis=1), scene.x_cm[outermost], np.nan)
    return lung


def _attenuate_soft_tissue(scene: Scene, cavities: dict[str, np.ndarray], core: np.ndarray) -> None:
    mu = np.float32(scene.mu_soft)
    attenuation = scene.body_cm * mu
    texture = lung_texture(scene)
    for side in SIDES:
        lung, mu_lung = scene.lung_thickness[side], scene.mu_lung[side]
        fill_lung(attenuation, lung, texture, cavities[side], scene.vessels[side], mu_lung, scene.mu_soft)
    scene.bones["airways"] = airways(scene.geometry)
    scene.bones["trachea"] = scene.bones["airways"][:1]
    attenuation -= (1.0 * mu) * tube_length(scene, scene.bones["airways"])
    gas = np.vstack([scene.solids["gastric_bubble"], scene.solids["bowel"]])
    window, length = solid_patch(scene, gas)
    attenuation[window] -= (0.9 * mu) * length
    scene.attenuation = np.maximum(attenuation, 0, out=attenuation)


def _attenuate_skeleton(scene: Scene) -> None:
    geometry = scene.geometry
    rng = stream(scene.spec.patient.seed, "skeleton")
    girdle = []
    for side in SIDES:
        collar = clavicle(geometry, side, rng)
        corners, borders = scapula(geometry, side, rng)
        scene.bones[f"{side}_clavicle"] = [collar]
        scene.bones[f"{side}_scapula"] = borders
        scene.plates[f"{side}_scapula"] = corners
        girdle += borders + humerus(geometry, side, rng)
        for name, vertex in (("medial", 0), ("mid", 11), ("lateral", 21)):
            scene.landmarks[f"{side}_clavicle_{name}"] = tuple(collar.points[vertex].tolist())
    bone = _project_ribs(scene)
    for tubes in (scene.bones["left_clavicle"] + scene.bones["right_clavicle"], girdle):
        bone += tube_length(scene, tubes)
    for corners in scene.plates.values():
        fill_polygon(scene.x_cm, scene.y_cm, corners, 0.22 * geometry.bone_gain, bone)
    _project_vertebrae(scene, rng, bone)
    # Bone that sticks out of the body (an arm cut by the field) is not there.
    bone *= scene.body_cm > 1.0
    bone *= np.float32(scene.mu_bone)
    scene.attenuation += bone


def _project_ribs(scene: Scene) -> np.ndarray:
    points, widths, gains, front_widths, front_gains = rib_tubes(scene.geometry, scene.ribs)
    upper = np.arange(len(points)) % NUM_RIBS < NUM_ANTERIOR
    x0, y0 = float(scene.x_cm[0]), float(scene.y_cm[0])
    bone, front = np.zeros_like(scene.attenuation), np.zeros_like(scene.attenuation)
    for out, rows, part, radii, depths in (
        (bone, slice(None), BACK, widths, gains),
        (front, upper, FRONT, front_widths, front_gains),
    ):
        line, radius, depth = (values[rows, part] for values in (points, radii, depths))
        breaks, hollow = np.zeros(radius.shape, np.uint8), np.full(radius.size, RIB_MARROW)
        breaks[:, 0] = 1
        flat = line.reshape(-1, 2), radius.ravel(), depth.ravel(), breaks.ravel()
        project_tubes(out, x0, y0, scene.pixel_cm, *flat, hollow, WALL)
    bone += front
    return bone


def _project_vertebrae(scene: Scene, rng: np.random.Generator, bone: np.ndarray) -> None:
    geometry = scene.geometry
    axis, half_width, number = vertebrae(geometry, scene.y_cm, rng)
    scene.spine_edge = half_width
    gain = 0.52 * geometry.bone_gain * (geometry.half_width_cm / 13.8) ** 0.6
    lever = 0.28 * geometry.body_thickness_cm * float(np.sin(geometry.rotation))
    project_spine(scene.x_cm, scene.y_cm, axis, half_width, number, lever, gain, bone)
