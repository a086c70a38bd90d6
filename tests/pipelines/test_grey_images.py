import io

import numpy as np
import pytest
import torch
from PIL import Image

from synthcxr.pipelines.grey_images import read_grey, write_grey


LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(LEVELS),
        Image.merge("RGB", [Image.fromarray(LEVELS)] * 3),
        LEVELS,
        LEVELS[None],
        LEVELS[None, :, :, None],
        torch.from_numpy(LEVELS)[None, None],
        LEVELS / 255,
        torch.from_numpy(LEVELS) / 255,
        [Image.fromarray(LEVELS)],
    ],
    ids=["L", "RGB", "array", "batch", "channels last", "tensor", "float array", "float tensor", "list"],
)
def test_every_kind_of_image_gives_the_same_grey_values(image):
    values = read_grey(image, name="image")
    assert values.shape == (1, 1, 16, 16)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.flatten(), torch.arange(256) / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_keep_their_depth(mode):
    levels = np.array([[0, 1, 300], [40000, 65534, 65535]], dtype=np.uint16)
    if mode == "I":
        image = Image.fromarray(levels.astype(np.int32))
    else:
        image = Image.frombytes(mode, (3, 2), levels.astype("<u2" if mode == "I;16" else ">u2").tobytes())
    assert image.mode == mode
    (written,) = write_grey(read_grey(image, name="image"), "pil", bits=16)
    assert written.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(written), levels)
    buffer = io.BytesIO()
    written.save(buffer, "PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), levels)


def test_masks_of_one_bit_are_black_and_white():
    assert read_grey(Image.fromarray(LEVELS > 100), name="mask_image").unique().tolist() == [0, 1]
    assert read_grey(LEVELS > 100, name="mask_image").unique().tolist() == [0, 1]


def test_images_come_back_level_by_level():
    (image,) = write_grey(read_grey(LEVELS, name="image"), "pil", bits=8)
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), LEVELS)


def test_arrays_and_tensors_hold_the_same_values_as_images():
    images = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    array = write_grey(images, "np", bits=8)
    assert array.shape == (2, 4, 6, 1)
    np.testing.assert_array_equal(array[..., 0], images[:, 0])
    assert write_grey(images, "pt", bits=8) is images
    for image, values in zip(write_grey(images, "pil", bits=8), images, strict=True):
        assert image.size == (6, 4)
        np.testing.assert_array_equal(np.asarray(image), (values[0] * 255).round())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), 1.5), "outside 0 to 1"),
        (torch.full((4, 4), -1.0), "outside 0 to 1"),
        (np.full((4, 4), -3, np.int16), "below 0"),
        (np.full((4, 4), 255), "type int64; expected 8 or 16 bits"),
        (torch.ones(4, 4, dtype=torch.int32), "type int32; expected 8 or 16 bits"),
        (np.zeros((4, 4, 3, 3)), "one channel"),
        (np.zeros(4), "expected \\(height, width\\)"),
        (np.zeros((0, 4)), "expected \\(height, width\\)"),
        ("image.png", "holds a str"),
        ([], "empty list"),
        ([LEVELS, LEVELS[:8]], "several|sizes"),
    ],
)
def test_what_is_no_grey_image_is_refused(image, message):
    with pytest.raises(ValueError, match=f"^image.*({message})"):
        read_grey(image, name="image")
