"""The pixels of a DICOM radiograph, as a workstation would show them; no identifier leaves this module."""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image


if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_MARK = b"DICM"
DICOM_MARK_OFFSET = 128

# The only elements that are parsed: who the patient is, is never read.
_TAGS = [
    *("PixelData", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PixelPaddingValue"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
]
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEADER_BYTES = 4096
_MAX_FILE_BYTES_PER_PIXEL = 16


def read_dicom(file: BinaryIO, name: str, *, max_pixels: int) -> Image.Image:
    """
    Read a single-frame DICOM file.

    The stored values pass the modality transformation, then the first VOI transformation (look-up table, else window);
    where the file has none, more than 8 bits are spread from the darkest to the brightest pixel.

    Args:
        file (`BinaryIO`): Positioned at its start.
        name (`str`): What error messages call it.
        max_pixels (`int`): Larger images are refused before they are decoded.

    Returns:
        `PIL.Image.Image`: Mode `"L"` when at most 8 bits are stored, else `"I;16"` with the shown range spread over
        0 to 65535. Dense tissue is bright, whatever the photometric interpretation.

    Raises:
        ValueError: If there is no picture, more than one, or one that cannot be decoded.
        ImportError: If pydicom is not installed.
    """
    try:
        import pydicom
        from pydicom.pixels import pixel_array
    except ImportError as error:
        raise ImportError(f"{name} is DICOM; to read it: pip install 'synthcxr[dicom]'") from error
    _check_file(file, name, max_pixels=max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote the values of elements
        try:
            dataset = pydicom.dcmread(file, force=True, specific_tags=_TAGS)
            list(dataset)  # elements are converted on first use; whatever is wrong with one shows here
        except Exception as error:
            raise ValueError(f"{name} is damaged: its DICOM elements cannot be parsed.") from error
        _check_picture(dataset, name, max_pixels=max_pixels)
        try:
            stored = pixel_array(dataset)
        except Exception as error:  # the decoders' own errors differ by transfer syntax
            raise ValueError(_explain(error, dataset, name)) from error
        try:
            return _show(stored, dataset)
        except Exception as error:
            raise ValueError(f"{name} cannot be shown: {' '.join(str(error).split())}") from error


def _check_file(file: BinaryIO, name: str, *, max_pixels: int) -> None:
    num_bytes = file.seek(0, 2)
    file.seek(0)
    if num_bytes > _MAX_FILE_BYTES_PER_PIXEL * max_pixels:
        raise ValueError(f"{name} has {num_bytes / 1e6:.0f} MB, more than {max_pixels / 1e6:g} megapixels can need.")
    if _DEFLATED in file.read(_HEADER_BYTES):
        raise ValueError(f"{name} is deflated DICOM, which is not read; convert it to another transfer syntax.")
    file.seek(0)


def _check_picture(dataset: Dataset, name: str, *, max_pixels: int) -> None:
    if not dataset.get("PixelData") or not isinstance(dataset.PixelData, bytes):
        raise ValueError(f"{name} is DICOM without pixel data (a report, a structure set or a directory?).")
    frames, rows, columns = (_count(dataset, key) for key in ("NumberOfFrames", "Rows", "Columns"))
    if frames not in (None, 1):
        raise ValueError(f"{name} has {frames} frames; expected one radiograph.")
    if not rows or not columns:
        raise ValueError(f"{name} is {columns or 0}x{rows or 0} pixels; that is no radiograph.")
    claimed = _codestream_size(dataset.PixelData)
    # A small header in front of a huge compressed picture would pass for small.
    for width, height in ((columns, rows), claimed or (columns, rows)):
        if width * height > max_pixels:
            raise ValueError(
                f"{name} is {width}x{height}, {width * height / 1e6:.0f} megapixels; "
                f"the limit is {max_pixels / 1e6:g} (max_pixels)."
            )
    if min(rows, columns) < 2:
        raise ValueError(f"{name} is {columns}x{rows} pixels; that is no radiograph.")
    if claimed is not None and claimed != (columns, rows):
        raise ValueError(f"{name} says {columns}x{rows} pixels, its compressed picture {claimed[0]}x{claimed[1]}.")
    kind = dataset.get("PhotometricInterpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2", "RGB") and not str(kind).startswith("YBR"):
        raise ValueError(
            f"{name} has the photometric interpretation {str(kind)[:40]!r}; expected MONOCHROME1 or MONOCHROME2."
        )


def _count(dataset: Dataset, key: str) -> int | None:
    try:
        value = dataset.get(key)
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return 0


def _codestream_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG or JPEG 2000 codestream claims; nothing when the pixels are not compressed so."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 1024)
    if 0 <= start <= len(data) - 24:
        x_end, y_end, x_start, y_start = struct.unpack_from(">IIII", data, start + 8)
        return x_end - x_start, y_end - y_start
    position = data.find(b"\xff\xd8\xff", 0, 1024) + 2
    while 2 <= position <= len(data) - 9 and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + length
    return None


def _explain(error: Exception, dataset: Dataset, name: str) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if isinstance(error, RuntimeError) and "missing dependencies" in str(error):
        return f"{name} is compressed as {syntax.name}; to read it: pip install 'synthcxr[dicom]'"
    text = " ".join(str(error).split())
    return f"{name} has pixels that cannot be decoded: {text if len(text) < 200 else text[:197] + '...'}"


def _show(stored: np.ndarray, dataset: Dataset) -> Image.Image:
    """Stored values, `(height, width)` or `(height, width, 3)`, to grey levels."""
    if stored.ndim == 3:
        return Image.fromarray(np.asarray(Image.fromarray(stored.astype(np.uint8)).convert("L")))
    if stored.ndim != 2:
        raise ValueError(f"the pixels have {stored.ndim} dimensions; expected 2.")
    padding = _padding(stored, dataset)
    shown = _value_of_interest(_modality(stored, dataset), dataset, padding)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    shown[padding] = 0
    if dataset.BitsStored <= 8:
        return Image.fromarray(np.rint(shown * 255).astype(np.uint8))
    return Image.fromarray(np.rint(shown * 65535).astype(np.uint16))


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Pixels outside the exposed field, which some detectors mark by a value of their own."""
    value = dataset.get("PixelPaddingValue")
    padding = np.zeros(stored.shape, bool) if value is None else stored == value
    return padding if not padding.all() else ~padding


def _modality(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return _look_up(stored, dataset.ModalityLUTSequence[0], dataset)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    return stored.astype(np.float64) * float(slope) + float(intercept)


def _value_of_interest(values: np.ndarray, dataset: Dataset, padding: np.ndarray) -> np.ndarray:
    """Levels from 0 to 1, float64."""
    if dataset.get("VOILUTSequence"):
        item = dataset.VOILUTSequence[0]
        # Makers state 16 bits for tables that end at 4095, so the table's own range is the full one.
        entries = _table(item, dataset)
        return (_look_up(values, item, dataset) - float(entries.min())) / max(float(np.ptp(entries)), 1.0)
    center, width = (_first(dataset.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None:
        return _window(values, center, width, dataset.get("VOILUTFunction") or "LINEAR")
    if dataset.BitsStored <= 8 and values.dtype.kind in "iu":
        low = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
        return (values.astype(np.float64) - low) / (2**dataset.BitsStored - 1)
    low, high = float(values[~padding].min()), float(values[~padding].max())
    return np.clip((values.astype(np.float64) - low) / max(high - low, np.finfo(float).tiny), 0, 1)


def _first(value: Any) -> float | None:
    if value is None or isinstance(value, str | float | int):
        return None if value in (None, "") else float(value)
    return float(value[0])


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, on an output range of 0 to 1."""
    function = function.upper()
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values.astype(np.float64) - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if function not in ("LINEAR", "LINEAR_EXACT") or not width >= 0:
        raise ValueError(
            f"the window has function {function[:40]!r} and width {width}; expected a linear or sigmoid one."
        )
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values.astype(np.float64) - center) / width + 0.5, 0, 1)


def _look_up(values: np.ndarray, item: Dataset, dataset: Dataset) -> np.ndarray:
    entries = _table(item, dataset)
    first = int(item.LUTDescriptor[1])
    if first >= 2**15 and values.min() < 0:
        first -= 2**16  # the descriptor's sign is lost when it is stored as unsigned
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)
    return entries[index].astype(np.float64)


def _table(item: Dataset, dataset: Dataset) -> np.ndarray:
    """Entries of a look-up table, whichever of the ways to store them was taken."""
    data = item["LUTData"].value
    count = int(item.LUTDescriptor[0]) or 2**16
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        order = "<" if dataset.original_encoding[1] in (True, None) else ">"
        data = np.frombuffer(data, f"{order}u2" if wide else "u1")
    entries = np.asarray(data, dtype=np.int64)[:count]
    if not len(entries):
        raise ValueError("a look-up table is empty.")
    return entries
