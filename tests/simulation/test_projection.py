from dataclasses import replace

import numpy as np
import pytest

from synthcxr.ontology import Acquisition, Patient, StudySpec
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.projection import build_scene, solid_length, tube_length
from synthcxr.simulation.scene import SIDES, Bone


def make_spec(seed=1, **patient):
    values = {"sex": "male", "age": 50.0, "body_mass_index": 24.0} | patient
    return StudySpec("s", Patient("p", **values, seed=seed), Acquisition("PA"), seed=seed)


@pytest.fixture(scope="module")
def scene():
    spec = make_spec()
    return build_scene(spec, sample_geometry(spec), image_size=256)


def test_a_sphere_is_as_thick_as_its_chord(scene):
    x, y, radius = scene.x_cm[100], scene.y_cm[120], 3.0
    length = solid_length(scene, np.array([[x, y, radius, radius, 0.4, 2 * radius]]))
    distance = np.hypot(scene.x_cm[None, :] - x, scene.y_cm[:, None] - y)
    expected = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    assert np.allclose(length, expected, atol=2e-3)


def test_a_tube_is_as_thick_as_its_chord_and_thin_ones_keep_their_area(scene):
    y = scene.y_cm[130]
    line = np.array([[scene.x_cm[20], y], [scene.x_cm[200], y + 3.1]])
    slant = np.hypot(*(line[1] - line[0])) / (line[1, 0] - line[0, 0])
    for radius in (1.5, 0.02):
        tube = Bone(line, np.full(2, radius), np.full(2, 2 * radius), hollow=0.0)
        area = tube_length(scene, [tube])[:, 40:180].sum(axis=0).mean() * scene.pixel_cm
        assert area == pytest.approx(slant * np.pi * radius**2, rel=0.05)


def test_the_heart_is_as_wide_as_its_ratio_says():
    for seed in range(6):
        spec = make_spec(seed)
        for ratio in (0.42, 0.6):
            geometry = replace(sample_geometry(spec), cardiothoracic_ratio=ratio)
            scene = build_scene(spec, geometry, image_size=256)
            columns = scene.x_cm[scene.heart_mask.any(axis=0)]
            assert np.ptp(columns) / (2 * geometry.half_width_cm) == pytest.approx(ratio, abs=0.03)


def test_the_heart_lies_mostly_on_the_left(scene):
    columns = scene.x_cm[np.nonzero(scene.heart_mask)[1]]
    assert (columns > 0).mean() > 0.55


def test_each_lung_keeps_to_its_side(scene):
    for side in SIDES:
        offset = scene.x_cm[None, :] - scene.midline[:, None]
        assert ((offset < 0) == (side == "right"))[scene.lung_extent[side]].all()
        assert scene.lung_mask[side].any()
        assert not (scene.lung_mask[side] & ~scene.lung_extent[side]).any()
        assert not (scene.lung_mask[side] & scene.heart_mask & (scene.heart_cm > 8)).any()


def test_attenuation_is_finite_and_lung_is_less_dense(scene):
    assert np.isfinite(scene.attenuation).all()
    assert scene.attenuation.min() >= 0
    lungs = scene.lung_mask["left"] | scene.lung_mask["right"]
    assert np.median(scene.attenuation[lungs]) + 0.5 < np.median(scene.attenuation[scene.heart_mask])


def test_a_heavier_patient_attenuates_more():
    middle = []
    for body_mass_index in (18.0, 24.0, 32.0, 40.0):
        spec = make_spec(body_mass_index=body_mass_index)
        scene = build_scene(spec, sample_geometry(spec), image_size=64)
        middle.append(np.median(scene.attenuation[scene.body_cm > 10]))
    assert middle == sorted(middle)
    assert middle[-1] > middle[0] + 0.5


def test_sex_and_age_show():
    man, woman = (
        build_scene(spec, sample_geometry(spec), image_size=64) for spec in (make_spec(), make_spec(sex="female"))
    )
    assert woman.geometry.breast_cm > man.geometry.breast_cm
    assert woman.geometry.half_width_cm < man.geometry.half_width_cm
    child = sample_geometry(make_spec(age=3.0, body_mass_index=16.0))
    assert child.half_width_cm < 0.65 * man.geometry.half_width_cm
    assert child.field_cm < 0.75 * man.geometry.field_cm


def test_a_collapsed_lung_leaves_a_gap_without_vessels():
    spec = make_spec()
    geometry = sample_geometry(spec)
    whole = build_scene(spec, geometry, image_size=128)
    fallen = build_scene(spec, replace(geometry, collapse_right=0.5), image_size=128)
    gap = fallen.pleural_gap["right"]
    assert not whole.pleural_gap["right"].any()
    assert gap.any()
    assert not fallen.pleural_gap["left"].any()
    assert fallen.vessels["right"][gap].max() == 0
    assert fallen.attenuation[gap].mean() < whole.attenuation[gap].mean()
    assert np.nanmean(fallen.lung_edge["right"]) > np.nanmean(fallen.lateral_edge["right"])


def test_vessels_grow_with_their_gain():
    spec = make_spec()
    geometry = sample_geometry(spec)
    thin, wide = (
        build_scene(spec, replace(geometry, vessel_gain_upper=gain), image_size=128).vessels["left"]
        for gain in (0.8, 1.4)
    )
    upper = np.arange(128)[:, None] < 50
    assert (wide * upper).sum() > 1.3 * (thin * upper).sum()


def test_landmarks_lie_where_they_are_named(scene):
    points = scene.landmarks
    assert points["right_dome"][0] < 0 < points["left_dome"][0]
    assert points["right_apex"][1] < points["carina"][1] < points["left_dome"][1] < points["stomach"][1]
    assert points["right_costophrenic"][0] < points["right_cardiophrenic"][0] < 0
    assert points["right_clavicle_lateral"][0] < points["right_clavicle_medial"][0]
    assert points["right_hilum"][0] < points["cavoatrial_junction"][0] < points["heart"][0]
