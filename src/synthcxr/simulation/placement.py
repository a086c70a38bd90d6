"""Where a finding lies: coordinates of one lung, regions in them, how severe, what of it is visible."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..ontology import REGIONS, FindingInstance
from .scene import FindingEffect, Scene


SIGN = {"right": -1.0, "left": 1.0}
OTHER = {"right": "left", "left": "right"}

_LEVELS = {"subtle": 0.1, "mild": 0.37, "moderate": 0.65, "severe": 0.95}
_LEVEL_JITTER = 0.09
_VISIBLE_FLOOR = 0.035  # neper: about the contrast of a small vessel, below which nothing stands out
_VISIBLE_SHARE = 0.22
_CRUMB_SHARE = 0.08  # parts of a mask smaller than this share of its largest part

# Boxes (u0, u1, v0, v1): u from the mediastinal edge (0) to the chest wall (1), v from the apex (0) to the dome (1).
_BOXES = {
    "lung": (0.12, 0.88, 0.12, 0.95),
    "apex": (0.2, 0.85, 0.04, 0.16),
    "upper_zone": (0.15, 0.88, 0.1, 0.33),
    "mid_zone": (0.15, 0.88, 0.37, 0.63),
    "lower_zone": (0.15, 0.88, 0.68, 0.97),
    "base": (0.15, 0.9, 0.84, 1.04),
    "hilum": (0.0, 0.25, 0.38, 0.5),
    "costophrenic_angle": (0.75, 0.93, 0.96, 1.08),
    "hemidiaphragm": (0.2, 0.85, 0.9, 1.02),
    "upper_lobe": (0.12, 0.88, 0.1, 0.44),
    "middle_lobe": (0.05, 0.6, 0.58, 0.88),
    "lower_lobe": (0.1, 0.88, 0.58, 1.0),
}
_LINGULA = "middle_lobe"


class LungFrame:
    """
    One lung of a scene as a window with its own coordinates.

    Args:
        scene (`Scene`): Projected patient.
        side (`str`): `"right"` or `"left"`.

    Attributes:
        window (`tuple[slice, slice]`): Rows and columns that hold the lung.
        x_cm, y_cm (`np.ndarray`): Coordinates of the window.
        thickness (`np.ndarray` of float32): Aerated lung on the ray, cm.
        vessels (`np.ndarray` of float32): What the vessels of this lung add to the line integral.
        extent (`np.ndarray` of bool): Rays that meet lung.
        u, v (`np.ndarray` of float32): 0 to 1 from the mediastinum to the chest wall `(height, width)`, and from the
            apex to the dome `(height, 1)`; u is negative behind the heart, v above 1 beside and behind the dome.
        mu_fill (`float`): Attenuation that a cm of lung gains when its air is replaced by fluid.
    """

    def __init__(self, scene: Scene, side: str) -> None:
        self.scene = scene
        self.side = side
        self.sign = SIGN[side]
        self.window = _bounds(scene.lung_extent[side])
        self.x_cm = scene.x_cm[self.window[1]]
        self.y_cm = scene.y_cm[self.window[0]]
        self.thickness = scene.lung_thickness[side][self.window]
        self.vessels = scene.vessels[side][self.window]
        self.extent = scene.lung_extent[side][self.window]
        self.mu_fill = scene.mu_soft - scene.mu_lung[side]
        self.apex_y = scene.landmarks[f"{side}_apex"][1]
        self.dome_y = scene.landmarks[f"{side}_dome"][1]
        self.height_cm = self.dome_y - self.apex_y
        known = np.isfinite(scene.lateral_edge[side]) & np.isfinite(scene.medial_edge[side])
        self._edge_y = scene.y_cm[known]
        self._lateral = scene.lateral_edge[side][known]
        self._medial = scene.medial_edge[side][known]
        lateral, medial = self.edges(self.y_cm)
        scale = (self.sign / np.maximum(self.sign * (lateral - medial), 0.5)).astype(np.float32)
        self.u = (self.x_cm.astype(np.float32)[None, :] - medial.astype(np.float32)[:, None]) * scale[:, None]
        self.v = ((self.y_cm - self.apex_y) / self.height_cm).astype(np.float32)[:, None]

    def edges(self, y_cm: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Lateral and medial x of the lung at these heights."""
        return np.interp(y_cm, self._edge_y, self._lateral), np.interp(y_cm, self._edge_y, self._medial)

    def point(self, u: float, v: float) -> tuple[float, float]:
        """`(x, y)` in cm of a point given in the lung's own coordinates."""
        y = self.apex_y + v * self.height_cm
        lateral, medial = self.edges(y)
        return float(medial + u * (lateral - medial)), float(y)

    def hilum(self) -> tuple[float, float]:
        """`(x, y)` of the hilum."""
        return self.scene.landmarks[f"{self.side}_hilum"]

    def flood(self, fluid_cm: np.ndarray) -> np.ndarray:
        """Attenuation gained when fluid takes the place of this many cm of lung: vessels in it no longer stand out."""
        share = np.clip(fluid_cm / np.maximum(self.thickness, 0.05), 0.0, 1.0)
        return share * (self.mu_fill * self.thickness - self.vessels)

    def effect(
        self, attenuation: np.ndarray, mask: np.ndarray, *, window: tuple[slice, slice] | None = None
    ) -> FindingEffect:
        """
        Put what was computed in a window into the whole image.

        Air that an earlier finding has taken is not taken again. What is outside the lung is cut from the mask, and so
        are crumbs, which would stretch its box.

        Args:
            attenuation (`np.ndarray`): Change of the line integral if the lung were healthy otherwise.
            mask (`np.ndarray` of bool): Visible extent.
            window (`tuple[slice, slice]`, *optional*): Where; the whole lung by default.
        """
        scene, side = self.scene, self.side
        window = window or self.window
        room = self.mu_fill * scene.lung_thickness[side][window] - scene.vessels[side][window]
        share = np.minimum(np.maximum(attenuation, 0.0) / np.maximum(room, 0.02), 1.0)
        if side in scene.flooded:
            attenuation = attenuation * (1 - scene.flooded[side][window])
        effect = windowed_effect(scene, window, attenuation, _without_crumbs(mask & scene.lung_extent[side][window]))
        effect.flooded[side] = np.zeros_like(effect.attenuation)
        effect.flooded[side][window] = share
        return effect


