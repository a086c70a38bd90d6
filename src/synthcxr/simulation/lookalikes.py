"""What healthy people show that looks like disease, and what lies on them: drawn without regard to the findings."""

from __future__ import annotations

import numpy as np

from .projection import solid_length, solid_patch, tube_length
from .scene import SIDES, Bone, Scene
from .streams import stream


def add_lookalikes(scene: Scene, *, seed: int) -> None:
    """
    Add nipples, fat pads, scars and calcified cartilage of the patient; folds, electrodes and clothes of the study.

    Args:
        scene (`Scene`): Changed in place.
        seed (`int`): Stream of the study's own things.
    """
    own = stream(scene.spec.patient.seed, "lookalikes")
    _add_fat_pads(scene, own)
    _add_nipples(scene, own)
    _add_scars(scene, own)
    _add_cartilage(scene, own)
    _add_muscles(scene, own)
    worn = stream(seed, "lookalikes")
    _add_skin_fold(scene, worn)
    _add_electrodes(scene, worn)
    _add_clothes(scene, worn)


def _add_fat_pads(scene: Scene, rng: np.random.Generator) -> None:
    """Fat in the angle between heart and diaphragm: a blurred opacity at a medial base."""
    geometry, size = scene.geometry, scene.geometry.half_width_cm / 13.8
    uniform = rng.random((2, 4))
    heavy = float(np.clip((geometry.body_mass_index - 20) / 15, 0.1, 1))
    for side, draw in zip(SIDES, uniform, strict=True):
        if draw[0] > 0.35 + 0.4 * heavy:
            continue
        sign = -1 if side == "right" else 1
        heart = scene.solids["heart"][0 if side == "left" else 1]
        edge = heart[0] + sign * (heart[2] if side == "left" else heart[2])
        wide, high = (1.2 + 2.0 * heavy * draw[1]) * size, (1.0 + 1.8 * heavy * draw[2]) * size
        floor = scene.landmarks[f"{side}_cardiophrenic"][1]
        solid = np.array([[edge, floor - 0.3 * high, wide, high, 0.5 * sign, 4.0 * size * (0.4 + draw[3])]])
        window, length = solid_patch(scene, solid)
        soft = length**2 / np.float32(solid[0, 5])  # fat has no sharp rim
        length = np.minimum(soft, scene.lung_thickness[side][window])
        scene.attenuation[window] += np.float32(0.9 * scene.mu_soft - scene.mu_lung[side]) * length


def _add_nipples(scene: Scene, rng: np.random.Generator) -> None:
    uniform, normal = rng.random(3), rng.standard_normal((2, 2))
    if uniform[0] > 0.25:
        return
    geometry, size = scene.geometry, scene.geometry.half_width_cm / 13.8
    low = (0.72 + 0.03 * min(geometry.breast_cm, 5)) * geometry.lung_height_cm
    for sign, draw in zip((-1, 1), normal, strict=True):
        if sign > 0 and uniform[1] < 0.3:
            continue  # often only one is seen, which is when it is taken for a nodule
        x, y = sign * (0.58 + 0.03 * draw[0]) * geometry.half_width_cm, low + 0.6 * draw[1] * size
        radius = 0.38 * size + 0.1 * uniform[2]
        solid = np.array([[x, y, radius, radius, 0.0, 1.0]])
        window, length = solid_patch(scene, solid)
        scene.attenuation[window] += np.float32(scene.mu_soft) * length


