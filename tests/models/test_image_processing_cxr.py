"""Radiographs to pixel values: every kind of input, one result."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from synthcxr.models import CxrImageProcessor
from synthcxr.models.image_processing_cxr import equalise_histograms


@pytest.fixture
def grey():
    """A smooth 8-bit image, 60 x 40, that uses the whole range."""
    rows, columns = np.mgrid[0:60, 0:40]
    return (127.5 + 127.5 * np.sin(rows / 9) * np.cos(columns / 7)).round().astype(np.uint8)


def process(images, **kwargs):
    return CxrImageProcessor(**{"size": 32, **kwargs})(images, return_tensors="pt").pixel_values


@pytest.mark.parametrize("do_pad", [True, False], ids=["padded", "stretched"])
@pytest.mark.parametrize(
    "convert",
    [
        Image.fromarray,
        lambda grey: Image.fromarray(grey).convert("RGB"),
        lambda grey: Image.fromarray(grey).convert("RGBA"),
        lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
        lambda grey: Image.fromarray(grey.astype(np.int32)),
        lambda grey: Image.fromarray(grey.astype(np.float32) / 255),
        lambda grey: grey[None],
        lambda grey: grey[..., None],
        lambda grey: np.repeat(grey[..., None], 3, axis=-1),
        lambda grey: grey.astype(np.uint16) * 257,
        lambda grey: (grey.astype(np.uint16) * 257).astype(">u2"),
        lambda grey: grey[::-1][::-1],
        lambda grey: grey / 255,
        lambda grey: torch.from_numpy(grey),
        lambda grey: torch.from_numpy(grey).expand(3, -1, -1),
        lambda grey: torch.from_numpy(grey.astype(np.uint16) * 257),
        lambda grey: torch.from_numpy(grey) / 255,
        lambda grey: [grey],
        lambda grey: (torch.from_numpy(grey),),
        lambda grey: torch.from_numpy(grey)[None, None],
    ],
    ids=(
        "L RGB RGBA I;16 I F channel-first channel-last rgb-array uint16 big-endian flipped-strides float64 tensor "
        "rgb-tensor uint16-tensor float-tensor list tuple batch"
    ).split(),
)
def test_every_kind_of_input_gives_the_same(grey, convert, do_pad):
    torch.testing.assert_close(process(convert(grey), do_pad=do_pad), process(grey, do_pad=do_pad), rtol=0, atol=1e-5)


def test_rgb_becomes_the_grey_of_pil(grey):
    colours = np.stack([grey, grey[::-1], 255 - grey], axis=-1)
    expected = process(np.array(Image.fromarray(colours).convert("L")))
    for image in (Image.fromarray(colours), colours, torch.from_numpy(colours).movedim(-1, 0)):
        assert torch.equal(process(image), expected)


@pytest.mark.parametrize("resample", [2, 3], ids=["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [16, 32, 100])
def test_resizing_agrees_with_pil(grey, side, resample):
    size = {"height": side, "width": side}
    ours = process(grey, size=size, do_pad=False, do_normalize=False, resample=resample)[0, 0]
    theirs = Image.fromarray(grey.astype(np.float32)).resize((side, side), resample)
    np.testing.assert_allclose(ours, np.array(theirs).clip(grey.min(), grey.max()) / 255, atol=2e-5)


def test_twelve_bits_in_a_sixteen_bit_container_keep_their_brightness():
    stored = np.linspace(0, 4095, 32 * 32).reshape(32, 32).astype(np.uint16)
    assert process(stored, do_normalize=False).max().item() == pytest.approx(1)
    assert process(Image.fromarray(stored), do_normalize=False).max().item() == pytest.approx(1)


def test_padding_keeps_the_aspect_ratio_and_is_black(grey):
    values = process(np.full_like(grey, 200), do_normalize=False)[0, 0]
    assert (values[:, 6:26] > 0.78).all()
    assert (values[:, :5] == 0).all()
    assert (values[:, 27:] == 0).all()


def test_the_shortest_edge_and_a_centre_crop_fill_the_image(grey):
    values = process(grey, size={"shortest_edge": 32}, do_center_crop=True, crop_size=32, do_normalize=False)
    wide = process(grey, size={"height": 48, "width": 32}, do_pad=False, do_normalize=False)
    assert torch.equal(values, wide[:, :, 8:40])


def test_images_of_the_right_size_pass_unchanged():
    stored = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)
    torch.testing.assert_close(process(stored, do_normalize=False), torch.from_numpy(stored) / 255)


def test_grey_is_repeated_for_towers_of_three_channels(grey):
    values = process(grey, num_channels=3, image_mean=[0.4, 0.5, 0.6], image_std=0.25)
    assert values.shape == (1, 3, 32, 32)
    torch.testing.assert_close(values[:, 0] - values[:, 1], torch.full((1, 32, 32), 0.4))
    assert values.is_contiguous()


def test_normalisation_subtracts_and_divides():
    values = process(np.full((32, 32), 255, dtype=np.uint8), image_mean=0.25, image_std=0.5)
    assert torch.equal(values, torch.full((1, 1, 32, 32), 1.5))


def slow_equalisation(image):
    """The textbook, pixel by pixel."""
    levels = np.round(image * 255).astype(int)
    darkest = (levels == levels.min()).sum()
    return [[((levels <= level).sum() - darkest) / max(levels.size - darkest, 1) for level in row] for row in levels]


def test_equalisation_equals_the_textbook(grey):
    images = np.stack([grey, grey // 3, np.where(grey < 60, 0, grey), np.full_like(grey, 9)]) / 255
    np.testing.assert_allclose(
        equalise_histograms(torch.from_numpy(images)), [slow_equalisation(image) for image in images], atol=1e-6
    )


def test_equalisation_undoes_a_change_of_contrast(grey):
    dim = (grey * 0.4 + 30).round().astype(np.uint8)
    process_flat = {"histogram_equalisation": "global", "do_normalize": False, "do_resize": False}
    difference = process(grey, **process_flat) - process(dim, **process_flat)
    assert difference.abs().mean() < 0.01


def test_equalisation_ignores_black_padding(grey):
    flat = process(np.maximum(grey, 1), histogram_equalisation="global", do_normalize=False)[0, 0]
    inside = flat[flat > 0]
    assert inside.mean().item() == pytest.approx(0.5, abs=0.02)


def test_settings_are_saved_and_loaded(tmp_path, grey):
    saved = CxrImageProcessor(size=48, histogram_equalisation="global", num_channels=3, image_mean=[0.4, 0.5, 0.6])
    saved.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(loaded) is CxrImageProcessor
    assert loaded.to_dict() == saved.to_dict()
    assert torch.equal(loaded(grey, return_tensors="pt").pixel_values, saved(grey, return_tensors="pt").pixel_values)


def test_a_call_overrides_a_setting_for_once(grey):
    processor = CxrImageProcessor(size=32)
    assert processor(grey, size=16, return_tensors="np")["pixel_values"].shape == (1, 1, 16, 16)
    assert processor(grey, return_tensors="np")["pixel_values"].shape == (1, 1, 32, 32)


def test_a_result_does_not_depend_on_the_batch(grey):
    images = [grey, grey[:40], grey.T]
    together = process(images, histogram_equalisation="global")
    for image, row in zip(images, together, strict=True):
        assert torch.equal(process(image, histogram_equalisation="global")[0], row)


def test_processing_does_not_change_its_input(grey):
    array, tensor = grey.copy(), torch.from_numpy(grey.copy())
    process([array, tensor, tensor / 255], size=60)
    assert (array == grey).all()
    assert (tensor.numpy() == grey).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "There is no image"),
        (np.zeros((0, 5), dtype=np.uint8), r"shape \(0, 5\); expected at least one pixel"),
        (np.zeros((5, 5, 0), dtype=np.uint8), r"shape \(5, 5, 0\); expected \(height, width\)"),
        (np.zeros((2, 8, 8), dtype=np.uint8), r"shape \(2, 8, 8\); expected \(height, width\) or 1, 3 or 4 channels"),
        (np.zeros(8, dtype=np.uint8), r"shape \(8,\); expected"),
        (np.zeros((1, 1, 1, 8, 8), dtype=np.uint8), "expected"),
        (np.array([[0.5, np.nan]]), "from nan to nan; expected 0 to 1, all finite"),
        (torch.tensor([[0.5, float("inf")]]), "to inf; expected 0 to 1, all finite"),
        (np.array([[0.0, 200.0]]), "from 0 to 200; expected 0 to 1"),
        (np.array([[-5, 200]]), "from -5 to 200; expected 0 to 65535"),
        (np.array([[0, 70000]]), "to 70000; expected 0 to 65535"),
        (np.array([["a"]]), "type <U1 cannot be read"),
        ([None], "is a NoneType; expected a PIL image, an array or a tensor"),
        ([b"png"], "is a bytes; expected"),
    ],
)
def test_bad_images_are_refused_in_one_line(images, message):
    with pytest.raises(ValueError, match=message) as error:
        process(images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"histogram_equalisation": "clahe"}, "histogram_equalisation='clahe'; expected"),
        ({"image_mean": [0.5, 0.5]}, "has 2 values; expected 1"),
        ({"resample": 0}, "resample=.*expected bilinear"),
        ({"size": {"longest_edge": 32}}, "expected height and width, or shortest_edge"),
        ({"size": {"shortest_edge": 32}}, "expected one. Resize them"),
    ],
)
def test_bad_settings_are_refused(settings, message, grey):
    with pytest.raises(ValueError, match=message):
        process([grey, grey.T], **settings)
