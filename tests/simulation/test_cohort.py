"""Cohorts: who is imaged, how, and with what."""

import json
import time
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from synthcxr.ontology import FINDINGS, StudySpec, region_on, structure_of
from synthcxr.simulation.cohort import PRESETS, iter_cohort, sample_cohort


SIMULATED = [finding.id for finding in FINDINGS.values() if finding.simulated]
DISEASES = [finding for finding in SIMULATED if FINDINGS[finding].kind != "device"]
DEVICES = [finding for finding in SIMULATED if FINDINGS[finding].kind == "device"]
SCANNERS = {
    "balanced": {"standard", "soft", "sharp", "compressed"},
    "hospital": {"standard", "soft", "compressed"},
    "second_hospital": {"sharp", "portable_crt", "vendor_b"},
}
NUM_STUDIES = 6_000
every_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(scope="module")
def cohorts():
    return {preset: sample_cohort(NUM_STUDIES, preset=preset, seed=0) for preset in PRESETS}


def present(study):
    return {item.finding for item in study.findings}


def share(flags):
    return float(np.mean([bool(flag) for flag in flags]))


def sides(side):
    return {"left", "right"} if side == "bilateral" else {side}


def dependence(left, right):
    """Difference of two shares in standard errors: above 4.5 not by chance, even once in 300 comparisons."""
    left, right = np.asarray(left, float), np.asarray(right, float)
    pooled = np.concatenate([left, right]).mean()
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(left) + 1 / len(right)))
    return abs(left.mean() - right.mean()) / error


@every_preset
def test_a_smaller_cohort_is_the_beginning_of_a_larger_one(preset, cohorts):
    assert sample_cohort(100, preset=preset, seed=0) == cohorts[preset][:100]
    assert list(islice(iter_cohort(preset=preset, seed=0), 7)) == cohorts[preset][:7]
    assert sample_cohort(0, preset=preset, seed=0) == []


def test_another_seed_or_preset_is_another_cohort():
    first = sample_cohort(50, preset="balanced", seed=0)
    for other in (sample_cohort(50, preset="balanced", seed=1), sample_cohort(50, preset="hospital", seed=0)):
        assert not {item.seed for item in first} & {item.seed for item in other}
        assert not {item.study_id for item in first} & {item.study_id for item in other}


@every_preset
def test_ids_and_seeds_are_unique_and_fit_the_dataset(preset, cohorts):
    studies = cohorts[preset]
    assert len({study.study_id for study in studies}) == NUM_STUDIES
    assert len({study.seed for study in studies}) == NUM_STUDIES
    assert all(0 <= study.seed < 2**63 and 0 <= study.patient.seed < 2**63 for study in studies)
    assert all(study.cohort == preset for study in studies)
    for study in studies:
        assert len({(item.finding, item.seed) for item in study.findings}) == len(study.findings)


@every_preset
def test_a_spec_survives_json(preset, cohorts):
    for study in cohorts[preset][:200]:
        assert StudySpec.from_dict(json.loads(json.dumps(study.to_dict()))) == study


@every_preset
def test_patients_are_plausible(preset, cohorts):
    patients = list({study.patient.patient_id: study.patient for study in cohorts[preset]}.values())
    adults = [patient for patient in patients if patient.age >= 16]
    children = [patient for patient in patients if patient.age < 16]
    assert 0.04 < len(children) / len(patients) < 0.1
    assert all(1 <= patient.age < 96 for patient in patients)
    assert 0.45 < share(patient.sex == "female" for patient in patients) < 0.55
    assert 21 < np.median([patient.body_mass_index for patient in adults]) < 29
    assert share(patient.body_mass_index > 30 for patient in adults) > 0.03
    assert 14 < np.median([patient.body_mass_index for patient in children]) < 20


@every_preset
def test_findings_obey_the_ontology(preset, cohorts):
    for study in cohorts[preset]:
        findings = present(study)
        for item in study.findings:
            row = FINDINGS[item.finding]
            assert row.simulated
            assert (item.side is not None) == row.sided
            assert item.side != "bilateral" or row.bilateral
            assert item.severity in (row.severities or (None,))
            assert item.position in (row.positions or (None,))
            assert not findings & set(row.excludes)
            assert not (row.adult_only and study.patient.age < 16)
            for other in study.findings:
                if other.finding in row.excludes_same_side:
                    assert not sides(other.side) & sides(item.side)


@every_preset
def test_regions_are_where_the_finding_can_be_on_its_side(preset, cohorts):
    for study in cohorts[preset]:
        for item in study.findings:
            if item.region is None:
                assert item.position not in (None, "satisfactory")
                continue
            structure = structure_of(item.region)
            assert structure in FINDINGS[item.finding].regions
            if structure != "rib":
                assert region_on(item.side, structure) == item.region
            else:
                assert item.region.startswith(f"{item.side}_rib_")


