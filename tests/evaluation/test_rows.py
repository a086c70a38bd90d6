"""What is read of a dataset besides its images."""

import numpy as np
import pytest
from evaluation.known_encoders import make_dataset, make_rows

from synthcxr.evaluation.rows import (
    brightness_quartiles,
    column_values,
    dataset_digest,
    describe_images,
    patients,
    read_truth,
    single_origin,
)


def test_truth_names_what_is_present_and_what_is_hedged():
    rows = make_rows(3)
    rows[0] |= {"labels": ["edema", "lung_opacity"], "uncertain": ["pneumonia"]}
    rows[1] |= {"labels": [], "uncertain": ["pneumonia"]}
    rows[2] |= {"labels": ["no_finding"], "uncertain": []}
    truth = read_truth(make_dataset(rows))
    assert [values.tolist() for values in truth.of("edema")] == [[True, False, False], [False, False, False]]
    assert truth.of("pneumonia")[1].tolist() == [True, True, False]
    # Where everything is hedged nobody knows whether there is a finding.
    assert [values.tolist() for values in truth.of("no_finding")] == [[False, False, True], [False, True, False]]


def test_no_finding_beside_a_finding_is_refused():
    rows = make_rows(2)
    rows[1]["labels"] = ["no_finding", "edema"]
    with pytest.raises(ValueError, match="Row 1 has no_finding beside other findings"):
        read_truth(make_dataset(rows))


def test_an_unknown_finding_is_refused():
    with pytest.raises(ValueError, match="'effusion'; expected an id of the ontology"):
        read_truth(make_dataset(make_rows(2))).of("effusion")


def test_unknown_patients_are_told_apart_by_study_or_row():
    rows = make_rows(3)
    rows[1]["patient_id"] = None
    rows[2] |= {"patient_id": "", "id": ""}
    assert patients(make_dataset(rows)) == ["patient_id:patient-0", "id:row-1", "row:2"]
    assert patients(make_dataset(rows).select_columns(["image"])) == ["row:0", "row:1", "row:2"]


def test_origins_are_not_mixed():
    rows = make_rows(3)
    rows[1]["origin"] = "real"
    with pytest.raises(ValueError, match="mixes the origins real, simulated"):
        single_origin(make_dataset(rows))
    assert single_origin(make_dataset(rows[:1])) == "simulated"
    assert single_origin(make_dataset(rows).remove_columns("origin")) is None


def test_a_protocol_says_where_its_images_come_from():
    rows = make_rows(3)
    assert describe_images(make_dataset(rows)) == "; images=simulated"
    rows[1]["origin"] = "real"
    assert describe_images(make_dataset(rows)) == "; images=real and simulated"
    assert describe_images(make_dataset(rows).remove_columns("origin")) == ""


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="expected 'scanner'"):
        column_values(make_dataset(make_rows(2)), "scanner")


def test_quartiles_are_taken_within_each_group():
    grey = np.r_[np.arange(8) / 100, 0.5 + np.arange(4) / 100]
    groups = ["AP"] * 8 + [None] * 4
    assert brightness_quartiles(grey, groups).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3]


def test_the_digest_follows_the_rows_and_not_their_order():
    rows = make_rows(6)
    digest = dataset_digest(make_dataset(rows))
    assert dataset_digest(make_dataset(rows[::-1])) == digest
    assert dataset_digest(make_dataset(rows[:5])) != digest
    rows[2]["labels"] = ["edema"]
    assert dataset_digest(make_dataset(rows)) != digest
