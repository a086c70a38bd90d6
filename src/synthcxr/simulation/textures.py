"""Noise fields and soft shapes that live in centimetres, so that every image size shows the same lesion."""

from __future__ import annotations

import numpy as np
from numba import njit


_RIDGED_MEAN = 0.33
_SUBPIXEL_FADE = 1.5  # octaves shorter than this many pixels vanish, up to twice of it they fade


def noise_seed(rng: np.random.Generator) -> int:
    """Draw the seed of one noise field; always exactly one draw."""
    return int(rng.integers(0, 2**31 - 1))


def fractal_noise(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    *,
    seed: int,
    scale_cm: float,
    octaves: int = 4,
    persistence: float = 0.55,
    stretch: float = 1.0,
    angle: float = 0.0,
    ridged: bool = False,
) -> np.ndarray:
    """
    Sum octaves of gradient noise on a lattice that is fixed in centimetres.

    The lattice is hashed, not stored: a field has no border, costs nothing outside the window that is asked for, and
    has the same value at one point of the body whatever the pixels are. Octaves finer than the pixels fade out.

    Args:
        x_cm, y_cm (`np.ndarray` of shape `(width,)` and `(height,)`): Evenly spaced coordinates.
        seed (`int`): Field.
        scale_cm (`float`): Lattice pitch of the coarsest octave.
        octaves (`int`, *optional*, defaults to 4): Each has half the pitch of the one before.
        persistence (`float`, *optional*, defaults to 0.55): Amplitude of an octave relative to the coarser one.
        stretch (`float`, *optional*, defaults to 1.0): Elongation along `angle` (radians from the x axis).
        angle (`float`, *optional*, defaults to 0.0): Direction of the elongation.
        ridged (`bool`, *optional*, defaults to `False`): Fold every octave at zero: a web of lines.

    Returns:
        `np.ndarray` of shape `(height, width)`, float32: Mean about 0, standard deviation about 1; a ridged field
        lies in 0 to 1 with the web near 1.
    """
    return _fractal_noise(
        np.ascontiguousarray(x_cm, dtype=np.float64),
        np.ascontiguousarray(y_cm, dtype=np.float64),
        np.uint32(seed & 0xFFFFFFFF),
        float(scale_cm),
        int(octaves),
        float(persistence),
        float(stretch),
        float(angle),
        int(ridged),
    )


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """
    Rise from 0 at `low` to 1 at `high` without corners; `low > high` falls instead.

    Example:

    ```python
    >>> import numpy as np
    >>> from synthcxr.simulation.textures import smoothstep

    >>> smoothstep(np.array([0.0, 0.5, 2.0]), 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]

    ```
    """
    share = np.clip((values - low) * (1.0 / (high - low)), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def soft_blob(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    *,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
    softness: float = 0.35,
    irregularity: float = 0.25,
    seed: int = 0,
) -> np.ndarray:
    """
    Paint an ellipse whose edge is frayed by noise and fades over a margin.

    Args:
        x_cm, y_cm (`np.ndarray`): Coordinates of the window.
        centre (`tuple[float, float]`): Centre in cm.
        radii (`tuple[float, float]`): Half axes in cm, the first along `angle`.
        angle (`float`, *optional*, defaults to 0.0): Radians from the x axis.
        softness (`float`, *optional*, defaults to 0.35): Half width of the fading margin, as a share of the radius.
        irregularity (`float`, *optional*, defaults to 0.25): How far noise pushes the edge, as a share of the radius.
        seed (`int`, *optional*, defaults to 0): Noise field of the edge.

    Returns:
        `np.ndarray` of shape `(height, width)`, float32: 1 inside, 0 outside.
    """
    distance = elliptic_distance(x_cm, y_cm, centre=centre, radii=radii, angle=angle)
    if irregularity > 0:
        scale = 1.1 * min(radii)
        distance += irregularity * fractal_noise(x_cm, y_cm, seed=seed, scale_cm=scale, octaves=3, persistence=0.4)
    return smoothstep(distance, 1.0 + softness, 1.0 - softness)


def elliptic_distance(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    *,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
) -> np.ndarray:
    """Distance from `centre` in units of the ellipse's radius, `(height, width)` float32: 1 on the ellipse."""
    dx = (x_cm - centre[0]).astype(np.float32)[None, :]
    dy = (y_cm - centre[1]).astype(np.float32)[:, None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = (dx * cos + dy * sin) / np.float32(radii[0])
    across = (dy * cos - dx * sin) / np.float32(radii[1])
    return np.sqrt(along * along + across * across)


def lobed_distance(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    *,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float,
    amplitudes: np.ndarray,
    phases: np.ndarray,
) -> np.ndarray:
    """
    Elliptic distance with a lobulated rim: the radius is modulated by harmonics 2, 3, 4 ... of the direction.

    Args:
        x_cm, y_cm, centre, radii, angle: As for `elliptic_distance`.
        amplitudes (`np.ndarray` of shape `(num_harmonics,)`): Shares of the radius.
        phases (`np.ndarray` of shape `(num_harmonics,)`): Radians.

    Returns:
        `np.ndarray` of shape `(height, width)`, float32: 1 on the rim.
    """
    distance = elliptic_distance(x_cm, y_cm, centre=centre, radii=radii, angle=angle)
    dx = (x_cm - centre[0]).astype(np.float32)[None, :]
    dy = (y_cm - centre[1]).astype(np.float32)[:, None]
    direction = np.arctan2(dy, dx)
    rim = np.ones_like(distance)
    for index, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True)):
        rim += np.float32(amplitude) * np.cos((index + 2) * direction + np.float32(phase))
    return distance / np.maximum(rim, 0.2)


