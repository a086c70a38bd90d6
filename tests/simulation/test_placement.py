import numpy as np
import pytest
from rendered_findings import healthy_scene, instance_of

from synthcxr.simulation.placement import LungFrame, place, region_stem, resolve_side, severity_level, visible
from synthcxr.simulation.streams import stream


@pytest.mark.parametrize("side", ["right", "left"])
def test_lung_coordinates_run_from_mediastinum_and_apex(side):
    scene = healthy_scene()
    frame = LungFrame(scene, side)
    for u, v in ((0.1, 0.3), (0.9, 0.3), (0.5, 0.8)):
        x, y = frame.point(u, v)
        row, column = np.abs(frame.y_cm - y).argmin(), np.abs(frame.x_cm - x).argmin()
        assert frame.u[row, column] == pytest.approx(u, abs=0.06)
        assert frame.v[row, 0] == pytest.approx(v, abs=0.03)
    assert (frame.point(0.9, 0.5)[0] - frame.point(0.1, 0.5)[0]) * frame.sign > 0


def test_placing_stays_in_the_lung_and_uses_as_many_draws_for_every_region():
    scene = healthy_scene()
    frame = LungFrame(scene, "right")
    for region in (None, "right_upper_zone", "right_lower_lobe", "right_hilum", "right_apex"):
        rng, expected = stream(4), stream(4)
        x, y = place(frame, region, rng)
        expected.random(2)
        assert rng.random() == expected.random()
        row, column = np.abs(scene.y_cm - y).argmin(), np.abs(scene.x_cm - x).argmin()
        assert scene.lung_extent["right"][row, column]


def test_severities_are_ordered_and_one_without_is_mostly_mild():
    levels = [
        severity_level(instance_of("nodule", name), stream(8)) for name in ("subtle", "mild", "moderate", "severe")
    ]
    assert levels == sorted(levels)
    free = [severity_level(instance_of("nodule", None), stream(seed)) for seed in range(200)]
    assert 0.3 < np.mean(free) < 0.5


def test_the_side_comes_from_the_call_then_the_instance_then_the_region():
    assert resolve_side(instance_of("nodule", side="left"), "right", stream(1)) == "right"
    assert resolve_side(instance_of("nodule", side="left"), None, stream(1)) == "left"
    assert resolve_side(instance_of("nodule", region="lingula"), None, stream(1)) == "left"
    assert {resolve_side(instance_of("nodule"), None, stream(seed)) for seed in range(20)} == {"left", "right"}


def test_the_stem_of_a_region_forgets_its_side():
    assert region_stem("right_upper_zone") == region_stem("upper_zone") == "upper_zone"


def test_a_faint_finding_is_visible_in_its_upper_half_only():
    faint = np.linspace(0, 0.02, 100)
    assert visible(faint).sum() == pytest.approx(50, abs=1)
    assert not visible(np.zeros(5)).any()
    assert visible(np.array([0.0, 0.1, 1.0])).tolist() == [False, False, True]
