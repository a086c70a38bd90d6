from dataclasses import replace

import numpy as np
import pytest

from synthcxr.ontology import Acquisition, Patient, StudySpec
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.thorax import chest_wall, dome_height, midline


def spec_of(seed=0, view="PA", age=50.0, **acquisition):
    patient = Patient("p", "male", age, 24.0, seed)
    return StudySpec("s", patient, Acquisition(view, **acquisition), seed=seed)


def test_a_body_is_the_same_in_every_study_of_a_patient():
    one, other = sample_geometry(spec_of()), sample_geometry(replace(spec_of(), seed=77))
    for name in ("bone_gain", "wall_cm", "body_thickness_cm", "aortic_knob_radius_cm", "heart_offset"):
        assert getattr(one, name) == getattr(other, name)
    assert one.tilt != other.tilt


def test_a_deep_breath_makes_long_lungs_and_a_slim_heart():
    low, deep = (sample_geometry(spec_of(inspiration=value)) for value in (0.2, 1.0))
    assert deep.lung_height_cm > 1.2 * low.lung_height_cm
    assert deep.cardiothoracic_ratio < low.cardiothoracic_ratio
    assert deep.lung_density_left < low.lung_density_left


def test_views_differ_in_heart_and_scapula_on_average():
    ap, pa = ([sample_geometry(spec_of(seed, view)) for seed in range(40)] for view in ("AP", "PA"))
    assert np.mean([g.cardiothoracic_ratio for g in ap]) > np.mean([g.cardiothoracic_ratio for g in pa]) + 0.02
    assert np.mean([g.scapula_cm for g in ap]) > np.mean([g.scapula_cm for g in pa]) + 1


def test_values_stay_in_anatomical_ranges():
    for seed in range(60):
        geometry = sample_geometry(spec_of(seed, ("PA", "AP")[seed % 2]))
        assert 10 < geometry.half_width_cm < 18
        assert 0.34 < geometry.cardiothoracic_ratio < 0.62
        assert 0.155 <= geometry.mu_soft <= 0.21
        assert 14 < geometry.lung_height_cm < 33
        assert geometry.lung_height_cm - geometry.top_y_cm - 2 < 1.02 * geometry.field_cm + geometry.top_y_cm * -1


def test_children_are_small_and_their_hearts_are_large():
    child = [sample_geometry(spec_of(seed, age=2.0)) for seed in range(30)]
    adult = [sample_geometry(spec_of(seed, age=40.0)) for seed in range(30)]
    assert np.mean([g.half_width_cm for g in child]) == pytest.approx(7.3, abs=1.0)
    assert np.mean([g.cardiothoracic_ratio for g in child]) > np.mean([g.cardiothoracic_ratio for g in adult]) + 0.02


def test_curves_have_the_shape_of_a_chest():
    geometry = sample_geometry(spec_of(3))
    y = np.linspace(0, geometry.lung_height_cm, 50)
    wall = chest_wall(geometry, y)
    assert (np.diff(wall[:40]) >= 0).all()
    assert wall.max() == pytest.approx(geometry.half_width_cm, rel=0.02)
    width = np.linspace(0, geometry.half_width_cm, 40)
    top = width[dome_height(geometry, "right", width).argmin()]
    assert 0.3 < top / geometry.half_width_cm < 0.6
    bent = replace(geometry, spine_curvature_cm=3.0, rotation=0.0)
    assert np.abs(midline(bent, y)).max() == pytest.approx(3.0, rel=0.05)
