import numpy as np
import pytest

from synthcxr.ontology import REGIONS, Acquisition, Patient, StudySpec
from synthcxr.simulation import SIMULATED_REGIONS, simulate
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.projection import build_scene
from synthcxr.simulation.region_masks import region_mask


@pytest.fixture(scope="module")
def regions():
    patient = Patient("p", "male", 50.0, 24.0, 2)
    return simulate(StudySpec("s", patient, Acquisition("PA"), seed=2), image_size=256).regions


def test_every_simulated_region_has_a_mask(regions):
    assert tuple(regions) == SIMULATED_REGIONS == tuple(id for id, region in REGIONS.items() if region.simulated)
    assert {name for name, mask in regions.items() if not mask.any()} == set()
    assert all(mask.dtype == np.bool_ and mask.shape == (256, 256) for mask in regions.values())


def test_ten_ribs_on_each_side_go_down_in_order(regions):
    for side in ("right", "left"):
        heights = [np.nonzero(regions[f"{side}_rib_{index}"])[0].mean() for index in range(1, 11)]
        assert heights == sorted(heights)
        assert min(np.diff(heights)) > 3


def test_zones_share_out_the_lung(regions):
    for side in ("right", "left"):
        zones = [regions[f"{side}_{zone}"] for zone in ("upper_zone", "mid_zone", "lower_zone")]
        assert (sum(zone.astype(int) for zone in zones) == regions[f"{side}_lung"]).all()
        assert not (regions[f"{side}_apex"] & ~zones[0]).any()


def test_sided_regions_lie_on_their_side(regions):
    middle = np.nonzero(regions["spine"])[1].mean()
    for name, mask in regions.items():
        side = name.split("_")[0]
        if side in ("right", "left"):
            column = np.nonzero(mask)[1].mean()
            assert (column < middle) == (side == "right"), name


def test_organs_lie_where_they_belong(regions):
    middle = {name: np.argwhere(mask).mean(axis=0) for name, mask in regions.items()}
    assert middle["trachea"][0] < middle["aortic_arch"][0] < middle["heart"][0] < middle["abdomen"][0]
    assert middle["gastric_bubble"][1] > middle["spine"][1]
    assert middle["aortic_arch"][1] > middle["trachea"][1]
    assert not (regions["heart"] & ~regions["mediastinum"]).any()


def test_a_region_without_a_mask_is_refused():
    patient = Patient("p", "male", 50.0, 24.0, 2)
    spec = StudySpec("s", patient, Acquisition("PA"), seed=2)
    scene = build_scene(spec, sample_geometry(spec), image_size=64)
    with pytest.raises(ValueError, match="region is 'left_base'"):
        region_mask(scene, "left_base")
