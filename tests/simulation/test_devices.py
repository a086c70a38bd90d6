import numpy as np
import pytest
from rendered_findings import effect_of, healthy_scene, instance_of


def lowest(effect, scene):
    """Height of the tip of something that hangs down, in cm."""
    return scene.y_cm[np.nonzero(effect.mask)[0].max()]


@pytest.mark.parametrize("seed", range(4))
def test_the_tip_of_an_endotracheal_tube_follows_its_position(seed):
    scene = healthy_scene(256)
    tips = {
        position: lowest(effect_of(instance_of("endotracheal_tube", seed=seed, position=position), 256), scene)
        for position in ("too_high", "satisfactory", "too_low", "malpositioned")
    }
    carina = scene.landmarks["carina"][1]
    assert tips["too_high"] < tips["satisfactory"] < tips["too_low"] < carina < tips["malpositioned"]
    assert 1.5 < carina - tips["satisfactory"] < 7


@pytest.mark.parametrize("seed", range(4))
def test_a_central_line_ends_where_its_position_says(seed):
    scene = healthy_scene(256)
    junction = scene.landmarks["cavoatrial_junction"]
    low, good, high = (
        effect_of(instance_of("central_venous_catheter", side="right", seed=seed, position=position), 256)
        for position in ("too_low", "satisfactory", "too_high")
    )
    assert lowest(high, scene) < lowest(good, scene) < lowest(low, scene)
    assert abs(lowest(good, scene) - junction[1]) < 3


def test_a_nasogastric_tube_reaches_below_the_diaphragm_unless_misplaced():
    scene = healthy_scene()
    junction = scene.landmarks["gastro_oesophageal_junction"][1]
    for seed in range(4):
        good = effect_of(instance_of("nasogastric_tube", seed=seed, position="satisfactory"))
        coiled = effect_of(instance_of("nasogastric_tube", seed=seed, position="too_high"))
        assert lowest(good, scene) > junction
        assert lowest(coiled, scene) < junction


@pytest.mark.parametrize("finding", ["sternotomy_wires", "pacemaker", "central_venous_catheter"])
def test_wires_thinner_than_a_pixel_keep_their_attenuation(finding):
    sums = []
    for size in (64, 128, 256, 512):
        effect = effect_of(instance_of(finding, side="left", seed=2), size)
        sums.append(effect.attenuation.sum() * healthy_scene(size).pixel_cm ** 2)
    assert np.allclose(sums, sums[-1], rtol=0.12)


def test_a_pacemaker_lies_on_its_side_and_its_lead_reaches_the_heart():
    scene = healthy_scene()
    for side, sign in (("left", 1), ("right", -1)):
        effect = effect_of(instance_of("pacemaker", side=side, seed=4))
        metal = effect.attenuation > 1.4
        assert sign * scene.x_cm[np.nonzero(metal)[1]].mean() > 2
        assert (effect.mask & scene.heart_mask).any()


def test_a_chest_tube_enters_from_the_side():
    scene = healthy_scene()
    for side in ("left", "right"):
        mask = effect_of(instance_of("chest_tube", side=side)).mask
        assert (mask & scene.lung_mask[side]).any()
        assert (mask & ~scene.lung_extent[side]).any()