def windowed_effect(
    scene: Scene, window: tuple[slice, slice], attenuation: np.ndarray, mask: np.ndarray
) -> FindingEffect:
    """Put an attenuation and a mask that were computed in `window` into maps of the whole image."""
    shape = (scene.image_size, scene.image_size)
    full, seen = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    full[window] = attenuation
    seen[window] = mask
    return FindingEffect(full, seen)


def combine(*effects: FindingEffect) -> FindingEffect:
    """Sum of attenuations, union of masks and of the air that they take."""
    attenuation, mask, flooded = effects[0].attenuation.copy(), effects[0].mask.copy(), dict(effects[0].flooded)
    for effect in effects[1:]:
        attenuation += effect.attenuation
        mask |= effect.mask
        for side, share in effect.flooded.items():
            flooded[side] = np.maximum(flooded.get(side, 0.0), share)
    return FindingEffect(attenuation, mask, flooded)


def window_around(scene: Scene, x_range: tuple[float, float], y_range: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns whose centres lie in the ranges (cm), at least two of each, clipped to the image."""
    return (
        _slice(scene.y_cm, *y_range),
        _slice(scene.x_cm, *x_range),
    )


def severity_level(instance: FindingInstance, rng: np.random.Generator) -> float:
    """
    Severity as a number from 0 to 1, jittered within its class so that classes touch and do not repeat themselves.

    Always two draws. An instance without severity gets a random one, more often small than large.
    """
    jitter, free = rng.uniform(-_LEVEL_JITTER, _LEVEL_JITTER), rng.random()
    if instance.severity is None:
        return float(0.05 + 0.95 * free**1.5)
    return float(np.clip(_LEVELS[instance.severity] + jitter, 0.02, 1.0))


def resolve_side(instance: FindingInstance, side: str | None, rng: np.random.Generator) -> str:
    """The side to paint: the one asked for, else the instance's, else either. Always one draw."""
    either = "right" if rng.random() < 0.5 else "left"
    region_side = REGIONS[instance.region].side if instance.region else None
    return next((candidate for candidate in (side, instance.side, region_side) if candidate in SIGN), either)


def region_stem(region: str | None) -> str | None:
    """
    Region without its side; the lingula counts as the left middle lobe.

    Example:

    ```python
    >>> from synthcxr.simulation.placement import region_stem

    >>> region_stem("left_lower_lobe"), region_stem("lingula"), region_stem(None)
    ('lower_lobe', 'middle_lobe', None)

    ```
    """
    if region is None:
        return None
    if region == "lingula":
        return _LINGULA
    return region.removeprefix("right_").removeprefix("left_")


def region_box(region: str | None, fallback: str = "lung") -> tuple[float, float, float, float]:
    """Range of u and v, `(u0, u1, v0, v1)`, in which the centre of a finding of this region lies."""
    return _BOXES.get(region_stem(region) or fallback, _BOXES[fallback])


def place(
    frame: LungFrame, region: str | None, rng: np.random.Generator, *, fallback: str = "lung"
) -> tuple[float, float]:
    """Draw a point of a region (two draws, always) and give it in cm."""
    u0, u1, v0, v1 = region_box(region, fallback)
    first, second = rng.random(2)
    return frame.point(u0 + first * (u1 - u0), v0 + second * (v1 - v0))


def visible(attenuation: np.ndarray, *, floor: float = _VISIBLE_FLOOR, share: float = _VISIBLE_SHARE) -> np.ndarray:
    """
    Where a reader could see the effect: above a floor of contrast, and not in the faint tail of a strong finding.

    Args:
        attenuation (`np.ndarray`): Change of the line integral, smooth (an envelope, not its texture).
        floor (`float`, *optional*): Contrast in neper; a finding fainter than this keeps its upper half.
        share (`float`, *optional*): Share of the peak below which the tail is cut.

    Returns:
        `np.ndarray` of bool: Visible extent.
    """
    strength = np.abs(attenuation)
    peak = float(strength.max(initial=0.0))
    return strength > max(min(floor, 0.5 * peak), share * peak, 1e-6)


def _without_crumbs(mask: np.ndarray) -> np.ndarray:
    parts = np.zeros(mask.shape, dtype=np.int32)
    areas = _label(np.ascontiguousarray(mask), parts)
    return mask if len(areas) < 3 else (areas >= _CRUMB_SHARE * areas.max())[parts]


@njit(cache=True)
def _label(mask: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Number the parts that hang together from 1 up; returns the area of each, and 0 for the outside."""
    height, width = mask.shape
    stack = np.empty((mask.size, 2), np.int32)
    areas = [0]
    for row in range(height):
        for column in range(width):
            if not mask[row, column] or parts[row, column]:
                continue
            part, area, depth = len(areas), 0, 1
            parts[row, column] = part
            stack[0, 0], stack[0, 1] = row, column
            while depth:
                depth -= 1
                r, c = stack[depth, 0], stack[depth, 1]
                area += 1
                for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    rr, cc = r + dr, c + dc
                    if 0 <= rr < height and 0 <= cc < width and mask[rr, cc] and not parts[rr, cc]:
                        parts[rr, cc] = part
                        stack[depth, 0], stack[depth, 1] = rr, cc
                        depth += 1
            areas.append(area)
    return np.array(areas)


def _bounds(mask: np.ndarray) -> tuple[slice, slice]:
    top, bottom, left, right = _extremes(mask)
    if bottom <= top:
        return slice(0, 2), slice(0, 2)
    return slice(top, bottom), slice(left, right)


@njit(cache=True)
def _extremes(mask: np.ndarray) -> tuple[int, int, int, int]:
    top, bottom, left, right = mask.shape[0], 0, mask.shape[1], 0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if mask[row, column]:
                top, bottom = min(top, row), row + 1
                left, right = min(left, column), max(right, column + 1)
    return top, bottom, left, right


def _slice(coordinates: np.ndarray, low: float, high: float) -> slice:
    start, stop = np.searchsorted(coordinates, (low, high))
    start = int(min(max(start, 0), len(coordinates) - 2))
    return slice(start, int(min(max(stop, start + 2), len(coordinates))))
