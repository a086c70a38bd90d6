"""Devices: tubes and catheters with their radiopaque stripes, a pacemaker with its leads, sternal wires."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..ontology import FindingInstance
from .placement import OTHER, SIGN, LungFrame, resolve_side, window_around
from .scene import FindingEffect, Scene
from .strokes import smooth_curve, stroke_chord, wander
from .textures import elliptic_distance, smoothstep


MU_PLASTIC = 0.35
MU_LOADED_PLASTIC = 2.6  # polyurethane filled with barium sulphate
MU_STRIPE = 7.0
MU_METAL = 8.0

_Stroke = tuple[np.ndarray, float | np.ndarray, float]  # points, radius in cm, attenuation per cm


def endotracheal_tube(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """A tube with a stripe in the trachea; its tip 3 to 6 cm above the carina unless `position` says otherwise."""
    size, tip, start = _size(scene), rng.random(), rng.normal(0, 0.3)
    top, carina = np.array(scene.landmarks["trachea_top"]), np.array(scene.landmarks["carina"])
    upper = np.array([top[0] + start * size, min(scene.y_cm[0], top[1]) - 2.0])
    position = instance.position or "satisfactory"
    if position == "malpositioned":  # in the right main bronchus
        end = carina + size * np.array([-1.2 - 1.2 * tip, 1.0 + 1.6 * tip])
        controls = [upper, top, carina - [0.1, 1.5 * size], end]
    else:
        above = {"too_low": 0.9 + 0.9 * tip, "too_high": 7.5 + 2.0 * tip}.get(position, 3.0 + 3.0 * tip) * size
        share = min(above / max(carina[1] - top[1], 1.0), 1.6)
        end = carina + (top - carina) * share
        controls = [upper, top, end] if end[1] > top[1] + 1.0 else [upper, end]
    path = wander(_course(controls), rng, amplitude_cm=0.08)
    radius = 0.5 * max(size, 0.55)
    stripe = path + np.array([0.55 * radius * (1 if start > 0 else -1), 0.0])
    return _paint_tubes(scene, [(path, radius)], wall=0.28, strokes=[(stripe, 0.05, MU_STRIPE)])


def nasogastric_tube(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """A thin tube down the oesophagus into the stomach; else it coils above, stops short or enters a bronchus."""
    size, draws = _size(scene), rng.random(5)
    top, carina = np.array(scene.landmarks["trachea_top"]), np.array(scene.landmarks["carina"])
    junction, stomach = (np.array(scene.landmarks[name]) for name in ("gastro_oesophageal_junction", "stomach"))
    start = np.array([top[0] + 0.5 * size, min(scene.y_cm[0], top[1]) - 2.0])
    neck, behind = top + [0.5 * size, 0.5], carina + [(0.5 + 0.5 * draws[0]) * size, 0.0]
    middle = 0.5 * (behind + junction) + [0.3 * (draws[1] - 0.5), 0.0]
    position = instance.position or "satisfactory"
    if position == "malpositioned" and draws[2] < 0.6:
        hilum = np.array(scene.landmarks["right_hilum"])
        base = np.array(LungFrame(scene, "right").point(0.2 + 0.4 * draws[3], 0.75 + 0.2 * draws[4]))
        controls = [start, top, carina - [0.0, 0.6], hilum + [0.8, 1.5], base]
    elif position == "malpositioned":
        loop = behind + size * np.array([[0.0, 3.0], [0.9, 4.2], [1.2, 2.0], [0.6, -1.0 - 2 * draws[3]]])
        controls = [start, neck, behind, *loop]
    elif position in ("too_high", "too_low"):  # stops in the oesophagus, or runs on far into the stomach
        far = stomach + size * np.array([-3.0, 4.0])
        controls = (
            [start, neck, behind, middle]
            if position == "too_high"
            else _gastric([start, neck, behind, middle, junction], stomach, far)
        )
    else:
        tip = stomach + size * np.array([-2.5 + 3.0 * draws[3], 0.5 + 2.0 * draws[4]])
        controls = _gastric([start, neck, behind, middle, junction], stomach, tip)
    path = wander(_course(controls), rng, amplitude_cm=0.12)
    return _paint_tubes(scene, [(path, 0.23 * max(size, 0.6))], wall=0.35, strokes=[(path, 0.06, MU_STRIPE)])


def central_venous_catheter(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """A catheter from the jugular, the subclavian or an arm vein of its side; its tip near the cavoatrial junction."""
    side = resolve_side(instance, side, rng)
    size, kind, draws = _size(scene), rng.random(), rng.random(4)
    entry = _venous_entry(scene, side, kind, size, draws)
    veins = _veins_to_heart(scene, side, size)
    tip, position = scene.landmarks["cavoatrial_junction"], instance.position or "satisfactory"
    if position == "malpositioned":
        neck = np.array([SIGN[side] * 3.2 * size, scene.landmarks[f"{side}_apex"][1] - 3.5 * size])
        across = np.array(scene.landmarks[f"{OTHER[side]}_clavicle_mid"]) + [0.0, 1.0]
        target = neck if kind > 0.4 else across
        controls = [*entry, veins[0], target] if kind > 0.4 else [*entry, *veins[:2], across * [0.4, 1.0], target]
    else:
        drop = {"too_low": 3.0 + 2.5 * draws[2], "too_high": -5.0 - 2.0 * draws[2]}.get(position, -2.2 * draws[2])
        end = np.array([tip[0] + 0.25 * (draws[3] - 0.5), tip[1] + drop * size])
        controls = [*entry, *(point for point in veins if point[1] < end[1] - 0.8 * size), end]
    path = wander(_course(controls), rng, amplitude_cm=0.1)
    radius = (0.09 if kind > 0.75 else 0.13) * max(size, 0.6)
    return _paint_tubes(scene, [], wall=0.0, strokes=[(path, radius, MU_LOADED_PLASTIC)])


def chest_tube(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """A drain through the lateral wall, to the apex for air or along the base for fluid; its stripe has a gap."""
    frame = LungFrame(scene, resolve_side(instance, side, rng))
    apical, draws = rng.random() < 0.6, rng.random(5)
    v = 0.5 + 0.3 * draws[0]
    wall_x, wall_y = frame.point(1.0, v)
    outside = wall_x + frame.sign * (scene.geometry.wall_cm + 3.0)
    controls = [(outside, wall_y + 1.5 + 2 * draws[1]), (wall_x, wall_y)]
    if instance.position == "malpositioned":  # left in the chest wall
        controls += [frame.point(1.08, v - 0.12), frame.point(1.1, v - 0.28)]
    elif apical:
        controls += [frame.point(0.86, v - 0.15), frame.point(0.75, 0.3), frame.point(0.35 + 0.4 * draws[2], 0.1)]
    else:
        controls += [frame.point(0.8, 0.86), frame.point(0.45, 0.9), frame.point(0.2 + 0.2 * draws[2], 0.75)]
    path = wander(_course(controls), rng, amplitude_cm=0.15)
    radius = (0.3 + 0.25 * draws[3]) * max(_size(scene), 0.6)
    hole = int(len(path) * 0.72)
    strokes: list[_Stroke] = [(path[:hole], 0.06, MU_STRIPE), (path[hole + 2 :], 0.06, MU_STRIPE)]
    return _paint_tubes(scene, [(path, radius)], wall=0.3, strokes=strokes)


def pacemaker(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """A generator below the clavicle and one to three leads through the great veins to the heart's chambers."""
    side = resolve_side(instance, side, rng)
    sign, size, draws = SIGN[side], _size(scene), rng.random(8)
    clavicle = np.array(scene.landmarks[f"{side}_clavicle_mid"])
    centre = clavicle + size * np.array([sign * (0.5 + 2.0 * draws[0]), 4.0 + 2.5 * draws[1]])
    defibrillator, leads = draws[2] < 0.35, 1 + int(draws[3] < 0.65) + int(draws[3] < 0.15)
    pocket = centre + size * np.array([-sign * 1.0, -1.8])
    vein = [pocket, clavicle + [sign * 0.5, 1.4 * size], *_veins_to_heart(scene, side, size)]
    junction = np.array(scene.landmarks["cavoatrial_junction"])
    apex, chamber = (np.array(scene.landmarks[name]) for name in ("right_ventricle", "left_ventricle"))
    if instance.position == "malpositioned":  # a lead that slipped back into the atrium
        apex = junction + size * np.array([0.8, 4.0])
    ends = [
        [junction + [-0.5 * size, 2.5 * size], junction + [0.6 * size, 5.6 * size], apex],
        [junction + [-0.2 * size, 3.0 * size], junction + [0.9 * size, 2.2 * size]],
        [junction + [0.2 * size, 3.6 * size], 0.5 * (junction + chamber), chamber + [0.8 * size, -1.5 * size]],
    ]
    strokes: list[_Stroke] = []
    for index in range(leads):
        path = wander(_course(vein + ends[index]), rng, amplitude_cm=0.12)
        strokes += [(path, 0.075, MU_METAL), (path[-2:], 0.14, MU_METAL)]
        if index == 0 and defibrillator:
            strokes.append((path[-14:-3], 0.2, 0.7 * MU_METAL))
    angle = sign * (draws[4] - 0.5)
    return _paint_tubes(scene, [], wall=0.0, strokes=strokes, generator=(centre, size, angle))


