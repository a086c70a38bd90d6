"""Noise fields and soft shapes that live in centimetres, so that every image size shows the same lesion."""

from __future__ import annotations

import numpy as np
from numba import njit


_RIDGED_MEAN = 0.33
_NOISE_REACH = 2.5  # standard deviations that the noise hardly ever exceeds
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
        int(seed),
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
    share = np.minimum(np.maximum((values - low) * (1.0 / (high - low)), 0.0), 1.0)
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
    out = np.zeros((len(y_cm), len(x_cm)), dtype=np.float32)
    reach = max(radii) * (1.0 + softness + _NOISE_REACH * irregularity)
    left, right = np.searchsorted(x_cm, (centre[0] - reach, centre[0] + reach))
    top, bottom = np.searchsorted(y_cm, (centre[1] - reach, centre[1] + reach))
    if right - left < 1 or bottom - top < 1:
        return out
    x_cm, y_cm = x_cm[left:right], y_cm[top:bottom]
    scale = 1.1 * min(radii)
    patch = fractal_noise(x_cm, y_cm, seed=seed, scale_cm=scale, octaves=3, persistence=0.4)
    centre, radii = (float(centre[0]), float(centre[1])), (float(radii[0]), float(radii[1]))
    _fray(x_cm, y_cm, centre, radii, float(angle), float(softness), float(irregularity), patch)
    out[top:bottom, left:right] = patch
    return out


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
    out = np.empty((len(y_cm), len(x_cm)), dtype=np.float32)
    centre, radii = (float(centre[0]), float(centre[1])), (float(radii[0]), float(radii[1]))
    _lobed(x_cm, y_cm, centre, radii, float(angle), amplitudes * np.cos(phases), amplitudes * np.sin(phases), out)
    return out


def sphere_chord(distance: np.ndarray, depth_cm: float) -> np.ndarray:
    """Path length in cm through an ellipsoid of full depth `depth_cm`, from a distance that is 1 on its rim."""
    return np.float32(depth_cm) * np.sqrt(np.maximum(1.0 - distance * distance, 0.0))


@njit(cache=True)
def _slopes(column0: int, row0: int, seed: int, slopes: np.ndarray) -> None:
    """Hash the slope `(x, y)` of every node of a patch of the lattice, of which there are eight."""
    for row in range(slopes.shape[0]):
        for column in range(slopes.shape[1]):
            value = np.uint32(column0 + column) * np.uint32(374761393) + np.uint32(row0 + row) * np.uint32(668265263)
            value = np.uint32(value + np.uint32(seed) * np.uint32(2246822519))
            value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(1274126177))
            value = value ^ (value >> np.uint32(16))
            first = 1.0 if value & np.uint32(1) else -1.0
            second = 0.5 if value & np.uint32(2) else -0.5
            swapped = (value & np.uint32(4)) != 0
            slopes[row, column, 0] = second if swapped else first
            slopes[row, column, 1] = first if swapped else second


