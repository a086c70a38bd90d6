"""The fine grain of lung and soft tissue: cut-outs of one periodic noise field, fixed in centimetres."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from .scene import Scene
from .streams import stream


_TILE_PITCH_CM = 0.08
_TILE_SIZE = 512


def lung_texture(scene: Scene) -> np.ndarray:
    """
    Relative density of the lungs: about 1, less in front of the apex than at the base, with a grain.

    Args:
        scene (`Scene`): Under construction.

    Returns:
        `np.ndarray` of shape `(image_size, image_size)`, float32: Mean about 1.
    """
    draw = stream(scene.spec.patient.seed, "parenchyma").random(4)
    grain = sample_tile(scene.x_cm, scene.y_cm, offset=(draw[0], draw[1]))
    gravity = 0.06 if scene.geometry.supine else 0.16
    rise = gravity * (np.clip(scene.y_cm / scene.geometry.lung_height_cm, 0, 1) - 0.5)
    grain *= np.float32(0.05 + 0.04 * draw[2])
    grain += (1 + rise).astype(np.float32)[:, None]
    return grain


def sample_tile(x_cm: np.ndarray, y_cm: np.ndarray, *, offset: tuple[float, float], zoom: float = 1.0) -> np.ndarray:
    """
    Cut a window out of the noise field, whose power falls as the inverse square of frequency.

    Args:
        x_cm, y_cm (`np.ndarray`): Evenly spaced columns and rows.
        offset (`tuple[float, float]`): Place in the field, as shares of its period (41 cm).
        zoom (`float`, *optional*, defaults to 1.0): Above 1 the grain is finer.

    Returns:
        `np.ndarray` of shape `(height, width)`, float32: Standard deviation 1 over the whole field at full resolution.
    """
    pixel = float(x_cm[1] - x_cm[0]) * zoom
    level = int(np.clip(np.floor(np.log2(max(pixel / _TILE_PITCH_CM, 1.0)) + 0.25), 0, 3))
    tile = _tiles()[level]
    pitch = _TILE_PITCH_CM * 2**level
    out = np.empty((len(y_cm), len(x_cm)), np.float32)
    size = len(tile)
    x0 = float(x_cm[0]) * zoom / pitch + offset[0] * size + 8 * size
    y0 = float(y_cm[0]) * zoom / pitch + offset[1] * size + 8 * size
    _sample(tile, x0, y0, pixel / pitch, out)
    return out


@lru_cache(maxsize=1)
def _tiles() -> tuple[np.ndarray, ...]:
    """The field and its averages over 2, 4 and 8 cells."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_TILE_SIZE), np.fft.rfftfreq(_TILE_SIZE), indexing="ij"))
    frequency *= _TILE_SIZE
    amplitude = np.where(frequency > 2, np.maximum(frequency, 1.0) ** -1.05, 0.0)
    noise = np.fft.rfft2(stream(0, "parenchyma", "tile").standard_normal((_TILE_SIZE, _TILE_SIZE)))
    field = np.fft.irfft2(noise * amplitude, s=(_TILE_SIZE, _TILE_SIZE))
    field = (field / field.std()).astype(np.float32)
    levels = [field]
    for _ in range(3):
        last = levels[-1]
        half = len(last) // 2
        levels.append(np.ascontiguousarray(last.reshape(half, 2, half, 2).mean(axis=(1, 3), dtype=np.float32)))
    return tuple(levels)


@njit(cache=True)
def _sample(tile: np.ndarray, x0: float, y0: float, step: float, out: np.ndarray) -> None:
    mask = tile.shape[0] - 1
    width = out.shape[1]
    lefts, shares = np.empty(width, np.int64), np.empty(width, np.float32)
    for j in range(width):
        u = x0 + j * step
        lefts[j] = int(u)
        shares[j] = u - int(u)
    for i in range(out.shape[0]):
        v = y0 + i * step
        r = int(v)
        share = np.float32(v - r)
        upper, lower = tile[r & mask], tile[(r + 1) & mask]
        for j in range(width):
            a, b = lefts[j] & mask, (lefts[j] + 1) & mask
            top = upper[a] + (upper[b] - upper[a]) * shares[j]
            bottom = lower[a] + (lower[b] - lower[a]) * shares[j]
            out[i, j] = top + (bottom - top) * share
