"""Scenes of one patient and effects of one finding, for the tests of `simulation`'s findings."""

from functools import cache

from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.findings import deform, render
from synthcxr.simulation.projection import build_scene
from synthcxr.simulation.streams import stream


@cache
def healthy_scene(image_size=128, *, view="PA", supine=False, seed=3):
    return _scene((), image_size, view, supine, seed)


@cache
def deformed_scene(instance, image_size=128, *, view="PA", supine=False, seed=3):
    return _scene((instance,), image_size, view, supine, seed)


def effect_of(instance, image_size=128, *, side="own", scene=None, **acquisition):
    """Effect on the healthy scene, so that findings of different severity are compared on equal ground."""
    scene = scene or healthy_scene(image_size, **acquisition)
    side = instance.side if side == "own" else side
    return render(scene, instance, side, stream(instance.seed, "render", str(side)))


def _scene(instances, image_size, view, supine, seed):
    patient = Patient("patient", "male", 55.0, 25.0, seed)
    spec = StudySpec("study", patient, Acquisition(view, supine=supine), instances, seed)
    geometry = sample_geometry(spec)
    for instance in instances:
        geometry = deform(geometry, instance, stream(instance.seed, "deform"))
    return build_scene(spec, geometry, image_size=image_size)


def instance_of(finding, severity="moderate", side=None, seed=11, **fields):
    return FindingInstance(finding, side=side, severity=severity, seed=seed, **fields)
