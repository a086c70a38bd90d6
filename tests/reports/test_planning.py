from dataclasses import replace

import pytest

from synthcxr.ontology import (
    FINDING_IDS,
    FINDINGS,
    REGIONS,
    Acquisition,
    FindingInstance,
    Patient,
    StudySpec,
    ancestors,
    structure_of,
    with_ancestors,
)
from synthcxr.reports import plan_report
from synthcxr.reports.impressions import is_important
from synthcxr.reports.lexicon import LEXICON


NUM_SPECS = 1000


def spec_of(*instances: FindingInstance, **changes) -> StudySpec:
    return StudySpec("s", Patient("p", "female", 50, 25, 1), Acquisition("PA"), tuple(instances), seed=1, **changes)


def hidden_by(spec: StudySpec) -> set[str]:
    """Findings that a bad report does not state."""
    named = {*spec.report_omits, *spec.report_contradicts}
    return {finding for finding in FINDING_IDS if named & {finding, *ancestors(finding)}}


def side_of(item: FindingInstance) -> str | None:
    return item.side or (REGIONS[item.region].side if item.region else None)


def agrees(statement, spec) -> bool:
    """Whether every detail of a statement is in the spec, for each of its instances."""
    items = [spec.findings[index] for index in statement.instances]
    sides = {side_of(item) for item in items}
    for item in items:
        assert item.finding == statement.finding
        assert (item.certainty == "uncertain") == (statement.polarity == "uncertain")
        assert statement.severity in (None, item.severity)
        assert statement.size_cm in (None, item.size_cm)
        assert statement.change in (None, item.change)
        assert statement.position in (None, item.position)
        if statement.region is not None:
            assert structure_of(item.region) == structure_of(statement.region)
    if statement.side is not None:
        assert statement.side == "bilateral" if len(sides) > 1 else sides == {statement.side}
        assert len(sides) < 2 or sides <= {"left", "right", "bilateral"}
        assert len(sides) < 2 or "bilateral" in sides or sides == {"left", "right"}
    return True


def test_positives_are_those_of_the_spec_and_all_of_them(draw):
    for seed in range(NUM_SPECS):
        spec = draw(seed, distorted=True)
        plan = plan_report(spec)
        positives = [statement for statement in plan.statements if statement.polarity != "absent"]
        assert all(agrees(statement, spec) for statement in positives)
        stated = sorted(index for statement in positives for index in statement.instances)
        shown = [index for index, item in enumerate(spec.findings) if item.finding not in hidden_by(spec)]
        assert stated == shown, seed


def test_sided_findings_always_have_their_side(draw):
    for seed in range(NUM_SPECS):
        spec = draw(seed)
        for statement in plan_report(spec).statements:
            for index in statement.instances:
                item = spec.findings[index]
                if FINDINGS[item.finding].sided:
                    assert (statement.side is None) == (side_of(item) is None)


def test_changes_and_positions_are_never_left_out(draw):
    for seed in range(NUM_SPECS):
        spec = draw(seed)
        for statement in plan_report(spec).statements:
            for index in statement.instances:
                item = spec.findings[index]
                assert statement.change == item.change
                if statement.polarity == "present":
                    assert statement.position == item.position


def test_nothing_present_doubtful_or_omitted_is_denied(draw):
    for seed in range(NUM_SPECS):
        spec = draw(seed, distorted=True)
        plan = plan_report(spec)
        denied = [
            item for sentence in (*plan.findings, *plan.impression) for item in sentence if item.polarity == "absent"
        ]
        taboo = set(with_ancestors(item.finding for item in spec.findings)) | set(spec.report_omits)
        for statement in denied:
            if statement.finding in spec.report_contradicts:
                continue
            if statement.side is None:
                assert statement.finding not in taboo, (seed, statement)
            else:
                sides = {
                    side_of(item) for item in spec.findings if statement.finding in with_ancestors([item.finding])
                }
                assert sides <= {"left", "right"} - {statement.side}, (seed, statement)