def sternotomy_wires(
    scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator
) -> FindingEffect:
    """Five to seven twisted steel loops down the sternum, and the clips of a bypass operation beside the heart."""
    size, count, draws = _size(scene), 5 + int(3 * rng.random()), rng.random((7, 5))
    clips, clip_draws = rng.random(), rng.random((6, 4))
    x, top = scene.landmarks["sternal_notch"]
    pitch = 0.62 * scene.geometry.lung_height_cm / count
    strokes: list[_Stroke] = []
    for index, (dx, dy, wide, tall, twist) in enumerate(draws[:count]):
        slip = 1.6 * (dx - 0.5) if instance.position == "malpositioned" and index == 2 else 0.35 * (dx - 0.5)
        centre = np.array([x + slip * size, top + (1.2 + 0.35 * (dy - 0.5)) * size + pitch * index])
        turn = np.linspace(-0.45 * np.pi, 1.6 * np.pi, 22)
        loop = centre + size * np.stack(
            [(0.65 + 0.4 * wide) * np.cos(turn), (0.22 + 0.3 * tall) * np.sin(turn)], axis=1
        )
        tail = loop[-1] + size * np.array([[0.0, 0.0], [0.25 * (twist - 0.5), 0.5], [0.4 * (twist - 0.5), 0.25]])
        strokes += [(loop, 0.052, MU_METAL), (tail, 0.08, MU_METAL)]
    heart = np.array(scene.landmarks["heart"])
    for down, across, turn, length in clip_draws[: int(7 * max(clips - 0.4, 0) / 0.6)]:
        place = heart + size * np.array([0.5 + 3.5 * across, -4.5 + 7.0 * down])
        half = (0.15 + 0.2 * length) * np.array([np.cos(3 * turn), np.sin(3 * turn)])
        strokes.append((np.stack([place - half, place + half]), 0.06, MU_METAL))
    return _paint_tubes(scene, [], wall=0.0, strokes=strokes)


