import io

import numpy as np
import pytest
import torch
from PIL import Image

from synthcxr.data.collators import DrawnDataset
from synthcxr.data.pairs import load_pairs
from synthcxr.training.finding_focus import FindingFocus


SIZE = 32


def square(top, left, height, width):
    """A mask as `datasets` gives it, still encoded."""
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[top : top + height, left : left + width] = 255
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="png")
    return {"bytes": file.getvalue(), "path": None}


ROWS = [
    {"objects": {"mask": [square(4, 6, 8, 8), square(10, 6, 12, 20)]}},
    {"objects": {"mask": []}},
    {"objects": {"mask": [square(20, 30, 1, 1), None]}},
    {"objects": None},
]


def slow_weights(row, strength):
    """Pixel by pixel."""
    weights = np.ones((SIZE, SIZE))
    for file in [mask for mask in (row["objects"] or {"mask": []})["mask"] if mask]:
        mask = np.asarray(Image.open(io.BytesIO(file["bytes"]))) > 0
        near = np.zeros_like(mask)
        for y, x in np.argwhere(mask):
            near[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        share = max(near.mean(), 0.01)
        weights = np.maximum(weights, 1 + near * strength / share**0.5)
    return weights


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_pixels_of_findings_weigh_by_the_root_of_their_share(strength):
    focus = FindingFocus(strength, image_size=SIZE, pixel_fold=1)
    weights = focus(ROWS, torch.zeros(4, 1, SIZE, SIZE))
    expected = np.stack([slow_weights(row, strength) for row in ROWS])
    np.testing.assert_allclose(weights[:, 0].numpy(), expected, rtol=1e-5)
    assert float(weights[2].max()) == pytest.approx(1 + strength * 10)


def test_weights_are_folded_as_pixels_are():
    folded = FindingFocus(1.0, image_size=SIZE, pixel_fold=4)(ROWS, torch.zeros(4, 16, 8, 8))
    plain = FindingFocus(1.0, image_size=SIZE, pixel_fold=1)(ROWS, torch.zeros(4, 1, SIZE, SIZE))
    assert torch.equal(torch.nn.functional.pixel_shuffle(folded, 4), plain)


def test_a_place_of_an_autoencoder_weighs_as_its_heaviest_pixel():
    weights = FindingFocus(1.0, image_size=SIZE, pixel_fold=None)(ROWS, torch.zeros(4, 3, 8, 8))
    plain = FindingFocus(1.0, image_size=SIZE, pixel_fold=1)(ROWS, torch.zeros(4, 1, SIZE, SIZE))
    assert weights.shape == (4, 1, 8, 8)
    assert torch.equal(weights, plain.unflatten(2, (8, 4)).unflatten(4, (8, 4)).amax(dim=(3, 5)))


def test_masks_of_simulated_pairs_lie_where_their_images_are(pairs_folder):
    pairs = load_pairs(pairs_folder)
    rows = DrawnDataset(pairs, with_masks=True).__getitems__(list(range(len(pairs))))
    size = pairs[0]["image"].size[0]
    weights = FindingFocus(1.0, image_size=size, pixel_fold=1)(rows, torch.zeros(len(rows), 1, size, size))
    for row, values in zip(pairs, weights[:, 0], strict=True):
        inside = np.zeros((size, size), dtype=bool)
        for mask in row["objects"]["mask"]:
            inside |= np.asarray(mask) > 0
        assert (values.numpy()[inside] > 1).all()
        assert (values > 1).any() == inside.any()
