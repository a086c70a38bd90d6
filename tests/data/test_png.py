import io

import numpy as np
import pytest
from PIL import Image

from synthcxr.data.png import encode_png


def opened(data):
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (17, 31), (128, 128)])
def test_what_is_encoded_is_read_back_exactly(shape):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, shape, dtype=np.uint8)
    mask = generator.random(shape) < 0.3
    assert (np.asarray(opened(encode_png(image))) == image).all()
    assert (np.asarray(opened(encode_png(mask))) == mask).all()
    assert (opened(encode_png(image)).mode, opened(encode_png(mask)).mode) == ("L", "1")


def test_the_caller_s_image_is_left_alone_and_may_be_a_view():
    image = np.arange(1200, dtype=np.uint8).reshape(30, 40)
    before = image.copy()
    assert (np.asarray(opened(encode_png(image[::2, ::-1]))) == before[::2, ::-1]).all()
    assert (image == before).all()


def test_a_radiograph_is_stored_no_larger_than_by_pillow(shared_data):
    image = Image.open(shared_data / "nih_chestxray14" / "images" / "00000261_002.png").convert("L").resize((224, 224))
    usual = io.BytesIO()
    image.save(usual, "PNG", optimize=True)
    assert len(encode_png(np.asarray(image))) < 1.1 * len(usual.getvalue())


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)])
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="expected"):
        encode_png(image)