def _paint_tubes(
    scene: Scene,
    tubes: list[tuple[np.ndarray, float]],
    *,
    wall: float,
    strokes: list[_Stroke],
    generator: tuple[np.ndarray, float, float] | None = None,
) -> FindingEffect:
    """Hollow tubes (`wall` is a share of the radius) and solid strokes, each within the window that holds it."""
    shape = (scene.image_size, scene.image_size)
    attenuation, mask = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    for path, radius in tubes:
        window = _window(scene, path, radius)
        x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
        outer = stroke_chord(x_cm, y_cm, path, radius)
        inner = stroke_chord(x_cm, y_cm, path, radius * (1 - wall))
        attenuation[window] += MU_PLASTIC * (outer - np.minimum(inner, outer))
        mask[window] |= outer > 0.3 * radius
    for mu in sorted({stroke[2] for stroke in strokes}):
        _add_strokes(
            scene, attenuation, mask, [stroke for stroke in strokes if stroke[2] == mu and len(stroke[0]) > 1]
        )
    if generator is not None:
        _add_generator(scene, attenuation, mask, *generator)
    return FindingEffect(attenuation, mask)


def _add_strokes(scene: Scene, attenuation: np.ndarray, mask: np.ndarray, strokes: list[_Stroke]) -> None:
    """Strokes of one material, painted together."""
    points = np.concatenate([path for path, _, _ in strokes])
    radii = np.concatenate([np.broadcast_to(radius, len(path)) for path, radius, _ in strokes])
    starts = np.cumsum([0] + [len(path) for path, _, _ in strokes[:-1]])
    window = _window(scene, points, float(radii.max()))
    chord = stroke_chord(scene.x_cm[window[1]], scene.y_cm[window[0]], points, radii, starts=starts)
    attenuation[window] += strokes[0][2] * chord
    # The fringe of a wire that is widened to a pixel is part of what one sees of it.
    mask[window] |= chord > 0.2 * _peak_chord(float(radii.min()), scene.pixel_cm)


def _peak_chord(radius: float, pixel_cm: float) -> float:
    wide = max(radius, 0.75 * pixel_cm)
    return 2 * wide * (radius / wide) ** 2


