import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
from synthcxr.simulation import simulate
from synthcxr.simulation.simulate import add_findings, deformed_geometry, project_study


LUNGS = ("right_lung", "left_lung", "heart")


def make_spec(seed=1, *findings, view="PA", sex="male", age=50.0, body_mass_index=24.0, **acquisition):
    patient = Patient(f"p{seed}", sex, age, body_mass_index, seed)
    return StudySpec(f"s{seed}", patient, Acquisition(view, **acquisition), findings, seed=seed)


def digest(study):
    content = [study.image, *(item.mask for item in study.objects), *study.regions.values()]
    return hashlib.sha256(b"".join(np.ascontiguousarray(item).tobytes() for item in content)).hexdigest()


EFFUSION = FindingInstance("pleural_effusion", side="left", severity="moderate", seed=4)
EDEMA = FindingInstance("edema", side="bilateral", severity="moderate", seed=6)
NODULE = FindingInstance("nodule", side="right", size_cm=1.8, severity="moderate", seed=5)


def test_the_same_study_gives_the_same_bytes_in_any_order():
    specs = [make_spec(seed, EFFUSION) for seed in (1, 2, 3)]
    forwards = [digest(simulate(spec, image_size=64)) for spec in specs]
    backwards = [digest(simulate(spec, image_size=64)) for spec in reversed(specs)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 3


def test_another_process_gives_the_same_bytes():
    code = (
        "import sys, hashlib; from synthcxr.ontology import *; from synthcxr.simulation import simulate;"
        "patient = Patient('p7', 'male', 50.0, 24.0, 7);"
        "print(hashlib.sha256(simulate(StudySpec('s', patient, Acquisition('PA'), (), seed=7), image_size=64,"
        " regions=()).image.tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "9"},
    )
    here = hashlib.sha256(simulate(make_spec(7), image_size=64, regions=()).image.tobytes()).hexdigest()
    assert done.stdout.strip() == here


def test_the_seed_argument_changes_the_exposure_and_keeps_the_patient():
    spec = make_spec(1)
    assert (simulate(spec, image_size=64).image != simulate(spec, image_size=64, seed=99).image).any()
    one, other = deformed_geometry(spec), deformed_geometry(spec, seed=99)
    assert one.heart_offset == other.heart_offset
    assert one.breast_cm == other.breast_cm


def test_left_is_on_the_right_of_the_image():
    study = simulate(make_spec(1, EFFUSION), image_size=128)
    column = {name: np.nonzero(study.regions[name])[1].mean() for name in LUNGS}
    assert column["right_lung"] < column["heart"] < column["left_lung"]
    (effusion,) = study.objects
    assert effusion.category == "pleural_effusion"
    assert np.nonzero(effusion.mask)[1].mean() > column["heart"]


def test_a_bilateral_finding_gives_an_object_on_each_side():
    study = simulate(make_spec(1, EDEMA), image_size=128, regions=LUNGS)
    middles = sorted(x + w / 2 for x, _, w, _ in (item.bbox for item in study.objects))
    assert [item.category for item in study.objects] == ["edema", "edema"]
    assert middles[0] < 64 < middles[1]


def test_a_box_is_the_tightest_around_its_mask():
    for item in simulate(make_spec(1, EFFUSION, NODULE), image_size=128).objects:
        x, y, width, height = (int(value) for value in item.bbox)
        inside = item.mask[y : y + height, x : x + width]
        assert inside.sum() == item.mask.sum() > 0
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_removing_a_finding_changes_nothing_outside_its_effect():
    spec = make_spec(1, EDEMA, NODULE)
    ill, healed = (project_study(item, image_size=128) for item in (spec, spec.without("nodule")))
    masks = dict(add_findings(ill))
    add_findings(healed)
    changed = np.abs(ill.attenuation - healed.attenuation) > 1e-6
    assert changed.any()
    reach = np.nonzero(masks["nodule"])
    x, y = reach[1].mean(), reach[0].mean()
    rows, columns = np.nonzero(changed)
    assert np.hypot(rows - y, columns - x).max() < 0.2 * 128


def test_a_counterfactual_image_differs_only_around_the_finding():
    spec = make_spec(1, NODULE)
    ill, healed = (simulate(item, image_size=128) for item in (spec, spec.without("nodule")))
    difference = np.abs(ill.image.astype(int) - healed.image.astype(int))
    (nodule,) = ill.objects
    assert difference[nodule.mask].mean() > 4
    far = np.ones((128, 128), bool)
    rows, columns = np.nonzero(nodule.mask)
    far[max(rows.min() - 20, 0) : rows.max() + 20, max(columns.min() - 20, 0) : columns.max() + 20] = False
    assert difference[far].mean() < 0.5


def test_an_effusion_brightens_its_side_and_not_the_other():
    spec = make_spec(1, replace(EFFUSION, severity="severe"))
    ill, well = (simulate(item, image_size=128) for item in (spec, spec.without("pleural_effusion")))
    left, right = well.regions["left_lower_zone"], well.regions["right_lower_zone"]
    rise = {
        name: float(ill.image[mask].mean()) - float(well.image[mask].mean())
        for name, mask in (("left", left), ("right", right))
    }
    assert rise["left"] > 15
    assert abs(rise["right"]) < 0.4 * rise["left"]


def test_the_anatomy_is_the_same_at_every_size():
    small, large = (simulate(make_spec(3), image_size=size, regions=LUNGS) for size in (128, 512))
    shrunk = large.image.reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.image.ravel())[0, 1] > 0.985
    for name in LUNGS:
        coarse = large.regions[name].reshape(128, 4, 128, 4).mean(axis=(1, 3)) > 0.5
        both = (coarse & small.regions[name]).sum()
        assert 2 * both / (coarse.sum() + small.regions[name].sum()) > 0.97


def test_lungs_are_dark_and_heart_is_bright():
    for seed in range(5):
        study = simulate(make_spec(seed, view=("PA", "AP")[seed % 2]), image_size=128)
        lungs = study.regions["left_lung"] | study.regions["right_lung"]
        assert study.image[lungs].mean() + 20 < study.image[study.regions["heart"]].mean()


@pytest.mark.parametrize("size", [0, 63, 1025])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ValueError, match=f"image_size is {size}; expected 64 to 1024"):
        simulate(make_spec(1), image_size=size)


@pytest.mark.parametrize("size", [64, 97, 200])
def test_every_size_in_range_works(size):
    study = simulate(make_spec(1, EFFUSION), image_size=size, regions=LUNGS)
    assert study.image.shape == (size, size)
    assert study.image.dtype == np.uint8
    assert all(mask.shape == (size, size) and mask.any() for mask in study.regions.values())


def test_an_unknown_region_or_scanner_is_named():
    with pytest.raises(ValueError, match="'left_lobe'"):
        simulate(make_spec(1), image_size=64, regions=("left_lobe",))
    with pytest.raises(ValueError, match="'acme'"):
        simulate(make_spec(1, scanner="acme"), image_size=64)
