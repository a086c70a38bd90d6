"""Label maps to and from public datasets."""

import csv
import json

import pytest

from synthcxr.ontology import FINDING_IDS, LABEL_MAPS, from_finding, to_finding


every_dataset = pytest.mark.parametrize("dataset", LABEL_MAPS)


@every_dataset
def test_every_label_means_a_finding_or_nothing(dataset):
    assert set(LABEL_MAPS[dataset].values()) <= {*FINDING_IDS, None}
    for label, finding in LABEL_MAPS[dataset].items():
        assert to_finding(dataset, label) == finding


@every_dataset
def test_a_finding_goes_to_a_label_that_comes_back(dataset):
    for finding in FINDING_IDS:
        label = from_finding(dataset, finding)
        assert (label is None) == (finding not in LABEL_MAPS[dataset].values())
        assert label is None or to_finding(dataset, label) == finding


@every_dataset
def test_spellings_that_differ_only_in_case_and_joints_agree(dataset):
    for label, finding in LABEL_MAPS[dataset].items():
        assert to_finding(dataset, label.upper().replace(" ", "_")) == finding


@pytest.mark.parametrize(
    ("dataset", "count"),
    [("chexpert", 14), ("nih_chestxray14", 15), ("vindr_cxr", 29), ("chestx_det", 13), ("rsna_pneumonia", 3)],
)
def test_the_label_sets_are_whole(dataset, count):
    """VinDr has 22 local and 6 global labels, one of them spelt two ways by its releases."""
    assert len(LABEL_MAPS[dataset]) == count


def test_other_names_for_the_same_thing():
    assert (
        to_finding("nih_chestxray14", "Effusion") == to_finding("vindr_cxr", "Pleural effusion") == "pleural_effusion"
    )
    assert to_finding("padchest", "NSG tube") == "nasogastric_tube"
    assert to_finding("covidx", "covid-19") == "covid_19_pattern"
    assert from_finding("vindr_cxr", "no_finding") == "No finding"
    assert from_finding("kermany_pediatric", "no_finding") == "NORMAL"


def test_a_label_that_names_no_finding_means_nothing():
    assert to_finding("rsna_pneumonia", "No Lung Opacity / Not Normal") is None
    assert to_finding("vindr_cxr", "Other lesion") is None


@pytest.mark.parametrize(
    ("dataset", "label", "message"),
    [
        ("chexpert", "Atelectsis", "label of chexpert is 'Atelectsis'; the closest known one is 'Atelectasis'"),
        ("nih", "Mass", "dataset is 'nih'; the closest known one is 'nih_chestxray14'"),
        ("chexpert", "", "label of chexpert is ''"),
    ],
)
def test_a_wrong_name_is_answered_with_the_closest(dataset, label, message):
    with pytest.raises(ValueError, match=message):
        to_finding(dataset, label)


def test_a_wrong_finding_is_answered_with_the_closest():
    with pytest.raises(ValueError, match="finding is 'efusion'; the closest known one is 'pleural_effusion'"):
        from_finding("chexpert", "efusion")


def test_real_label_files_are_understood(shared_data):
    with (shared_data / "nih_chestxray14" / "Data_Entry_2017_v2020.csv").open() as file:
        labels = {label for row in csv.DictReader(file) for label in row["Finding Labels"].split("|")}
    assert len(labels) > 10
    assert all(to_finding("nih_chestxray14", label) for label in labels)

    known = json.loads((shared_data.parent / "vocab" / "labels.json").read_text())
    names = {"nih14": "nih_chestxray14", "chexpert14": "chexpert", "chestx_det13": "chestx_det", "tbx11k": "tbx11k"}
    for source, dataset in names.items():
        assert all(to_finding(dataset, label) for label in known[source])