def _add_generator(
    scene: Scene, attenuation: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, angle: float
) -> None:
    reach = 3.6 * size
    window = window_around(scene, (centre[0] - reach, centre[0] + reach), (centre[1] - reach, centre[1] + reach))
    x_cm, y_cm = scene.x_cm[window[1]], scene.y_cm[window[0]]
    dx, dy = x_cm[None, :] - centre[0], y_cm[:, None] - centre[1]
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    half = np.array([2.4, 2.0]) * size
    case = ((np.abs(along) / half[0]) ** 3.5 + (np.abs(across) / half[1]) ** 3.5) ** (1 / 3.5)
    edge = 0.5 * max(scene.pixel_cm, 0.08) / half[1]
    body = smoothstep(case, 1 + edge, 1 - edge)
    header = smoothstep(across, -0.45 * half[1], -0.65 * half[1])  # clear resin with connectors
    battery = elliptic_distance(
        x_cm, y_cm, centre=(centre[0] + 0.3 * half[0], centre[1] + 0.3 * half[1]), radii=tuple(0.55 * half)
    )
    metal = (1.5 + 0.9 * smoothstep(battery, 1.05, 0.95)) * (1 - 0.6 * header)
    attenuation[window] += (metal * body).astype(np.float32)
    mask[window] |= body > 0.5


def _window(scene: Scene, path: np.ndarray, radius: float) -> tuple[slice, slice]:
    margin = radius + 2 * scene.pixel_cm
    low, high = path.min(axis=0) - margin, path.max(axis=0) + margin
    return window_around(scene, (low[0], high[0]), (low[1], high[1]))


def _course(controls: list[np.ndarray]) -> np.ndarray:
    """A curve near the control points without kinks: tubes are stiff."""
    path = smooth_curve(np.array(controls))
    stiff = gaussian_filter1d(path, 3.0, axis=0, mode="nearest")
    ends = np.minimum(np.arange(len(path)), np.arange(len(path))[::-1])[:, None] / 6.0
    return np.where(ends < 1, path + (stiff - path) * ends, stiff)


def _gastric(controls: list[np.ndarray], stomach: np.ndarray, tip: np.ndarray) -> list[np.ndarray]:
    """Into the fundus, along the greater curvature, to the tip."""
    return [*controls, 0.45 * controls[-1] + 0.55 * stomach + [0.6, -0.3], stomach + [0.8, 0.8], tip]


def _venous_entry(scene: Scene, side: str, kind: float, size: float, draws: np.ndarray) -> list[np.ndarray]:
    sign, apex = SIGN[side], scene.landmarks[f"{side}_apex"][1]
    medial, mid, lateral = (
        np.array(scene.landmarks[f"{side}_clavicle_{part}"]) for part in ("medial", "mid", "lateral")
    )
    if kind < 0.4:  # jugular
        neck = np.array([sign * (3.4 + 0.8 * draws[0]) * size, min(scene.y_cm[0], apex - 4 * size) - 1.0])
        return [neck, np.array([sign * 3.0 * size, apex - 1.0 * size])]
    if kind < 0.75:  # subclavian: hub on the chest below the clavicle
        hub = mid + size * np.array([sign * (1.5 + 1.5 * draws[0]), 4.5 + 2.0 * draws[1]])
        return [hub, mid + [0.0, 1.5 * size], 0.5 * (mid + medial) + [0.0, 0.8 * size]]
    arm = lateral + size * np.array([sign * 4.0, 7.0 + 3.0 * draws[0]])
    return [arm, lateral + size * np.array([sign * 0.6, 2.6]), mid + [0.0, 1.3 * size], 0.5 * (mid + medial)]


def _veins_to_heart(scene: Scene, side: str, size: float) -> list[np.ndarray]:
    """Behind the clavicle's head, through the brachiocephalic vein, down the superior vena cava to its end."""
    medial, carina = np.array(scene.landmarks[f"{side}_clavicle_medial"]), np.array(scene.landmarks["carina"])
    junction = np.array(scene.landmarks["cavoatrial_junction"])
    head = medial + size * np.array([SIGN[side] * 0.6, 0.9])
    cava = np.array([junction[0], min(carina[1] - 1.0 * size, junction[1] - 3.0 * size)])
    if side == "right":
        return [head, 0.5 * (head + cava) + [-0.2 * size, 0.0], cava, junction]
    crossing = np.array([carina[0] + 0.6 * size, 0.5 * (head[1] + cava[1])])
    return [head, crossing, cava + [0.2 * size, -0.4 * size], junction]


def _size(scene: Scene) -> float:
    """Size of the chest relative to an adult's."""
    return scene.geometry.half_width_cm / 13.8