def _add_scars(scene: Scene, rng: np.random.Generator) -> None:
    """A few fine old strands, most often at the apices and the bases."""
    uniform, normal = rng.random((4, 4)), rng.standard_normal((4, 4))
    geometry = scene.geometry
    share = 0.10 + 0.30 * float(np.clip((geometry.age - 30) / 50, 0, 1))
    strands = []
    for draw, turn in zip(uniform, normal, strict=True):
        if draw[0] > share:
            continue
        sign = -1 if draw[1] < 0.5 else 1
        level = 0.10 + 0.10 * draw[2] if draw[2] < 0.4 else 0.80 + 0.12 * draw[2]
        start = np.array([sign * (0.35 + 0.4 * draw[3]) * geometry.half_width_cm, level * geometry.lung_height_cm])
        length = (1.5 + abs(turn[0])) * geometry.half_width_cm / 13.8
        along = np.array([np.cos(0.3 * turn[1]), np.sin(0.3 * turn[1])]) * length
        line = np.array([start, start + 0.5 * along + [0, 0.1 * turn[2]], start + along])
        strands.append(Bone(line, np.full(3, 0.05), np.array([0.25, 0.5, 0.2]), 0.0))
    if strands:
        length = tube_length(scene, strands)
        length *= np.float32(0.8 * scene.mu_soft)
        scene.attenuation += length


