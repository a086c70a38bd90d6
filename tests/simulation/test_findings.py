from dataclasses import replace

import numpy as np
import pytest
from rendered_findings import deformed_scene, effect_of, healthy_scene, instance_of

from synthcxr.ontology import FINDINGS
from synthcxr.simulation.findings import FINDING_DEFORMERS, FINDING_RENDERERS, apply_effect, deform, render
from synthcxr.simulation.scene import Geometry
from synthcxr.simulation.streams import stream


SIDED = [name for name, finding in FINDINGS.items() if finding.simulated and finding.sided]
DEVICES = [name for name in FINDING_RENDERERS if FINDINGS[name].kind == "device"]
# What these add to the rays lies in the geometry; their mask is the structure itself.
SHAPE_ONLY = {
    *("cardiomegaly", "enlarged_cardiomediastinum", "aortic_enlargement", "scoliosis", "hyperinflation"),
}
PAINTED = [name for name in FINDING_RENDERERS if name not in SHAPE_ONLY]
# A lead, a catheter or the far end of a tube may cross the midline.
ONE_SIDED = [name for name in SIDED if name not in ("central_venous_catheter", "pacemaker")]


def side_of(finding):
    return "left" if FINDINGS[finding].sided else None


def test_every_simulated_finding_has_a_renderer():
    assert set(FINDING_RENDERERS) == {name for name, finding in FINDINGS.items() if finding.simulated}
    assert set(FINDING_DEFORMERS) <= set(FINDING_RENDERERS)


def test_an_umbrella_term_is_refused_by_name():
    with pytest.raises(ValueError, match="lung_opacity"):
        render(healthy_scene(), instance_of("lung_opacity"), None, stream(1))


@pytest.mark.parametrize("finding", FINDING_RENDERERS)
def test_a_moderate_finding_is_seen(finding):
    for seed in range(4):
        effect = effect_of(instance_of(finding, side=side_of(finding), seed=seed))
        assert effect.attenuation.shape == effect.mask.shape == (128, 128)
        assert effect.attenuation.dtype == np.float32
        assert effect.mask.dtype == bool
        assert np.isfinite(effect.attenuation).all()
        assert effect.mask.any()


@pytest.mark.parametrize("finding", PAINTED)
def test_a_finding_changes_the_rays_where_its_mask_is(finding):
    effect = effect_of(instance_of(finding, "severe", side_of(finding)))
    strength = np.abs(effect.attenuation)
    assert strength[effect.mask].mean() > 3 * strength[~effect.mask].mean()


@pytest.mark.parametrize("finding", SIDED)
def test_a_study_without_severity_or_place_still_renders(finding):
    bare = replace(instance_of(finding), severity=None, side=None)
    assert np.isfinite(effect_of(bare).attenuation).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("finding", ONE_SIDED)
def test_a_finding_keeps_to_its_side(finding, side):
    for severity in ("mild", "severe"):
        scene = healthy_scene()
        effect = effect_of(instance_of(finding, severity, side))
        sign = -1 if side == "right" else 1
        outward = sign * (scene.x_cm - scene.landmarks["carina"][0])
        columns = np.flatnonzero(effect.mask.any(axis=0))
        assert np.median(outward[columns]) > 0
        assert outward[columns].min() > -2.5, "reaches across the midline"


@pytest.mark.parametrize("finding", ["nodule", "consolidation", "pneumonia", "infiltration", "mass", "cavity"])
@pytest.mark.parametrize(("region", "low", "high"), [("right_upper_zone", 0.0, 0.45), ("right_lower_zone", 0.5, 1.3)])
def test_a_finding_keeps_to_its_zone(finding, region, low, high):
    for seed in range(5):
        scene = healthy_scene()
        effect = effect_of(instance_of(finding, "mild", "right", seed, region=region))
        top, dome = scene.landmarks["right_apex"][1], scene.landmarks["right_dome"][1]
        rows = (scene.y_cm[np.nonzero(effect.mask)[0]] - top) / (dome - top)
        assert low < np.median(rows) < high


@pytest.mark.parametrize("finding", [name for name in PAINTED if name not in DEVICES])
def test_a_worse_finding_has_a_larger_effect(finding):
    totals = []
    for severity in ("subtle", "mild", "moderate", "severe"):
        effects = [effect_of(instance_of(finding, severity, side_of(finding), seed)) for seed in range(8)]
        totals.append(np.mean([np.abs(effect.attenuation).sum() for effect in effects]))
    assert totals == sorted(totals), totals
    assert totals[-1] > 2.5 * totals[0]