def sphere_chord(distance: np.ndarray, depth_cm: float) -> np.ndarray:
    """Path length in cm through an ellipsoid of full depth `depth_cm`, from a distance that is 1 on its rim."""
    return np.float32(depth_cm) * np.sqrt(np.maximum(1.0 - distance * distance, 0.0))


@njit(cache=True, fastmath=True)
def _hash(ix: int, iy: int, seed: int) -> int:
    value = np.uint32(ix) * np.uint32(374761393) + np.uint32(iy) * np.uint32(668265263) + seed * np.uint32(2246822519)
    value = (value ^ (value >> np.uint32(13))) & np.uint32(0xFFFFFFFF)
    value = np.uint32(value * np.uint32(1274126177))
    return np.uint32(value ^ (value >> np.uint32(16)))


@njit(cache=True, fastmath=True)
def _slope(ix: int, iy: int, dx: float, dy: float, seed: int) -> float:
    # Eight directions are enough once octaves are rotated against each other.
    turn = _hash(ix, iy, seed) & np.uint32(7)
    u = dx if turn < 4 else dy
    v = dy if turn < 4 else dx
    if turn & np.uint32(1):
        u = -u
    return u + (v if turn & np.uint32(2) else -v) * 0.5


@njit(cache=True, fastmath=True)
def _gradient_noise(x: float, y: float, seed: int) -> float:
    fx, fy = np.floor(x), np.floor(y)
    ix, iy = np.int64(fx), np.int64(fy)
    dx, dy = x - fx, y - fy
    sx = dx * dx * dx * (dx * (dx * 6.0 - 15.0) + 10.0)
    sy = dy * dy * dy * (dy * (dy * 6.0 - 15.0) + 10.0)
    top = _slope(ix, iy, dx, dy, seed)
    top += sx * (_slope(ix + 1, iy, dx - 1.0, dy, seed) - top)
    bottom = _slope(ix, iy + 1, dx, dy - 1.0, seed)
    bottom += sx * (_slope(ix + 1, iy + 1, dx - 1.0, dy - 1.0, seed) - bottom)
    return 4.2 * (top + sy * (bottom - top))


@njit(cache=True, fastmath=True)
def _fractal_noise(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    seed: int,
    scale: float,
    octaves: int,
    persistence: float,
    stretch: float,
    angle: float,
    ridged: int,
) -> np.ndarray:
    out = np.zeros((y_cm.size, x_cm.size), dtype=np.float32)
    pixel = abs(x_cm[1] - x_cm[0]) if x_cm.size > 1 else 0.0
    amplitude, power = 1.0, 0.0
    for octave in range(octaves):
        pitch = scale / 2.0**octave
        fade = 1.0
        if pixel > 0.0:
            fade = min(max(pitch / pixel / _SUBPIXEL_FADE - 1.0, 0.0), 1.0)
        power += amplitude if ridged else amplitude * amplitude
        if fade > 0.0:
            turn = angle + (0.0 if stretch != 1.0 else 0.65 * octave)
            cos, sin = np.cos(turn) / pitch, np.sin(turn) / pitch
            octave_seed = np.uint32(seed + np.uint32(octave * 7919))
            for row in range(y_cm.size):
                for column in range(x_cm.size):
                    along = (x_cm[column] * cos + y_cm[row] * sin) / stretch
                    across = y_cm[row] * cos - x_cm[column] * sin
                    value = _gradient_noise(along, across, octave_seed)
                    if ridged:
                        value = max(1.0 - 1.2 * abs(value), 0.0) - _RIDGED_MEAN
                    out[row, column] += amplitude * fade * value
        amplitude *= persistence
    out /= np.float32(power if ridged else np.sqrt(power))
    return out + np.float32(_RIDGED_MEAN) if ridged else out
