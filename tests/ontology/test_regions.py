"""Anatomy: sides, pairs, parts."""

import pytest

from synthcxr.ontology import REGION_IDS, REGIONS, region_on, structure_of, zone_of


every_region = pytest.mark.parametrize("region", REGIONS.values(), ids=REGION_IDS)


def test_class_numbers_never_change():
    """The order is that of every `ClassLabel` ever written: new regions go to the end."""
    assert REGION_IDS[:4] == ("right_lung", "left_lung", "right_upper_zone", "left_upper_zone")
    assert REGION_IDS.index("heart") == 48
    assert REGION_IDS.index("lung") == 65


@every_region
def test_a_region_is_part_of_one_on_its_own_side(region):
    if region.parent is None:
        return
    parent = REGIONS[region.parent]
    assert parent.side in (None, region.side)


@every_region
def test_parts_end_at_a_whole(region):
    seen = []
    current = region.id
    while current is not None:
        assert current not in seen
        seen.append(current)
        current = REGIONS[current].parent


@every_region
def test_the_side_is_in_the_name_of_what_has_one(region):
    if region.side is not None and region.id != "lingula":
        assert region.id.startswith(f"{region.side}_")
        assert region.name.startswith(f"{region.side} ")
    if region.id == "lingula":
        assert region.side == "left"


@every_region
def test_a_region_is_its_structure_on_its_side(region):
    if structure_of(region.id) != "rib":
        assert region_on(region.side, structure_of(region.id)) == region.id


def test_both_sides_of_a_pair_exist():
    for structure in ("lung", "apex", "lower_zone", "costophrenic_angle", "upper_lobe", "middle_lobe"):
        for side in ("left", "right"):
            assert REGIONS[region_on(side, structure)].side == side
        assert region_on("bilateral", structure) == structure
        assert REGIONS[structure].side is None


def test_what_has_no_sides_is_itself_on_either():
    assert region_on("left", "heart") == region_on("right", "heart") == "heart"


def test_an_unknown_structure_is_refused():
    with pytest.raises(ValueError, match="structure is 'liver'"):
        region_on("left", "liver")


@pytest.mark.parametrize(
    ("region", "zone"),
    [
        ("left_base", "left_lower_zone"),
        ("right_costophrenic_angle", "right_lower_zone"),
        ("left_mid_zone", "left_mid_zone"),
        ("lower_lobe", "lower_zone"),
        ("lingula", "left_lower_zone"),
        ("left_lung", None),
        ("left_rib_3", None),
        ("spine", None),
    ],
)
def test_a_place_in_a_lung_projects_into_one_zone(region, zone):
    assert zone_of(region) == zone


def test_pairs_have_no_mask_of_their_own():
    assert not any(region.simulated for region in REGIONS.values() if region_on("left", region.id) != region.id)