@every_preset
def test_sizes_grow_with_severity_within_the_range(preset, cohorts):
    sizes = {}
    for study in cohorts[preset]:
        for item in study.findings:
            limits = FINDINGS[item.finding].size_cm
            assert (item.size_cm is None) == (limits is None)
            if limits is not None:
                assert limits[0] <= item.size_cm <= limits[1]
                sizes.setdefault((item.finding, item.severity), []).append(item.size_cm)
    assert np.median(sizes["nodule", "subtle"]) < np.median(sizes["nodule", "mild"])
    assert np.median(sizes["nodule", "mild"]) < np.median(sizes["nodule", "moderate"])


@every_preset
def test_every_simulated_finding_occurs_subtle_ones_too(preset, cohorts):
    items = [item for study in cohorts[preset] for item in study.findings]
    assert {item.finding for item in items} == set(SIMULATED)
    graded = [item for item in items if item.severity is not None]
    fewest, most = (0.06, 0.15) if preset == "balanced" else (0.15, 0.3)
    assert fewest < share(item.severity == "subtle" for item in graded) < most
    assert {item.finding for item in graded if item.severity == "subtle"} == set(DISEASES)


@every_preset
def test_acquisitions_are_those_of_the_preset(preset, cohorts):
    acquisitions = [study.acquisition for study in cohorts[preset]]
    assert {item.scanner for item in acquisitions} == SCANNERS[preset]
    assert not any(item.supine for item in acquisitions if item.view == "PA")
    assert all(item.view in ("PA", "AP") for item in acquisitions if item.defect is None)
    assert all(0 < item.inspiration <= 1 and item.dose > 0 for item in acquisitions)
    assert 2.8 < np.std([item.rotation_degrees for item in acquisitions]) < 3.2
    breath = {view: np.mean([item.inspiration for item in acquisitions if item.view == view]) for view in ("PA", "AP")}
    assert breath["AP"] < breath["PA"] - 0.1


@every_preset
def test_a_prior_is_an_earlier_study_of_the_same_patient(preset, cohorts):
    earlier = {}
    for study in cohorts[preset]:
        if study.prior is None:
            assert all(item.change is None for item in study.findings)
        else:
            assert study.prior == earlier[study.prior.study_id]
            assert study.prior.patient == study.patient
            assert all(item.change is not None for item in study.findings)
        earlier[study.study_id] = study
    assert 0.05 < share(study.prior is not None for study in cohorts[preset]) < 0.4
    assert max(sum(1 for _ in study.history()) for study in cohorts[preset]) == 3


@every_preset
def test_a_lesion_keeps_its_identity_and_moves_as_its_change_says(preset, cohorts):
    seen = Counter()
    for study in cohorts[preset]:
        if study.prior is None:
            continue
        before = {(item.finding, item.seed): item for item in study.prior.findings}
        for item in study.findings:
            seen[item.change] += 1
            if item.change == "new":
                assert item.finding not in present(study.prior)
                continue
            old = before[item.finding, item.seed]
            levels = FINDINGS[item.finding].severities or (None,)
            step = levels.index(item.severity) - levels.index(old.severity)
            assert step == {"better": -1, "same": 0, "worse": 1}[item.change]
            assert (item.side, item.position) == (old.side, old.position)
            if item.change == "same":
                assert replace(item, change=old.change) == old
    assert set(seen) == {"new", "better", "same", "worse"}
    assert min(seen.values()) > 40


def test_balanced_findings_are_about_equally_common(cohorts):
    studies = cohorts["balanced"]
    prevalence = {finding: share(finding in present(study) for study in studies) for finding in SIMULATED}
    assert min(prevalence.values()) > 0.055
    assert max(prevalence.values()) < 0.085
    assert 0.29 < share(not study.findings for study in studies) < 0.36


def test_balanced_studies_show_no_more_than_four_diseases(cohorts):
    counts = Counter(len(present(study) & set(DISEASES)) for study in cohorts["balanced"])
    assert set(counts) == {0, 1, 2, 3, 4}
    assert set(Counter(len(present(study) & set(DEVICES)) for study in cohorts["balanced"])) >= {0, 1, 2, 3}


@pytest.mark.parametrize(
    "cause",
    [
        lambda study: study.acquisition.view == "AP",
        lambda study: study.acquisition.supine,
        lambda study: study.acquisition.scanner == "soft",
        lambda study: study.patient.sex == "female",
        lambda study: study.patient.age > 55,
        lambda study: study.acquisition.inspiration < 0.7,
        lambda study: bool(present(study) & set(DEVICES)),
    ],
    ids=["view", "supine", "scanner", "sex", "age", "inspiration", "devices"],
)
def test_balanced_diseases_do_not_depend_on(cause, cohorts):
    """Nor does being healthy: nothing but the finding itself can tell a model that it is there."""
    adults = [study for study in cohorts["balanced"] if study.patient.age >= 16 and study.prior is None]
    split = [[], []]
    for study in adults:
        split[cause(study)].append(present(study) & set(DISEASES))
    worst = max(
        dependence([name in item for item in split[0]], [name in item for item in split[1]]) for name in DISEASES
    )
    assert worst < 4.5
    assert dependence([not item for item in split[0]], [not item for item in split[1]]) < 4.5


