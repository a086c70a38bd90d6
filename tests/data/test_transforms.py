import numpy as np
import pytest
import torch

from synthcxr.data import RadiographAugmentation


@pytest.fixture(scope="module")
def images():
    return torch.rand(12, 1, 61, 53, generator=torch.Generator().manual_seed(0))


SEEDS = torch.arange(12) * 1_000_003 - 2_000_000


def test_a_result_depends_on_image_and_seed_alone(images):
    augment = RadiographAugmentation()
    whole = augment(images, SEEDS)
    assert torch.equal(whole, augment(images, SEEDS))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(whole[order], augment(images[order], SEEDS[order]))
    threads = torch.get_num_threads()
    try:
        for count, start, stop in ((1, 3, 4), (2, 0, 5), (3, 7, 12)):
            torch.set_num_threads(count)
            assert torch.equal(whole[start:stop], augment(images[start:stop], SEEDS[start:stop]))
    finally:
        torch.set_num_threads(threads)


def test_the_global_random_state_is_neither_read_nor_moved(images):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    RadiographAugmentation()(images, SEEDS)
    assert torch.equal(torch.rand(1), expected)


def test_other_seeds_change_the_image_otherwise(images):
    augment = RadiographAugmentation()
    same = images[:1].expand(12, -1, -1, -1)
    results = augment(same, SEEDS)
    assert len({tuple(result.flatten().tolist()) for result in results}) == 12


def test_values_stay_between_zero_and_one(images):
    results = RadiographAugmentation(strength=3.0)(images, SEEDS)
    assert 0 <= results.min() <= results.max() <= 1
    assert torch.isfinite(results).all()


def test_strength_zero_changes_nothing_and_less_strength_changes_less(images):
    assert torch.equal(RadiographAugmentation(strength=0.0)(images, SEEDS), images)
    smooth = torch.nn.functional.avg_pool2d(images, 9, 1, 4)

    def change(strength):
        return (RadiographAugmentation(strength=strength)(smooth, SEEDS) - smooth).abs().mean()

    assert 0 < change(0.1) < change(0.5) < change(1.0)


def test_no_study_is_ever_mirrored():
    """A bright left third stays on the left, at any strength that is of use."""
    image = torch.zeros(1, 1, 32, 32)
    image[..., :10] = 1.0
    seeds = torch.arange(2000)
    results = RadiographAugmentation(strength=1.5)(image.expand(2000, -1, -1, -1), seeds)
    left, right = results[..., :16].mean(dim=(1, 2, 3)), results[..., 16:].mean(dim=(1, 2, 3))
    assert (left > right).all()


def test_a_turn_keeps_shapes_where_the_image_is_not_square():
    """A disc stays a disc: width and height of the turned disc agree."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(120.0), indexing="ij")
    disc = (((x - 60) ** 2 + (y - 30) ** 2) < 15**2).float()[None, None]
    turn = RadiographAugmentation(
        rotation_degrees=60, shift=0.0, zoom=0.0, tone=0.0, contrast=0.0, brightness=0.0, blur=0.0, noise=0.0
    )
    for result in turn(disc.expand(8, -1, -1, -1), torch.arange(8)):
        inside = result[0] > 0.5
        assert abs(int(inside.any(0).sum()) - int(inside.any(1).sum())) <= 2


def test_grey_stays_grey_in_three_channels(images):
    results = RadiographAugmentation()(images.expand(-1, 3, -1, -1), SEEDS)
    assert torch.equal(results[:, 0], results[:, 1])
    assert torch.equal(results[:, 0], results[:, 2])


def test_noise_has_the_spread_it_is_given():
    still = dict.fromkeys(("rotation_degrees", "shift", "zoom", "tone", "contrast", "brightness", "blur"), 0.0)
    grey = torch.full((400, 1, 64, 64), 0.5)
    noisy = RadiographAugmentation(**still, noise=0.1)(grey, torch.arange(400)) - grey
    spread = noisy.flatten(1).std(dim=1)
    assert 0.35 < float((spread < 1e-6).float().mean()) < 0.65
    assert 0.09 < float(spread.max()) < 0.105
    assert abs(float(noisy.mean())) < 1e-3
    assert np.corrcoef(noisy[spread.argsort()[-2]].flatten(), noisy[spread.argmax()].flatten())[0, 1] < 0.1


@pytest.mark.parametrize("arguments", [{"strength": -1.0}, {"noise": -0.1}, {"tone": float("nan")}])
def test_negative_ranges_are_refused(arguments):
    with pytest.raises(ValueError, match="expected 0 or more"):
        RadiographAugmentation(**arguments)


def test_wrong_shapes_are_refused(images):
    with pytest.raises(ValueError, match="batch_size, channels, height, width"):
        RadiographAugmentation()(images[0], SEEDS[:1])
    with pytest.raises(ValueError, match="batch_size, channels, height, width"):
        RadiographAugmentation()(images, SEEDS[:3])