def _add_cartilage(scene: Scene, rng: np.random.Generator) -> None:
    """Calcified rib cartilage in the old: flecks in front of the medial lung and the upper abdomen."""
    uniform = rng.random((22, 5))
    geometry, size = scene.geometry, scene.geometry.half_width_cm / 13.8
    old = float(np.clip((geometry.age - 40) / 40, 0, 1))
    if uniform[0, 0] > 0.75 * old:
        return
    lines = np.array([scene.ribs[SIDES[number % 2], 4 + number // 4][[-4, -1], :2] for number in range(22)])
    ends, inward = lines[:, 1], lines[:, 1] - lines[:, 0]
    inward /= np.hypot(inward[:, :1], inward[:, 1:]) + 1e-6
    along = size * uniform[:, 1]
    flecks = np.empty((22, 6))
    flecks[:, :2] = ends + inward * (4.0 * along)[:, None]
    flecks[:, 1] += 0.5 * (uniform[:, 2] - 0.5) - 1.2 * along
    radius = (0.20 + 0.25 * uniform[:, 3]) * size
    flecks[:, 2], flecks[:, 3], flecks[:, 4] = 1.8 * radius, 0.7 * radius, 6.28 * uniform[:, 4]
    flecks[:, 5] = 0.5 * old * (0.3 + uniform[:, 3])
    window, length = solid_patch(scene, flecks)
    scene.attenuation[window] += np.float32(scene.mu_bone) * length


def _add_muscles(scene: Scene, rng: np.random.Generator) -> None:
    """Front fold of the armpit: the pectoral muscle brightens the upper outer chest up to a slanting edge."""
    geometry = scene.geometry
    uniform = rng.random(2)
    thick = (1.0 if geometry.sex == "male" else 0.55) * (0.5 + 0.9 * uniform[0]) * geometry.half_width_cm / 13.8
    width, height = geometry.half_width_cm, geometry.lung_height_cm
    reach = (0.42 + 0.12 * uniform[1]) * height
    # The lower edge runs from the armpit down and inwards.
    edge = (reach * (1.05 - np.abs(np.abs(scene.x_cm) / width - 0.80) * 1.6)).astype(np.float32)
    rows = slice(0, int(np.searchsorted(scene.y_cm, edge.max())))
    under = (edge - scene.y_cm[rows, None].astype(np.float32)) * np.float32(0.30)
    np.minimum(np.maximum(under, 0, out=under), 1, out=under)
    under *= scene.body_cm[rows] > 2
    under *= np.float32(scene.mu_soft * thick)
    scene.attenuation[rows] += under


def _add_skin_fold(scene: Scene, rng: np.random.Generator) -> None:
    """A fold of skin in a lying patient: an edge, brighter towards it on one side, that is no pleural line."""
    uniform = rng.random(6)
    if uniform[0] > (0.16 if scene.geometry.view == "AP" else 0.02):
        return
    geometry = scene.geometry
    sign = -1 if uniform[1] < 0.5 else 1
    top = np.array([sign * (0.45 + 0.3 * uniform[2]) * geometry.half_width_cm, 0.1 * geometry.lung_height_cm])
    lean = sign * (0.1 + 0.25 * uniform[3])
    x = scene.x_cm[None, :] - top[0] - lean * (scene.y_cm[:, None] - top[1])
    inside = (-sign * x > 0) & (scene.y_cm[:, None] > top[1])
    inside &= scene.y_cm[:, None] < (0.5 + 0.5 * uniform[4]) * geometry.lung_height_cm
    fade = np.exp(-np.abs(x) / (0.9 + uniform[5])).astype(np.float32)
    scene.attenuation += np.float32(0.9 * scene.mu_soft) * fade * inside * (scene.body_cm > 2)


def _add_electrodes(scene: Scene, rng: np.random.Generator) -> None:
    """Monitoring leads on the skin; common with portable views, whatever the patient has."""
    uniform, normal = rng.random((5, 4)), rng.standard_normal((5, 6))
    count = int(3 + 3 * uniform[0, 1])
    if uniform[0, 0] > (0.42 if scene.geometry.view == "AP" else 0.05):
        return
    geometry = scene.geometry
    width, height = geometry.half_width_cm, geometry.lung_height_cm
    spots = ((-0.75, 0.05), (0.75, 0.05), (-0.7, 0.95), (0.75, 0.9), (0.1, 0.55))
    wires, discs = [], []
    for number in range(min(count, 5)):
        turn, draw = normal[number], uniform[number]
        x, y = spots[number][0] * width + 1.2 * turn[0], spots[number][1] * height + 1.5 * turn[1]
        discs += [[x, y, 0.42, 0.42, 0.0, 0.22], [x + 0.3, y + 0.25, 0.75, 0.30, turn[5], 0.12]]
        exit_point = np.array([np.sign(turn[2]) * width * 1.2, height * (0.9 + 0.35 * draw[2])])
        share = np.linspace(0, 1, 14)[:, None]
        line = (1 - share) * [x, y] + share * exit_point
        line[:, 0] += 1.6 * turn[3] * np.sin(np.pi * share[:, 0] * (1 + draw[3]))
        line[:, 1] += 1.6 * turn[4] * np.sin(np.pi * share[:, 0])
        wires.append(Bone(line, np.full(14, 0.07), np.full(14, 0.10), 0.0))
    metal = solid_length(scene, np.array(discs))
    np.maximum(metal, tube_length(scene, wires), out=metal)
    scene.attenuation += np.float32(2.2) * metal


def _add_clothes(scene: Scene, rng: np.random.Generator) -> None:
    """Buttons, a necklace, the wire of a brassiere: now and then."""
    uniform = rng.random(8)
    if uniform[0] > 0.07:
        return
    geometry = scene.geometry
    width, height = geometry.half_width_cm, geometry.lung_height_cm
    if uniform[1] < 0.4:
        rows = np.arange(4)[:, None] * 0.24 * height + (0.1 + 0.1 * uniform[2]) * height
        buttons = np.hstack([np.full((4, 1), 1.5 * (uniform[3] - 0.5)), rows, np.full((4, 2), 0.5), np.zeros((4, 1))])
        window, length = solid_patch(scene, np.hstack([buttons, np.full((4, 1), 0.16)]))
        scene.attenuation[window] += length
        return
    share = np.linspace(-1, 1, 19)
    if uniform[1] < 0.7 or geometry.sex == "male":
        line = np.column_stack(
            [0.34 * width * share, (0.10 + 0.15 * uniform[2]) * height * (1 - share**2) - 0.08 * height]
        )
        lines = [Bone(line, np.full(19, 0.08), np.full(19, 0.16), 0.0)]
    else:
        curve = np.column_stack([0.32 * width * share, 0.16 * height * (1 - share**2)])
        low = (0.72 + 0.1 * uniform[2]) * height
        lines = [Bone(curve + [sign * 0.5 * width, low], np.full(19, 0.09), np.full(19, 0.2), 0.0) for sign in (-1, 1)]
    scene.attenuation += tube_length(scene, lines)
