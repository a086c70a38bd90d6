"""What a report says of findings: rules of negation, doubt and side, against truth and against people."""

import json
import time

import pytest

from synthcxr.ontology import LABEL_MAPS, ancestors
from synthcxr.reports import read_findings, write_report
from synthcxr.simulation import sample_cohort


@pytest.mark.parametrize(
    ("text", "present", "uncertain", "absent"),
    [
        ("There is a small left pleural effusion.", {"pleural_effusion": {"left"}}, set(), set()),
        ("Bibasilar atelectasis.", {"atelectasis": {"left", "right"}}, set(), set()),
        ("No pneumothorax, effusion, or edema.", {}, set(), {"pneumothorax", "pleural_effusion", "edema"}),
        ("Pneumonia cannot be excluded.", {}, {"pneumonia"}, set()),
        ("Possible nodule or mass.", {}, {"nodule", "mass"}, set()),
        ("The heart is enlarged.", {"cardiomegaly": set()}, set(), set()),
        ("The heart is not enlarged.", {}, set(), {"cardiomegaly"}),
        ("The previously seen consolidation has resolved.", {}, set(), {"consolidation"}),
        ("The chest tube has been removed.", {}, set(), {"chest_tube"}),
        ("No change in the right effusion.", {"pleural_effusion": {"right"}}, set(), set()),
        (
            "Right effusion, left pneumothorax.",
            {"pleural_effusion": {"right"}, "pneumothorax": {"left"}},
            set(),
            set(),
        ),
        ("Lines and tubes: None.", {}, set(), {"support_devices"}),
        ("Calcified nodule on the right.", {"granuloma": {"right"}}, set(), set()),
        ("The lungs are clear.", {}, set(), {"lung_opacity"}),
        ("The lungs are otherwise clear.", {}, set(), set()),
        ("No acute cardiopulmonary process.", {"no_finding": set()}, set(), set()),
        ("INDICATION: Pneumonia? FINDINGS: Normal heart size.", {}, set(), {"cardiomegaly"}),
        ("Edema. No edema. Possible edema.", {"edema": set()}, set(), set()),
        ("", {}, set(), set()),
    ],
)
def test_findings_are_affirmed_doubted_or_denied(text, present, uncertain, absent):
    stated = read_findings(text)
    assert {finding: set(sides) for finding, sides in stated.present.items()} == present
    assert (stated.uncertain, stated.absent) == (uncertain, absent)


def test_of_simulated_reports_it_reads_what_they_were_written_from():
    """Every finding, and none too many, in four hundred reports of the balanced cohort."""
    for spec in sample_cohort(400, preset="balanced", seed=11):
        stated = read_findings(write_report(spec))
        read = {name for finding in stated.present for name in (finding, *ancestors(finding))}
        assert read - {"no_finding"} == set(spec.labels) - {"no_finding"}, write_report(spec)


def test_on_real_reports_it_agrees_with_people_as_labellers_do(shared_data):
    """Micro-averaged F1 on the labels that people gave to 470 reports of Open-i for NegBio (arXiv 1712.05898)."""
    path = shared_data / "openi_reports" / "reports.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in rows if row["gold14_negbio"]]
    hits = wrong = missed = 0
    for row in rows:
        stated = read_findings(f"FINDINGS: {row['findings']}\nIMPRESSION: {row['impression']}")
        read = {name for finding in stated.present for name in (finding, *ancestors(finding))}
        for label, finding in LABEL_MAPS["nih_chestxray14"].items():
            if finding in (None, "no_finding"):
                continue
            said, true = finding in read, label in row["gold14_negbio"]
            hits, wrong, missed = hits + (said and true), wrong + (said and not true), missed + (true and not said)
    assert len(rows) > 400
    assert 2 * hits / (2 * hits + wrong + missed) > 0.8


def test_another_type_is_refused():
    with pytest.raises(TypeError, match="None"):
        read_findings(None)


@pytest.mark.parametrize(
    "unit", ["effusion ", "no effusion ", "right effusion ", "a: ", "heart ", "free air effusion "]
)
def test_any_text_takes_linear_time(unit):
    times = []
    for size in (25_000, 250_000):
        text = unit * (size // len(unit))
        start = time.process_time()
        read_findings(text)
        times.append(time.process_time() - start)
    assert times[1] < 40 * max(times[0], 0.02)
