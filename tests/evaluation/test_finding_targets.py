"""What rows are known to show: from specs, from boxes, and what nobody knows."""

import json

import numpy as np
import pytest
from evaluation.generated_pairs import make_pairs

from synthcxr.data.pairs import load_pairs
from synthcxr.evaluation.finding_targets import (
    ABSENT,
    PRESENT,
    UNKNOWN,
    all_labels,
    learnable_labels,
    read_specs,
    read_targets,
    sided_labels,
)


def spec(*findings, defect=None, **more):
    instances = [
        dict(zip(("finding", "side", "certainty"), (*finding, "certain")[:3], strict=True)) for finding in findings
    ]
    return json.dumps({"acquisition": {"defect": defect}, "findings": instances, **more})


def of_row(targets, row=0):
    return {label: int(values[row]) for label, values in targets.items() if values[row] != ABSENT}


def test_sides_of_a_spec_are_labels_of_their_own():
    prompt = spec(("pleural_effusion", "left"), ("consolidation", "bilateral"), ("cardiomegaly", None))
    labels = ["enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "consolidation", "pleural_effusion"]
    targets = read_targets(make_pairs({"labels": labels, "prompt": prompt}))
    sides = ["left_consolidation", "right_consolidation", "left_pleural_effusion"]
    assert of_row(targets) == dict.fromkeys([*labels, *sides], PRESENT)


def test_what_is_hedged_is_unknown_with_its_side():
    prompt = spec(("nodule", "right", "uncertain"), ("nodule", "left"))
    rows = make_pairs(
        {"labels": ["lung_opacity", "lung_lesion", "nodule"], "prompt": prompt},
        {"uncertain": ["pneumothorax"], "prompt": spec(("pneumothorax", "right", "uncertain"))},
    )
    targets = read_targets(rows)
    assert of_row(targets)["left_nodule"] == PRESENT
    assert of_row(targets)["right_nodule"] == UNKNOWN
    expected = {"no_finding": UNKNOWN, "pneumothorax": UNKNOWN, "right_pneumothorax": UNKNOWN}
    assert of_row(targets, 1) == expected


def test_of_a_bad_record_nothing_is_known():
    rows = make_pairs({"labels": ["no_finding"], "prompt": spec(defect="rotated_90")}, {"labels": ["no_finding"]})
    targets = read_targets(rows)
    assert all(values[0] == UNKNOWN for values in targets.values())
    assert of_row(targets, 1) == {"no_finding": PRESENT}


def test_what_a_report_hides_was_not_asked_for():
    prompt = spec(
        ("pneumothorax", "left"), ("edema", None), report_omits=["pneumothorax"], report_contradicts=["edema"]
    )
    rows = make_pairs({"labels": ["lung_opacity", "edema", "pneumothorax"], "prompt": prompt})
    assert of_row(read_targets(rows))["left_pneumothorax"] == PRESENT
    hidden = of_row(read_targets(rows, as_reported=True))
    assert {label for label, value in hidden.items() if value == UNKNOWN} == {
        *("edema", "pneumothorax", "left_pneumothorax", "right_pneumothorax")
    }


def test_without_a_spec_sides_follow_from_boxes_by_their_centre():
    """On the image the patient's left is to the right."""
    boxes = {"boxes": [[12, 2, 6, 6], [1, 2, 3, 3]], "box_categories": ["pleural_effusion", "fracture"]}
    rows = make_pairs(
        {"labels": ["pneumothorax", "pleural_effusion", "fracture"], **boxes}, {"uncertain": ["fracture"]}
    )
    found = of_row(read_targets(rows))
    assert found["left_pleural_effusion"] == found["right_fracture"] == PRESENT
    assert "right_pleural_effusion" not in found
    assert found["left_pneumothorax"] == found["right_pneumothorax"] == UNKNOWN, "it has no box"
    assert of_row(read_targets(rows), 1)["left_fracture"] == UNKNOWN


def test_a_lateral_view_has_no_sides():
    rows = make_pairs({"labels": ["pneumothorax"], "prompt": spec(("pneumothorax", "left")), "view": "LATERAL"})
    assert of_row(read_targets(rows)) == {"pneumothorax": PRESENT, "left_pneumothorax": UNKNOWN}


def test_boxes_of_simulated_studies_agree_with_their_specs(pairs_folder):
    pairs = load_pairs(pairs_folder)
    by_spec, by_box = read_targets(pairs), read_targets(pairs, specs=[None] * len(pairs))
    agree, compared = 0, 0
    for label in all_labels():
        both = (by_spec[label] != UNKNOWN) & (by_box[label] != UNKNOWN)
        agree += (by_spec[label] == by_box[label])[both & (by_spec[label] == PRESENT)].sum()
        compared += (both & (by_spec[label] == PRESENT)).sum()
    assert compared > 100
    assert agree > 0.99 * compared


def test_only_a_study_spec_is_a_spec():
    prompts = ["Large effusion.", '{"prompt": 1}', '{"a', None, "", spec()]
    rows = make_pairs(*({"prompt": prompt, "labels": ["no_finding"]} for prompt in prompts))
    assert [given is not None for given in read_specs(rows)] == [False] * 5 + [True]
    assert read_specs(rows.remove_columns("prompt")) == [None] * 6
    with pytest.raises(ValueError, match="1 specs for 6 rows"):
        read_targets(rows, specs=[None])


def test_labels_that_are_rare_or_everywhere_are_not_learnt():
    values = {"all": [1] * 6, "some": [1, 1, 0, 0, -1, -1], "few": [1, 0, 0, 0, -1, -1]}
    targets = {label: np.array(column) for label, column in values.items()}
    assert learnable_labels(targets, min_positives=2) == ["some"]


def test_every_side_belongs_to_a_finding_that_is_rendered():
    assert sided_labels("pleural_effusion") == ("left_pleural_effusion", "right_pleural_effusion")
    assert sided_labels("cardiomegaly") == sided_labels("lung_opacity") == ()
    assert len(set(all_labels())) == len(all_labels())