@pytest.mark.parametrize("finding", FINDING_RENDERERS)
def test_the_same_seed_gives_the_same_effect_and_another_does_not(finding):
    first, again = (effect_of(instance_of(finding, side=side_of(finding), seed=5)) for _ in range(2))
    other = effect_of(instance_of(finding, side=side_of(finding), seed=6))
    assert np.array_equal(first.attenuation, again.attenuation)
    assert np.array_equal(first.mask, again.mask)
    assert finding in SHAPE_ONLY or not np.array_equal(first.attenuation, other.attenuation)


@pytest.mark.parametrize("finding", PAINTED)
def test_rays_far_from_a_finding_are_left_alone(finding):
    """A counterfactual pair differs where the finding is, and nowhere else."""
    scene = healthy_scene()
    before = scene.attenuation.copy()
    effect = effect_of(instance_of(finding, "mild", side_of(finding)))
    assert np.array_equal(scene.attenuation, before), "the scene was changed"
    assert (effect.attenuation == 0).mean() > 0.4


@pytest.mark.parametrize("finding", FINDING_RENDERERS)
def test_every_image_size_shows_the_same_finding(finding):
    instance = instance_of(finding, side=side_of(finding))
    areas, sums, centres = [], [], []
    for size in (128, 256):
        effect, pixel = effect_of(instance, size), healthy_scene(size).pixel_cm
        rows, columns = np.nonzero(effect.mask)
        areas.append(effect.mask.sum() * pixel**2)
        sums.append(float(effect.attenuation.sum()) * pixel**2)
        centres.append((rows.mean() / size, columns.mean() / size))
    # A wire is at least a pixel wide on its mask, so that it weighs more against its generator on small images.
    assert np.allclose(centres[0], centres[1], atol=0.05 if finding in DEVICES else 0.02)
    thin = finding in DEVICES or finding in ("granuloma", "fracture", "pneumothorax", "pleural_thickening")
    assert areas[0] == pytest.approx(areas[1], rel=1.3 if thin else 0.2)
    assert sums[0] == pytest.approx(sums[1], rel=0.2, abs=0.6)


def test_a_bilateral_finding_has_one_effect_per_side():
    instance = instance_of("pleural_effusion", side="bilateral")
    right, left = (effect_of(instance, side=side) for side in ("right", "left"))
    assert not (right.mask & left.mask).any()


def test_findings_without_a_side_cover_both_lungs():
    for finding in ("edema", "covid_19_pattern", "emphysema", "hyperinflation"):
        scene, effect = healthy_scene(), effect_of(instance_of(finding))
        assert (effect.mask & scene.lung_extent["left"]).any()
        assert (effect.mask & scene.lung_extent["right"]).any()


def test_children_and_portable_views_render_every_finding():
    for finding in FINDING_RENDERERS:
        effect = effect_of(instance_of(finding, "severe", side_of(finding)), view="AP", supine=True)
        assert np.isfinite(effect.attenuation).all()


def test_a_deformation_that_is_not_needed_returns_the_geometry_itself():
    geometry = Geometry()
    assert deform(geometry, instance_of("nodule"), stream(1)) is geometry


def test_volume_loss_and_tension_move_the_mediastinum_in_opposite_directions():
    geometry = Geometry()
    pulled = [deform(geometry, instance_of("atelectasis", "severe", "left", s), stream(s)) for s in range(8)]
    pushed = [deform(geometry, instance_of("pneumothorax", "severe", "left", s), stream(s)) for s in range(8)]
    assert np.mean([item.mediastinal_shift_cm for item in pulled]) > 0.3
    assert np.mean([item.mediastinal_shift_cm for item in pushed]) < -0.3
    assert all(item.left_dome_cm > geometry.left_dome_cm for item in pulled)


def test_the_heart_grows_with_the_severity_of_cardiomegaly():
    areas = [
        deformed_scene(instance_of("cardiomegaly", severity)).heart_mask.sum() for severity in ("subtle", "severe")
    ]
    assert areas[1] > 1.2 * areas[0]
    ratio = deform(Geometry(), instance_of("cardiomegaly", "subtle"), stream(2)).cardiothoracic_ratio
    assert 0.5 < ratio < 0.57, "subtle is just above normal"


def test_air_is_taken_once_however_many_findings_want_it():
    """Fluid over a consolidation is no denser than fluid."""
    scene = replace(healthy_scene(), attenuation=healthy_scene().attenuation.copy(), flooded={})
    lung = (scene.mu_soft - scene.mu_lung["right"]) * scene.lung_thickness["right"]
    before = scene.attenuation.copy()
    for finding in ("consolidation", "atelectasis", "pleural_effusion"):
        apply_effect(scene, effect_of(instance_of(finding, "severe", "right", region="right_base"), scene=scene))
    gained = scene.attenuation - before
    assert gained.max() > 0.5
    assert (gained <= 1.05 * lung + 0.05).all()