def test_nothing_like_a_pneumonia_is_denied_beside_one():
    spec = spec_of(FindingInstance("pneumonia", "left"))
    kin = {"lung_opacity", "consolidation", "infiltration", "pneumonia", "tuberculosis", "covid_19_pattern"}
    for seed in range(500):
        for item in plan_report(spec, seed=seed).statements:
            assert item.polarity == "present" or item.finding not in kin or item.side == "right"


@pytest.mark.parametrize(
    ("finding", "side", "silent"),
    [
        ("cardiomegaly", None, "heart"),
        ("cardiomegaly", None, "cardiomediastinum"),
        ("enlarged_cardiomediastinum", None, "heart"),
        ("enlarged_cardiomediastinum", None, "mediastinum"),
        ("aortic_enlargement", None, "cardiomediastinum"),
        ("nodule", "left", "lungs_clear"),
        ("fibrosis", "left", "lungs_clear"),
        ("pleural_effusion", "left", "lungs_clear"),
        ("pleural_effusion", "left", "angles"),
        ("pneumothorax", "left", "pleura"),
        ("fracture", "left", "bones"),
        ("fracture", "left", "bones_acute"),
        ("scoliosis", None, "bones"),
        ("edema", None, "vessels"),
        ("hyperinflation", None, "lungs_expanded"),
        ("pacemaker", "left", "no_devices"),
        ("subcutaneous_emphysema", "left", "soft_tissues"),
        ("pneumoperitoneum", None, "abdomen"),
    ],
)
@pytest.mark.parametrize("certainty", ["certain", "uncertain"])
def test_anatomy_is_not_called_normal_beside_a_finding(finding, side, silent, certainty):
    spec = spec_of(FindingInstance(finding, side, certainty=certainty))
    for seed in range(300):
        plan = plan_report(spec, seed=seed)
        assert silent not in {statement.topic for statement in plan.statements}
        assert plan.conclusion != "normal"


def test_what_is_important_is_in_the_impression(draw):
    for seed in range(NUM_SPECS):
        plan = plan_report(draw(seed, distorted=True))
        summarised = {index for sentence in plan.impression for item in sentence for index in item.instances}
        for statement in plan.statements:
            if statement.polarity != "absent" and is_important(statement):
                assert set(statement.instances) <= summarised, seed


def test_impressions_agree_with_the_spec(draw):
    for seed in range(NUM_SPECS):
        spec = draw(seed, distorted=True)
        plan = plan_report(spec)
        assert plan.impression or plan.conclusion
        for sentence in plan.impression:
            assert all(agrees(statement, spec) for statement in sentence if statement.polarity != "absent")


def test_nothing_acute_is_said_only_then(draw):
    concluded = 0
    for seed in range(NUM_SPECS):
        spec = draw(seed, distorted=True)
        plan = plan_report(spec)
        if plan.conclusion in ("normal", "nothing_acute"):
            concluded += 1
            assert not any(LEXICON[item.finding].acute for item in spec.findings)
            assert all(item.certainty == "certain" for item in spec.findings)
            assert not any(
                item.change in ("new", "worse") and FINDINGS[item.finding].kind != "device" for item in spec.findings
            )
        if plan.conclusion == "normal":
            assert not spec.findings
    assert concluded > NUM_SPECS / 20


def test_omitted_findings_are_not_mentioned_at_all():
    spec = spec_of(FindingInstance("pneumonia", "left"), FindingInstance("cardiomegaly"), report_omits=("pneumonia",))
    for seed in range(500):
        plan = plan_report(spec, seed=seed)
        mentioned = {item.finding for sentence in (*plan.findings, *plan.impression) for item in sentence}
        assert "pneumonia" not in mentioned
        assert "cardiomegaly" in mentioned
        assert plan.conclusion is None


def test_omitting_an_umbrella_omits_what_it_covers():
    spec = spec_of(FindingInstance("nodule", "left", size_cm=1.0), report_omits=("lung_opacity",))
    for seed in range(300):
        plan = plan_report(spec, seed=seed)
        mentioned = {item.finding for sentence in (*plan.findings, *plan.impression) for item in sentence}
        assert not mentioned & {"nodule", "lung_lesion", "lung_opacity"}