@njit(cache=True)
def _add_octave(
    out: np.ndarray,
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    seed: int,
    along: tuple[float, float],
    across: tuple[float, float],
    gain: float,
    ridged: int,
) -> None:
    # Every octave has its own turn, so that the lattices' directions do not add up.
    last = x_cm.size - 1
    low_u = min(x_cm[0] * along[0], x_cm[last] * along[0]) + min(y_cm[0] * along[1], y_cm[-1] * along[1])
    high_u = max(x_cm[0] * along[0], x_cm[last] * along[0]) + max(y_cm[0] * along[1], y_cm[-1] * along[1])
    low_v = min(x_cm[0] * across[0], x_cm[last] * across[0]) + min(y_cm[0] * across[1], y_cm[-1] * across[1])
    high_v = max(x_cm[0] * across[0], x_cm[last] * across[0]) + max(y_cm[0] * across[1], y_cm[-1] * across[1])
    column0, row0 = int(np.floor(low_u)), int(np.floor(low_v))
    nodes = np.empty((int(np.floor(high_v)) - row0 + 3, int(np.floor(high_u)) - column0 + 3, 2), np.float32)
    _slopes(column0, row0, seed, nodes)
    step_u, step_v = 0.0, 0.0
    if last > 0:
        step_u, step_v = along[0] * (x_cm[1] - x_cm[0]), across[0] * (x_cm[1] - x_cm[0])
    one, gain32, mean = np.float32(1.0), np.float32(gain), np.float32(_RIDGED_MEAN)
    for row in range(y_cm.size):
        start_u = x_cm[0] * along[0] + y_cm[row] * along[1] - column0
        start_v = x_cm[0] * across[0] + y_cm[row] * across[1] - row0
        for column in range(x_cm.size):
            u, v = start_u + column * step_u, start_v + column * step_v
            iu, iv = int(u), int(v)
            du, dv = np.float32(u - iu), np.float32(v - iv)
            su = du * du * (np.float32(3.0) - np.float32(2.0) * du)
            sv = dv * dv * (np.float32(3.0) - np.float32(2.0) * dv)
            a = nodes[iv, iu, 0] * du + nodes[iv, iu, 1] * dv
            b = nodes[iv, iu + 1, 0] * (du - one) + nodes[iv, iu + 1, 1] * dv
            c = nodes[iv + 1, iu, 0] * du + nodes[iv + 1, iu, 1] * (dv - one)
            d = nodes[iv + 1, iu + 1, 0] * (du - one) + nodes[iv + 1, iu + 1, 1] * (dv - one)
            upper, lower = a + su * (b - a), c + su * (d - c)
            value = np.float32(4.2) * (upper + sv * (lower - upper))
            if ridged:
                value = max(one - np.float32(1.2) * abs(value), np.float32(0.0)) - mean
            out[row, column] += gain32 * value


@njit(cache=True)
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
            along, across = (cos / stretch, sin / stretch), (-sin, cos)
            _add_octave(out, x_cm, y_cm, seed + octave * 7919, along, across, amplitude * fade, ridged)
        amplitude *= persistence
    out *= np.float32(1.0 / (power if ridged else np.sqrt(power)))
    return out + np.float32(_RIDGED_MEAN) if ridged else out


@njit(cache=True)
def _lobed(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float,
    cosines: np.ndarray,
    sines: np.ndarray,
    out: np.ndarray,
) -> None:
    cos, sin = np.cos(angle), np.sin(angle)
    for row in range(y_cm.size):
        dy = y_cm[row] - centre[1]
        for column in range(x_cm.size):
            dx = x_cm[column] - centre[0]
            along, across = (dx * cos + dy * sin) / radii[0], (dy * cos - dx * sin) / radii[1]
            reach = np.sqrt(dx * dx + dy * dy) + 1e-9
            ux, uy = dx / reach, dy / reach
            # Harmonics by repeated multiplication of the unit vector with itself.
            hx, hy = ux, uy
            rim = 1.0
            for index in range(cosines.size):
                hx, hy = hx * ux - hy * uy, hx * uy + hy * ux
                rim += cosines[index] * hx - sines[index] * hy
            out[row, column] = np.sqrt(along * along + across * across) / max(rim, 0.2)


@njit(cache=True)
def _fray(
    x_cm: np.ndarray,
    y_cm: np.ndarray,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float,
    softness: float,
    irregularity: float,
    noise: np.ndarray,
) -> None:
    """Turn noise, in place, into the frayed ellipse."""
    cos, sin = np.cos(angle), np.sin(angle)
    high, slope = 1.0 + softness, 0.5 / softness
    for row in range(y_cm.size):
        dy = y_cm[row] - centre[1]
        for column in range(x_cm.size):
            dx = x_cm[column] - centre[0]
            along, across = (dx * cos + dy * sin) / radii[0], (dy * cos - dx * sin) / radii[1]
            distance = np.sqrt(along * along + across * across) + irregularity * noise[row, column]
            share = min(max((high - distance) * slope, 0.0), 1.0)
            noise[row, column] = share * share * (3.0 - 2.0 * share)
