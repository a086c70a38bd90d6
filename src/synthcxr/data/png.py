"""Fast lossless PNG of grey images and masks: about four times as fast as a general encoder, as small."""

from __future__ import annotations

import struct
import zlib

import numpy as np


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FILTER_NONE, _FILTER_UP = 0, 2


def encode_png(image: np.ndarray) -> bytes:
    """
    PNG of one grey channel: 8 bits per pixel for `uint8`, 1 bit per pixel for `bool` (true is white).

    Noise of a radiograph has no repeated strings to find, so each line is stored as its difference to the one above
    and then only run lengths and symbol frequencies are coded.

    Args:
        image (`np.ndarray` of shape `(height, width)`): `uint8` or `bool`.

    Raises:
        ValueError: On another shape or type.

    Example:

    ```python
    >>> import io
    >>> import numpy as np
    >>> from PIL import Image
    >>> from synthcxr.data.png import encode_png

    >>> image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    >>> bool((np.asarray(Image.open(io.BytesIO(encode_png(image)))) == image).all())
    True

    ```
    """
    if image.ndim != 2 or image.dtype not in (np.uint8, np.bool_):
        raise ValueError(
            f"image has shape {image.shape} and type {image.dtype}; expected (height, width) uint8 or bool."
        )
    height, width = image.shape
    if image.dtype == np.bool_:
        bit_depth, row_filter, strategy = 1, _FILTER_NONE, zlib.Z_DEFAULT_STRATEGY
        values = np.packbits(image, axis=1)
    else:
        bit_depth, row_filter, strategy = 8, _FILTER_UP, zlib.Z_RLE
        values = image.copy()
        values[1:] -= image[:-1]

    lines = np.empty((height, values.shape[1] + 1), np.uint8)
    lines[:, 0] = row_filter
    lines[:, 1:] = values
    compressor = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    data = compressor.compress(lines.tobytes()) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, bit_depth, 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