def test_contradicted_findings_are_denied():
    spec = spec_of(FindingInstance("pneumothorax", "left"), report_contradicts=("pneumothorax",))
    for seed in range(500):
        polarities = {
            item.polarity for item in plan_report(spec, seed=seed).statements if item.finding == "pneumothorax"
        }
        assert polarities == {"absent"}


def test_contradicting_what_is_not_there_claims_it():
    spec = spec_of(report_contradicts=("pneumothorax",))
    for seed in range(300):
        plan = plan_report(spec, seed=seed)
        assert {item.polarity for item in plan.statements if item.finding == "pneumothorax"} == {"present"}
        assert plan.conclusion not in ("normal", "nothing_acute")


def test_a_report_may_leave_out_severity_and_region():
    spec = spec_of(FindingInstance("consolidation", "right", "right_lower_zone", "severe"))
    severities = {statement.severity for seed in range(300) for statement in plan_report(spec, seed=seed).statements}
    regions = {statement.region for seed in range(300) for statement in plan_report(spec, seed=seed).statements}
    assert severities == {None, "severe"}
    assert regions == {None, "right_lower_zone"}


def test_what_is_gone_since_the_prior_may_be_said():
    prior = spec_of(FindingInstance("pneumothorax", "left"), FindingInstance("chest_tube", "left"))
    spec = spec_of(prior=prior)
    topics = {(item.finding, item.topic) for seed in range(100) for item in plan_report(spec, seed=seed).statements}
    assert {("pneumothorax", "resolved"), ("chest_tube", "resolved")} <= topics
    back = replace(spec, findings=(FindingInstance("pneumothorax", "right"),))
    assert not any(
        item.topic == "resolved" and item.finding == "pneumothorax"
        for seed in range(100)
        for item in plan_report(back, seed=seed).statements
    )


def test_both_sides_are_said_as_bilateral_or_one_by_one():
    spec = spec_of(
        FindingInstance("pleural_effusion", "left", severity="mild"),
        FindingInstance("pleural_effusion", "right", severity="mild"),
    )
    seen = set()
    for seed in range(200):
        positives = [item for item in plan_report(spec, seed=seed).statements if item.polarity == "present"]
        seen.add(tuple(sorted(item.side for item in positives)))
    assert seen == {("bilateral",), ("left", "right")}


def test_limits_follow_from_the_acquisition(draw):
    for seed in range(NUM_SPECS):
        spec = draw(seed)
        limits = plan_report(spec).limits
        assert "low_lung_volumes" not in limits or spec.acquisition.inspiration < 0.45
        assert "rotated" not in limits or abs(spec.acquisition.rotation_degrees) >= 6
        assert "supine" not in limits or spec.acquisition.supine
        assert not {"blurred", "cropped", "overexposed", "underexposed"} & set(limits) - {spec.acquisition.defect}


def test_the_same_seed_gives_the_same_plan(draw):
    for seed in range(50):
        assert plan_report(draw(seed), seed=5) == plan_report(draw(seed), seed=5)
        assert plan_report(draw(seed)) == plan_report(draw(seed), seed=seed)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of(report_omits=("measles",)), "report_omits has 'measles'"),
        (spec_of(report_contradicts=("no_finding",)), "report_contradicts has 'no_finding'"),
        (spec_of(FindingInstance("nodule", "left", size_cm=-1.0)), "size_cm of nodule is -1.0; expected a positive"),
        (spec_of(FindingInstance("nodule", "left", size_cm=float("nan"))), "size_cm of nodule is nan"),
        (spec_of(FindingInstance("nodule", "left", "right_apex")), "region of nodule is 'right_apex' but its side"),
    ],
)
def test_what_cannot_be_said_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        plan_report(spec)


@pytest.mark.parametrize("value", [None, "spec", {}])
def test_what_is_no_spec_is_refused(value):
    with pytest.raises(TypeError, match="expected a StudySpec"):
        plan_report(value)
