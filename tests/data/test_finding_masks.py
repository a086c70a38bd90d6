"""Maps of where findings are."""

import numpy as np
import pytest
import torch
from PIL import Image

from synthcxr.data import RadiographAugmentation
from synthcxr.data.finding_masks import MAP_SIZE, FindingMaps
from synthcxr.data.schema import ORIGINS
from synthcxr.ontology import FINDING_IDS


SIMULATED, REAL = ORIGINS.index("simulated"), ORIGINS.index("real")


def mask(y, x, size=64):
    """A square of a quarter of the side, its corner at a place of sixteenths."""
    values = np.zeros((size, size), np.uint8)
    step = size // 16
    values[y * step : (y + 4) * step, x * step : (x + 4) * step] = 255
    return Image.fromarray(values)


def row(*objects, origin=SIMULATED):
    kinds, masks = zip(*objects, strict=True) if objects else ((), ())
    return {
        "objects": {"category": [FINDING_IDS.index(kind) for kind in kinds], "mask": list(masks)},
        "origin": origin,
    }


def maps_of(rows, augmentation=None, seeds=None):
    seeds = torch.zeros(len(rows), dtype=torch.int64) if seeds is None else seeds
    return FindingMaps(augmentation)(rows, seeds)


@pytest.mark.parametrize("size", [64, 128])
def test_a_finding_and_its_parents_are_where_the_mask_is(size):
    found = maps_of([row(), row(("consolidation", mask(4, 8, size)))])
    maps = found["finding_maps"]
    assert maps.shape == (2, len(FINDING_IDS), MAP_SIZE, MAP_SIZE)
    assert found["has_maps"].tolist() == [True, True]
    assert not maps[0].any()
    expected = torch.zeros(16, 16)
    expected[4:8, 8:12] = 1
    shown = {name for name, values in zip(FINDING_IDS, maps[1], strict=True) if values.any()}
    assert shown == {"consolidation", "lung_opacity"}
    torch.testing.assert_close(maps[1, FINDING_IDS.index("lung_opacity")], expected, rtol=0, atol=0.3)
    assert maps[1, FINDING_IDS.index("consolidation"), 5:7, 9:11].min() == 1


def test_two_of_a_kind_are_one_map():
    maps = maps_of([row(("nodule", mask(0, 0)), ("nodule", mask(12, 12)))])["finding_maps"]
    nodule = maps[0, FINDING_IDS.index("nodule")]
    assert nodule[1, 1] == nodule[14, 14] == 1
    assert nodule[8, 8] == 0


def test_only_simulated_studies_have_maps_for_all_that_is_visible():
    found = maps_of([row(("nodule", mask(0, 0)), origin=REAL), row(("nodule", None))])
    assert found["has_maps"].tolist() == [False, True]
    assert not found["finding_maps"].any()


def test_maps_are_moved_as_the_images_are():
    """The augmented picture of the mask, but for tone and noise, is the moved mask."""
    strong = RadiographAugmentation(strength=2.0, tone=0, contrast=0, brightness=0, blur=0, noise=0)
    picture = mask(3, 5)
    pixels = torch.from_numpy(np.array(picture)).float().view(1, 1, 64, 64) / 255
    errors, moves = [], []
    for seed in range(8):
        seeds = torch.tensor([seed])
        image = strong(pixels, seeds)
        torch.testing.assert_close(strong.move(pixels, seeds), image)
        moved = maps_of([row(("nodule", picture))], strong, seeds)["finding_maps"][0, FINDING_IDS.index("nodule")]
        expected = torch.nn.functional.avg_pool2d(image, 4)[0, 0]
        errors.append((moved - expected).abs().mean().item())
        moves.append((expected - torch.nn.functional.avg_pool2d(pixels, 4)[0, 0]).abs().mean().item())
    assert sum(errors) < sum(moves) / 4


def test_without_strength_nothing_moves():
    pixels = torch.rand(2, 1, 8, 8)
    assert RadiographAugmentation(strength=0).move(pixels, torch.tensor([1, 2])) is pixels
