"""Reading radiographs from untrusted files: PNG, JPEG and DICOM, to grey pixels and nothing else."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin

from .reading_dicom import DICOM_MARK, DICOM_MARK_OFFSET, read_dicom


DEFAULT_MAX_PIXELS = 100_000_000

_PNG_MARK = b"\x89PNG\r\n\x1a\n"
_JPEG_MARK = b"\xff\xd8\xff"
# DICOM without a preamble starts with an element of group 2 or 8.
_BARE_DICOM_MARKS = (b"\x02\x00", b"\x08\x00")


def read_radiograph(path_or_bytes: str | os.PathLike | bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """
    Read one radiograph as grey pixels.

    PNG (8 or 16 bit, grey, colour, palette, transparency over black) and JPEG are taken as they are, turned upright
    where the file says how. DICOM (extra `dicom`) is shown as a workstation would: modality and VOI transformation,
    MONOCHROME1 inverted; more than 8 bits are spread over 16. What comes back carries pixels only: no tags, no text.

    Args:
        path_or_bytes (`str`, `os.PathLike` or `bytes`): A file's path or its content.
        max_pixels (`int`, *optional*, defaults to 100,000,000): Larger images are refused before they are decoded.

    Returns:
        `PIL.Image.Image`: Mode `"L"` for up to 8 bits per pixel, `"I;16"` for more.

    Raises:
        ValueError: If the file is no image of these kinds, damaged, too large, or has no (or several) pictures. One
            line that names the file.
        OSError: If the file cannot be opened.
        ImportError: If DICOM is read without the extra.

    Example:

    ```python
    >>> from synthcxr.data import read_radiograph
    >>> from synthcxr.data.png import encode_png
    >>> import numpy as np

    >>> read_radiograph(encode_png(np.zeros((64, 48), np.uint8))).size
    (48, 64)

    ```
    """
    if isinstance(path_or_bytes, bytes):
        return _read(io.BytesIO(path_or_bytes), "The image", max_pixels=max_pixels)
    path = Path(path_or_bytes)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise ValueError(f"{path} is {what}; expected a PNG, JPEG or DICOM file.")
    with path.open("rb") as file:
        return _read(file, str(path), max_pixels=max_pixels)


def to_eight_bit(image: Image.Image) -> Image.Image:
    """
    Mode `"L"` from what `read_radiograph` gives: 16-bit values are stretched from their darkest to their brightest.

    Args:
        image (`PIL.Image.Image`): Mode `"L"` or `"I;16"`.
    """
    if image.mode == "L":
        return image
    values = np.asarray(image).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255 / max(high - low, 1.0))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _read(file: BinaryIO, name: str, *, max_pixels: int) -> Image.Image:
    head = file.read(DICOM_MARK_OFFSET + len(DICOM_MARK))
    file.seek(0)
    if head[DICOM_MARK_OFFSET:] == DICOM_MARK or head[:2] in _BARE_DICOM_MARKS:
        return read_dicom(file, name, max_pixels=max_pixels)
    if head.startswith(_PNG_MARK):
        opener = PngImagePlugin.PngImageFile
    elif head.startswith(_JPEG_MARK):
        opener = JpegImagePlugin.JpegImageFile
    else:
        what = "is empty" if not head else "is no image that can be read"
        raise ValueError(f"{name} {what}; expected PNG, JPEG or DICOM.")
    # Pillow's own limit is global and guesses; ours is exact, so its openers are called past it.
    try:
        image = opener(file)
    except Exception as error:  # decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error ...
        raise _damaged(name, error) from error
    _check_size(image.size, name, max_pixels=max_pixels)
    try:
        image.load()
    except Exception as error:
        raise _damaged(name, error) from error
    return _to_grey(_upright(image))


def _damaged(name: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{name} is damaged or cut short: {reason}")


def _check_size(size: tuple[int, int], name: str, *, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ValueError(
            f"{name} is {width}x{height}, {width * height / 1e6:.0f} megapixels; "
            f"the limit is {max_pixels / 1e6:g} (max_pixels)."
        )
    if min(size) < 2:
        raise ValueError(f"{name} is {width}x{height} pixels; that is no radiograph.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # unreadable orientation tags: the pixels are fine as they lie
        return image


def _to_grey(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        values = np.asarray(image)
        return Image.fromarray(np.clip(values, 0, 65535).astype(np.uint16))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    # A fresh image: `info` of the file (text chunks, EXIF) may name a patient.
    return Image.fromarray(np.asarray(image.convert("L")))
