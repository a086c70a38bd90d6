"""Numbers of generated images stand beside what they must be compared with."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation.generated_pairs import as_generated
from tiny_artefacts import tiny_results
from tiny_publications import tiny_fidelity

from synthcxr.data.pairs import load_pairs
from synthcxr.evaluation.finding_targets import all_labels
from synthcxr.evaluation.image_features import ImageFeatures
from synthcxr.evaluation.image_fidelity import FidelityProtocol, fidelity
from synthcxr.hub.fidelity_content import fidelity_content, fidelity_entries


@pytest.fixture
def section():
    (section,) = fidelity_content([*tiny_results(), *tiny_fidelity()])
    return section


def row(section, metric):
    (found,) = [row for row in section["rows"] if row["metric"] == metric]
    return found


def test_a_section_is_about_generated_images_and_not_about_their_reference(section):
    names = (section["dataset"], section["reference"], section["origin"], section["size"])
    assert names == ("drawn", "balanced", "synthetic", "32x32")


def test_distances_stand_beside_their_floor(section):
    assert (row(section, "FID")["value"], row(section, "FID")["beside"]) == ("12.35", "3.2")
    assert row(section, "KID")["beside"] == "-0.0001 (-0.0003 to 0.0001)"


def test_similarity_stands_beside_that_of_the_reference(section):
    assert row(section, "MS-SSIM across prompts")["beside"] == "0.3 (0.29 to 0.31)"


def test_agreement_stands_beside_that_of_the_reference(section):
    found = row(section, "macro AUROC of the findings asked for")
    assert (found["value"], found["beside"]) == ("0.88 (0.86 to 0.9)", "0.93 (0.91 to 0.94)")
    assert section["findings"][0]["numbers"][:2] == ["0.9 (0.86 to 0.95)", "0.95 (0.91 to 0.98)"]


def test_nearness_stands_beside_the_quantile_that_defines_it(section):
    assert row(section, "share suspiciously near a training image")["beside"] == "0.001 by definition"
    assert row(section, "share suspiciously near a training image (pixels)")["value"] == "0.004 (0 to 0.01)"


def test_every_number_says_how_many_images_it_is_of(section):
    assert row(section, "FID")["num_samples"] == 500
    assert row(section, "MS-SSIM across prompts")["num_samples"] == 99


def test_floors_of_another_encoder_are_not_mixed_in():
    other = [
        replace(result, value=100 + result.value, protocol=result.protocol.replace("=classifier", "=rad-dino"))
        for result in tiny_fidelity()
        if result.metric_name == "fid"
    ]
    (section,) = fidelity_content([*tiny_fidelity(), *other])
    found = {item["seen_by"]: item["beside"] for item in section["rows"] if item["metric"] == "FID"}
    assert found == {"classifier": "3.2", "rad-dino": "103.2"}


def test_the_model_index_holds_generated_images_only():
    entries = fidelity_entries([*tiny_results(), *tiny_fidelity()])
    assert {
        entry.metric_type: entry.metric_value for entry in entries if entry.metric_type != "share_near_training"
    } == {**{"fid": 12.35, "kid": 0.00123, "ms_ssim_across_prompts": 0.31, "macro_auroc": 0.88}}
    fid, *_, auroc = entries
    assert (fid.dataset_type, fid.metric_args["floor"], fid.metric_args["num_samples"]) == ("balanced", 3.2, 500)
    assert auroc.metric_args["reference"] == 0.93


def test_other_tasks_give_no_section():
    assert fidelity_content(tiny_results()) == []
    assert fidelity_entries(tiny_results()) == []


def test_what_the_task_really_measures_is_all_understood(pairs_folder):
    """The protocols are read: whoever words them anew must look here."""
    sets = {name: load_pairs(pairs_folder, split) for name, split in (("reference", "test"), ("training", "train"))}
    sets["dataset"] = as_generated(pairs_folder, "test", times=2)
    random = np.random.default_rng(0)

    def features(rows):
        scores = {label: random.normal(size=len(rows)) for label in all_labels()}
        return ImageFeatures(random.normal(size=(len(rows), 4)), scores, "tiny")

    seen = {name.replace("dataset", "generated"): features(rows) for name, rows in sets.items()}
    protocol = FidelityProtocol(num_bootstrap=20, num_pairs=30)
    names = {"dataset_name": "drawn", "reference_name": "hospital, ward 3"}
    results = fidelity(seen, **sets, protocol=protocol, **names)
    (section,) = fidelity_content(results)
    assert (section["dataset"], section["reference"], section["size"]) == ("drawn", "hospital, ward 3", "64x64")
    beside = {row["metric"]: row["beside"] for row in section["rows"]}
    assert {"FID", "KID", "coverage", "macro AUROC of the findings asked for"} <= beside.keys()
    assert [metric for metric, shown in beside.items() if shown is None] == ["MS-SSIM within a prompt"]
    assert any(row["numbers"][0] and row["numbers"][1] for row in section["findings"])
    assert {entry.dataset_type for entry in fidelity_entries(results)} == {"hospital, ward 3"}
