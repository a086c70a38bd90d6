import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from synthcxr.data import read_radiograph
from synthcxr.data.reading import to_eight_bit


RAMP = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
GREY = (RAMP % 251).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG that claims a size and has next to no data."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_grey_png_is_read_as_it_is(tmp_path):
    path = tmp_path / "grey.png"
    path.write_bytes(encoded(Image.fromarray(GREY)))
    for source in (path, str(path), path.read_bytes()):
        image = read_radiograph(source)
        assert image.mode == "L"
        assert (np.asarray(image) == GREY).all()


def test_sixteen_bits_are_kept():
    values = (RAMP * 20).astype(np.uint16)
    image = read_radiograph(encoded(Image.fromarray(values)))
    assert image.mode == "I;16"
    assert (np.asarray(image) == values).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_stored_as_something_else_is_the_same_grey(mode):
    image = Image.fromarray(GREY)
    image = image.convert("RGB").quantize(256) if mode == "P" else image.convert(mode)
    read = read_radiograph(encoded(image))
    assert read.mode == "L"
    assert (np.asarray(read) == np.asarray(image.convert("L"))).all()


def test_one_bit_is_black_and_white():
    image = read_radiograph(encoded(Image.fromarray(GREY > 100)))
    assert image.mode == "L"
    assert (np.asarray(image) == 255 * (GREY > 100)).all()


def test_what_is_transparent_is_black():
    image = Image.new("RGBA", (20, 20), (200, 200, 200, 0))
    image.paste((200, 200, 200, 255), (0, 0, 10, 20))
    values = np.asarray(read_radiograph(encoded(image)))
    assert (values[:, :10] == 200).all()
    assert (values[:, 10:] == 0).all()
    palette = Image.fromarray(GREY).quantize(8)
    values = np.asarray(read_radiograph(encoded(palette, transparency=0)))
    assert (values[np.asarray(palette) == 0] == 0).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_read(mode):
    smooth = Image.fromarray(GREY).resize((16, 16)).resize((64, 48), Image.Resampling.BICUBIC)
    image = read_radiograph(encoded(smooth.convert(mode), "JPEG", quality=95))
    assert image.mode == "L"
    assert np.abs(np.asarray(image).astype(int) - np.asarray(smooth)).max() < 12


def test_a_photograph_is_turned_upright():
    image = Image.fromarray(GREY)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    assert read_radiograph(encoded(image, "JPEG", exif=exif)).size == (48, 64)


def test_nothing_but_pixels_comes_back():
    text = PngImagePlugin.PngInfo()
    text.add_text("PatientName", "Doe^Jane")
    exif = Image.Exif()
    exif[0x010E] = "Doe^Jane"
    for data in (
        encoded(Image.fromarray(GREY), pnginfo=text),
        encoded(Image.fromarray(RAMP), pnginfo=text),
        encoded(Image.fromarray(GREY), "JPEG", exif=exif, comment=b"Doe^Jane"),
    ):
        image = read_radiograph(data)
        assert image.info == {}
        assert not dict(image.getexif())
        assert b"Doe" not in encoded(image)


def test_real_files_are_read(shared_data):
    nih = read_radiograph(shared_data / "nih_chestxray14" / "images" / "00000261_002.png")
    child = read_radiograph(shared_data / "kermany_pediatric" / "NORMAL" / "IM-0011-0001-0001.jpeg")
    assert (nih.mode, nih.size) == ("L", (448, 448))
    assert (child.mode, child.size) == ("L", (512, 458))


def test_a_link_is_followed(tmp_path):
    (tmp_path / "grey.png").write_bytes(encoded(Image.fromarray(GREY)))
    (tmp_path / "link.png").symlink_to("grey.png")
    assert read_radiograph(tmp_path / "link.png").size == (64, 48)


WHOLE_PNG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)))
WHOLE_JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)), "JPEG")
DAMAGED_PNG = WHOLE_PNG[:60] + bytes(200) + WHOLE_PNG[260:]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(500), "no image that can be read; expected PNG, JPEG or DICOM"),
        (b"<html>not found</html>", "no image that can be read"),
        (encoded(Image.fromarray(GREY), "TIFF"), "no image that can be read"),
        (encoded(Image.fromarray(GREY), "GIF"), "no image that can be read"),
        (WHOLE_PNG[:20], "damaged or cut short"),
        (WHOLE_PNG[: len(WHOLE_PNG) // 2], "damaged or cut short"),
        (DAMAGED_PNG, "damaged or cut short"),
        (WHOLE_JPEG[:10], "damaged or cut short"),
        (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n" + b"junk" * 50, "damaged or cut short"),
        (b"\xff\xd8\xff" + b"junk" * 50, "damaged or cut short"),
        (png_header(64, 48), "damaged or cut short"),
        (encoded(Image.new("L", (1, 1))), "1x1 pixels; that is no radiograph"),
        (encoded(Image.new("L", (400, 1))), "400x1 pixels; that is no radiograph"),
        (png_header(20_000, 20_000), "20000x20000, 400 megapixels; the limit is 100"),
        (png_header(0, 40), "damaged or cut short|no radiograph"),
    ],
)
def test_bad_files_are_refused_in_one_line_with_their_name(tmp_path, data, expected):
    path = tmp_path / "study.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=expected) as refusal:
        read_radiograph(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=expected):
        read_radiograph(data)


def test_the_limit_of_pixels_can_be_moved():
    data = encoded(Image.new("L", (300, 200)))
    with pytest.raises(ValueError, match="300x200"):
        read_radiograph(data, max_pixels=59_999)
    assert read_radiograph(data, max_pixels=60_000).size == (300, 200)


def test_a_raised_limit_is_not_overruled_by_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_radiograph(encoded(Image.new("L", (300, 200)))).size == (300, 200)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        read_radiograph(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="is a folder"):
        read_radiograph(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no regular file"):
        read_radiograph(tmp_path / "pipe")


def test_eight_bits_from_sixteen_span_the_whole_range():
    image = to_eight_bit(Image.fromarray((1000 + RAMP).astype(np.uint16)))
    values = np.asarray(image)
    assert image.mode == "L"
    assert (values.min(), values.max()) == (0, 255)
    assert (np.diff(values.astype(int).ravel()) >= 0).all()
    flat = to_eight_bit(Image.fromarray(np.full((4, 4), 700, np.uint16)))
    assert np.asarray(flat).max() == 0
    grey = Image.fromarray(GREY)
    assert to_eight_bit(grey) is grey
