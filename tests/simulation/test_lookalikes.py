import numpy as np

from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.lookalikes import add_lookalikes
from synthcxr.simulation.projection import build_scene


def added(seed, view="AP", age=60.0, findings=()):
    spec = StudySpec("s", Patient("p", "female", age, 29.0, seed), Acquisition(view), findings, seed=seed)
    scene = build_scene(spec, sample_geometry(spec), image_size=96)
    before = scene.attenuation.copy()
    add_lookalikes(scene, seed=seed)
    return scene.attenuation - before


def test_they_only_add_and_stay_modest():
    for seed in range(8):
        extra = added(seed)
        assert extra.min() >= -1e-6
        assert np.quantile(extra, 0.9) < 1.0


def test_they_differ_between_patients():
    assert len({round(float(added(seed).sum()), 3) for seed in range(6)}) == 6


def test_they_do_not_depend_on_the_findings():
    nodule = FindingInstance("nodule", side="left", size_cm=2.0, seed=3)
    assert (added(4) == added(4, findings=(nodule,))).all()