def test_balanced_records_and_reports_are_good(cohorts):
    for preset in ("balanced", "second_hospital"):
        for study in cohorts[preset]:
            assert study.acquisition.defect is None
            assert study.report_omits == study.report_contradicts == ()


def test_some_findings_are_hedged_and_no_device_is(cohorts):
    for preset, low, high in (("balanced", 0.06, 0.1), ("hospital", 0.075, 0.13)):
        items = [item for study in cohorts[preset] for item in study.findings]
        diseases = [item for item in items if FINDINGS[item.finding].kind != "device"]
        assert low < share(item.certainty == "uncertain" for item in diseases) < high
        assert all(item.certainty == "certain" for item in items if FINDINGS[item.finding].kind == "device")


def test_hospital_prevalence_has_a_long_tail(cohorts):
    counts = Counter(finding for study in cohorts["hospital"] for finding in present(study))
    assert counts.most_common()[0][1] > 20 * counts.most_common()[-1][1]
    assert 0.3 < share(not study.findings for study in cohorts["hospital"]) < 0.5


def test_hospital_findings_come_together(cohorts):
    studies = cohorts["hospital"]

    def lift(finding, other):
        joint = share({finding, other} <= present(study) for study in studies)
        return joint / (
            share(finding in present(study) for study in studies) * share(other in present(study) for study in studies)
        )

    assert lift("edema", "cardiomegaly") > 2
    assert lift("edema", "pleural_effusion") > 1.7
    assert lift("emphysema", "hyperinflation") > 4
    assert lift("pneumonia", "consolidation") > 4
    assert lift("endotracheal_tube", "nasogastric_tube") > 4
    assert lift("chest_tube", "pneumothorax") > 5


def test_hospital_patients_in_ap_views_are_sicker(cohorts):
    by_view = {view: [] for view in ("AP", "PA")}
    for study in cohorts["hospital"]:
        if study.acquisition.view in by_view:
            by_view[study.acquisition.view].append(study)
    assert share(study.findings for study in by_view["AP"]) > 1.4 * share(study.findings for study in by_view["PA"])
    for view in by_view:
        by_view[view] = share("endotracheal_tube" in present(study) for study in by_view[view])
    assert by_view["AP"] > 10 * by_view["PA"]


def test_nobody_with_a_tube_in_the_trachea_stands_for_a_pa_view(cohorts):
    for study in cohorts["hospital"]:
        assert study.acquisition.view != "PA" or "endotracheal_tube" not in present(study)


def test_hospital_companions_share_a_place(cohorts):
    together, apart = 0, 0
    for study in cohorts["hospital"]:
        places = {item.finding: item.region for item in study.findings}
        if {"pneumonia", "consolidation"} <= set(places):
            same = places["pneumonia"] == places["consolidation"]
            together, apart = together + same, apart + (not same)
    assert together > apart


def test_some_hospital_records_are_bad(cohorts):
    defects = [study.acquisition.defect for study in cohorts["hospital"] if study.acquisition.defect]
    assert 0.02 < len(defects) / NUM_STUDIES < 0.04
    assert len(set(defects)) == 10
    for study in cohorts["hospital"]:
        assert (study.acquisition.view == "LATERAL") == (study.acquisition.defect == "lateral_view")


def test_some_hospital_reports_leave_out_or_deny_a_finding(cohorts):
    studies = cohorts["hospital"]
    assert 0.025 < share(study.report_omits for study in studies) < 0.055
    assert 0.004 < share(study.report_contradicts for study in studies) < 0.02
    for study in studies:
        certain = {item.finding for item in study.findings if item.certainty == "certain"}
        assert {*study.report_omits, *study.report_contradicts} <= certain
        assert not set(study.report_omits) & set(study.report_contradicts)


def test_the_second_hospital_is_another_one(cohorts):
    first, second = cohorts["hospital"], cohorts["second_hospital"]

    def mean(studies, value):
        return np.mean([value(study) for study in studies])

    for value, least in (
        (lambda study: study.patient.age, 7),
        (lambda study: study.patient.body_mass_index, 2),
        (lambda study: study.acquisition.dose, 0.3),
        (lambda study: study.acquisition.view == "AP", 0.08),
        (lambda study: study.acquisition.supine, 0.04),
        (lambda study: "tuberculosis" in present(study), 0.02),
        (lambda study: "cardiomegaly" in present(study), 0.04),
    ):
        assert abs(mean(first, value) - mean(second, value)) > least


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="preset is 'hospitals'; the closest known one is 'hospital'"):
        sample_cohort(3, preset="hospitals", seed=0)
    with pytest.raises(ValueError, match="num_studies is -1; expected 0 or more"):
        sample_cohort(-1, preset="balanced", seed=0)


def test_sampling_is_fast():
    started = time.process_time()
    sample_cohort(2_000, preset="balanced", seed=3)
    assert time.process_time() - started < 2.0
