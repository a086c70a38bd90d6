"""Changing resolution and blurring, at the lowest resolution that shows the result."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def turn_image(image: np.ndarray, angle: float, out: np.ndarray) -> None:
    """
    Turn an image about its centre, bilinearly; what comes from outside mirrors the inside.

    Args:
        image (`np.ndarray` of shape `(size, size)`, float32): Source.
        angle (`float`): Radians, clockwise as seen.
        out (`np.ndarray` of shape `(size, size)`, float32): Filled.
    """
    size = image.shape[0]
    cos, sin, half = np.cos(angle), np.sin(angle), 0.5 * (size - 1)
    high = size - 1.001
    for i in range(size):
        for j in range(size):
            u = abs(half + cos * (j - half) + sin * (i - half))
            v = abs(half - sin * (j - half) + cos * (i - half))
            u = max(2.0 * high - u, 0.0) if u > high else u
            v = max(2.0 * high - v, 0.0) if v > high else v
            c, r = int(u), int(v)
            fu, fv = np.float32(u - c), np.float32(v - r)
            upper = image[r, c] + (image[r, c + 1] - image[r, c]) * fu
            lower = image[r + 1, c] + (image[r + 1, c + 1] - image[r + 1, c]) * fu
            out[i, j] = upper + (lower - upper) * fv


def turn_mask(size: int, angle: float) -> np.ndarray:
    """Indices `(size * size,)` into a flat mask that turn it as `turn_image` turns an image (nearest pixel)."""
    index = np.empty((size, size), np.uint32)  # unsigned: negative places need no care
    _turned_places(size, angle, index)
    return index.ravel()


@njit(cache=True)
def turned(mask: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Mask `(size, size)` with its pixels taken from the places that `turn_mask` gives."""
    out, flat = np.empty(index.size, mask.dtype), mask.ravel()
    for k in range(index.size):
        out[k] = flat[index[k]]
    return out.reshape(mask.shape)


