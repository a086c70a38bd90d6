"""`StudySpec`: one study as plain data."""

import json
from dataclasses import replace

import pytest

from synthcxr.ontology import Acquisition, FindingInstance, Patient, StudySpec


PATIENT = Patient("p", "female", 61.0, 24.0, seed=5)


@pytest.fixture
def study():
    findings = (
        FindingInstance("nodule", "left", "left_upper_zone", "subtle", 0.8, seed=1),
        FindingInstance("edema", severity="mild", certainty="uncertain", seed=2),
    )
    first = StudySpec("s0", PATIENT, Acquisition("PA"), findings[:1], seed=3)
    return StudySpec("s1", PATIENT, Acquisition("AP", supine=True), findings, seed=4, prior=first)


def test_labels_are_closed_under_parents(study):
    assert study.labels == ["lung_opacity", "lung_lesion", "nodule"]


def test_what_is_hedged_is_uncertain_unless_something_sure_implies_it(study):
    assert study.uncertain == ["edema"]


def test_a_study_without_findings_says_so(study):
    assert replace(study, findings=()).labels == ["no_finding"]
    assert replace(study, findings=()).uncertain == []


def test_a_study_with_only_hedged_findings_is_neither_ill_nor_healthy(study):
    hedged = study.without("nodule")
    assert hedged.labels == []
    assert hedged.uncertain == ["lung_opacity", "edema"]


def test_leaving_a_finding_out_changes_nothing_else(study):
    healthy = study.without("nodule")
    assert [item.finding for item in healthy.findings] == ["edema"]
    assert replace(healthy, findings=study.findings) == study


def test_json_gives_the_spec_back(study):
    assert StudySpec.from_dict(json.loads(json.dumps(study.to_dict()))) == study


def test_the_digest_sees_every_field(study):
    changed = [
        replace(study, seed=9),
        replace(study, report_omits=("nodule",)),
        replace(study, prior=None),
        replace(study, patient=replace(PATIENT, age=62.0)),
        replace(study, acquisition=replace(study.acquisition, dose=0.9)),
        replace(study, findings=(replace(study.findings[0], size_cm=0.9), study.findings[1])),
    ]
    digests = {study.digest(), *(item.digest() for item in changed)}
    assert len(digests) == 1 + len(changed)
    assert all(len(digest) == 16 for digest in digests)


def test_history_goes_back_in_time(study):
    later = replace(study, study_id="s2", prior=study)
    assert [item.study_id for item in later.history()] == ["s1", "s0"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"finding": "flu"}, "finding is 'flu'"),
        ({"finding": "no_finding"}, "finding is 'no_finding'"),
        ({"finding": "edema", "region": "liver"}, "region of edema is 'liver'"),
        ({"finding": "edema", "side": "both"}, "side of edema is 'both'; expected one of left, right, bilateral"),
        ({"finding": "edema", "severity": "huge"}, "severity of edema is 'huge'"),
        ({"finding": "edema", "certainty": "maybe"}, "certainty of edema is 'maybe'"),
        ({"finding": "edema", "change": "gone"}, "change of edema is 'gone'"),
    ],
)
def test_a_wrong_value_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        FindingInstance(**values)


def test_an_unknown_field_is_refused(study):
    with pytest.raises(ValueError, match="StudySpec has no field 'colour'"):
        StudySpec.from_dict(study.to_dict() | {"colour": "grey"})
