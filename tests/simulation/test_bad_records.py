from typing import get_args

import numpy as np
import pytest

from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
from synthcxr.ontology.study_spec import Defect
from synthcxr.simulation import simulate


def picture(defect=None, seed=3, view="PA", regions=("left_lung", "right_lung", "heart")):
    patient = Patient("p", "female", 55.0, 24.0, seed)
    effusion = FindingInstance("pleural_effusion", side="left", severity="severe", seed=2)
    spec = StudySpec("s", patient, Acquisition(view, defect=defect), (effusion,), seed=seed)
    return simulate(spec, image_size=128, regions=regions)


@pytest.mark.parametrize("defect", get_args(Defect))
def test_every_defect_changes_the_picture(defect):
    good, bad = picture(), picture(defect)
    assert bad.image.dtype == np.uint8
    assert np.abs(good.image.astype(int) - bad.image.astype(int)).mean() > (1 if defect == "burnt_in_text" else 4)


@pytest.mark.parametrize("defect", ["lateral_view", "not_a_chest"])
def test_what_is_no_frontal_chest_has_no_masks(defect):
    bad = picture(defect)
    assert bad.objects == ()
    assert bad.regions == {}


def test_a_lateral_view_is_the_one_that_the_defect_shows():
    assert picture(view="LATERAL").objects == ()
    assert picture(view="LATERAL").image.std() > 20


def test_masks_turn_with_the_image():
    good, bad = picture(), picture("rotated_180")
    for name, mask in good.regions.items():
        assert (bad.regions[name] == mask[::-1, ::-1]).all()
    assert (bad.image == good.image[::-1, ::-1]).all()
    turned = picture("rotated_90").regions["heart"]
    assert any((turned == np.rot90(good.regions["heart"], turns)).all() for turns in (1, 3))


def test_cropping_enlarges_image_and_masks_together():
    good, bad = picture(), picture("cropped")
    share = [np.mean([study.regions[name].mean() for name in good.regions]) for study in (good, bad)]
    assert share[1] > 1.3 * share[0]
    lungs = bad.regions["left_lung"] | bad.regions["right_lung"]
    assert bad.image[lungs].mean() < bad.image[bad.regions["heart"]].mean()


def test_inverting_turns_dark_into_bright():
    good, bad = picture(), picture("inverted")
    assert np.corrcoef(good.image.ravel(), bad.image.ravel())[0, 1] < -0.99


def test_exposure_defects_go_the_right_way():
    lungs = picture().regions["right_lung"]
    over, good, under = (picture(defect).image[lungs].mean() for defect in ("overexposed", None, "underexposed"))
    assert over < good - 40
    assert under > good + 25


def test_blurring_removes_fine_detail():
    sharp, soft = (np.abs(np.diff(picture(defect).image.astype(float), axis=1)).mean() for defect in (None, "blurred"))
    assert soft < 0.8 * sharp