def smooth_coarsely(image: np.ndarray, sigma: float) -> np.ndarray:
    """
    Blur with a Gaussian at the resolution that suits it.

    Args:
        image (`np.ndarray` of shape `(size, size)`, float32): Source.
        sigma (`float`): Standard deviation in pixels.

    Returns:
        `np.ndarray` of shape `(size, size)`, float32: Blurred; edges repeat.
    """
    factor = max(1, min(int(sigma / 1.2), image.shape[0] // 8))
    if factor == 1:
        return blur(image, sigma)
    coarse = block_mean(image, factor)
    # Averaging and interpolation blur a little themselves.
    rest = np.sqrt(max(sigma**2 - factor**2 / 4, 0.01)) / factor
    return enlarge(blur(coarse, rest), factor, image.shape[0])


def block_mean(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over squares of `factor` pixels; the last ones of an odd size are smaller."""
    size = -(-image.shape[0] // factor)
    out = np.empty((size, size), np.float32)
    _block_mean(image, factor, out)
    return out


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by direct convolution; for small `sigma` in pixels."""
    if sigma < 0.15:
        return image.copy()
    radius = max(1, int(np.ceil(2.6 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    halfway, out = np.empty_like(image), np.empty_like(image)
    _convolve_rows(image, taps, halfway)
    _convolve_columns(halfway, taps, out)
    return out


def enlarge(coarse: np.ndarray, factor: int, size: int) -> np.ndarray:
    """Bilinear enlargement of what `block_mean` made, to `(size, size)`."""
    out = np.empty((size, size), np.float32)
    _enlarge(coarse, factor, out)
    return out


@njit(cache=True)
def _block_mean(image: np.ndarray, factor: int, out: np.ndarray) -> None:
    size = image.shape[0]
    line = np.empty(size)
    for i in range(out.shape[0]):
        bottom = min((i + 1) * factor, size)
        line[:] = 0.0
        for r in range(i * factor, bottom):
            for c in range(size):
                line[c] += image[r, c]
        for j in range(out.shape[1]):
            right = min((j + 1) * factor, size)
            total = 0.0
            for c in range(j * factor, right):
                total += line[c]
            out[i, j] = total / ((bottom - i * factor) * (right - j * factor))


@njit(cache=True)
def _convolve_rows(image: np.ndarray, taps: np.ndarray, out: np.ndarray) -> None:
    height, width = image.shape
    radius = len(taps) // 2
    line = np.empty(width + 2 * radius, np.float32)  # with its ends repeated, so that the inner loop has no cases
    for i in range(height):
        for j in range(radius):
            line[j], line[radius + width + j] = image[i, 0], image[i, width - 1]
        for j in range(width):
            line[radius + j] = image[i, j]
            out[i, j] = 0.0
        for k in range(len(taps)):
            tap = taps[k]
            for j in range(width):
                out[i, j] += tap * line[j + k]


@njit(cache=True)
def _convolve_columns(image: np.ndarray, taps: np.ndarray, out: np.ndarray) -> None:
    height, width = image.shape
    radius = len(taps) // 2
    for i in range(height):
        for j in range(width):
            out[i, j] = 0.0
        for k in range(len(taps)):
            row, tap = min(max(i + k - radius, 0), height - 1), taps[k]
            for j in range(width):
                out[i, j] += tap * image[row, j]


@njit(cache=True)
def _enlarge(coarse: np.ndarray, factor: int, out: np.ndarray) -> None:
    last = coarse.shape[0] - 1
    places, shares = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.float32)
    for j in range(out.shape[1]):
        u = min(max((j + 0.5) / factor - 0.5, 0.0), float(last))
        places[j] = min(int(u), max(last - 1, 0))
        shares[j] = u - places[j]
    line = np.empty(coarse.shape[1] + 1, np.float32)
    for i in range(out.shape[0]):
        v = min(max((i + 0.5) / factor - 0.5, 0.0), float(last))
        r = min(int(v), max(last - 1, 0))
        share, below = np.float32(v - r), min(r + 1, last)
        for c in range(coarse.shape[1]):
            line[c] = coarse[r, c] + (coarse[below, c] - coarse[r, c]) * share
        line[last + 1] = line[last]
        for j in range(out.shape[1]):
            c = places[j]
            out[i, j] = line[c] + (line[c + 1] - line[c]) * shares[j]


@njit(cache=True)
def apply_table(image: np.ndarray, scale: float, offset: float, table: np.ndarray, out: np.ndarray) -> None:
    """
    Map `scale * image + offset` through a table that covers -0.5 to 1.75 in steps of 0.002, interpolating.

    Args:
        image (`np.ndarray` of shape `(size, size)`, float32): Source.
        scale, offset (`float`): Straight line before the table.
        table (`np.ndarray` of shape `(1126,)`, float32): Values.
        out (`np.ndarray` of shape `(size, size)`, float32): Filled; may be `image`.
    """
    factor, start = np.float32(500.0 * scale), np.float32(500.0 * (offset + 0.5))
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            position = min(max((factor * image[i, j] + start), np.float32(0.0)), np.float32(1124.9))
            k = int(position)
            out[i, j] = table[k] + (table[k + 1] - table[k]) * (position - np.float32(k))


@njit(cache=True)
def _turned_places(size: int, angle: float, index: np.ndarray) -> None:
    cos, sin, half, last = np.cos(angle), np.sin(angle), 0.5 * (size - 1), size - 1
    for i in range(size):
        for j in range(size):
            u = abs(int(np.floor(half + cos * (j - half) + sin * (i - half) + 0.5)))
            v = abs(int(np.floor(half - sin * (j - half) + cos * (i - half) + 0.5)))
            u = 2 * last - u if u > last else u
            v = 2 * last - v if v > last else v
            index[i, j] = v * size + u
