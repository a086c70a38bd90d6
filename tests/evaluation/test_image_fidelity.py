"""The whole of the task on generated pairs whose quality is known: perfect ones, copies, others."""

import dataclasses
import json

import numpy as np
import pytest
from evaluation.generated_pairs import as_generated, make_extractor, make_pairs

from synthcxr.data.pairs import load_pairs
from synthcxr.evaluation.finding_targets import SIDES
from synthcxr.evaluation.image_features import ImageFeatures
from synthcxr.evaluation.image_fidelity import FidelityProtocol, fidelity, matching_rows


QUICK = FidelityProtocol(num_bootstrap=20, num_pairs=30)
DISTANCES = {"fid", "kid", "precision", "recall", "density", "coverage"}


@pytest.fixture(scope="module")
def splits(pairs_folder):
    return {"reference": load_pairs(pairs_folder, "test"), "training": load_pairs(pairs_folder, "train")}


@pytest.fixture(scope="module")
def perfect(pairs_folder):
    """Every test study drawn twice, exactly as it is."""
    return as_generated(pairs_folder, "test", times=2)


@pytest.fixture(scope="module")
def extractor():
    return make_extractor()


@pytest.fixture(scope="module")
def results(extractor, perfect, splits):
    names = {"dataset_name": "perfect", "reference_name": "hospital"}
    return fidelity(extractor, perfect, **splits, protocol=QUICK, **names)


def values(results, dataset="perfect"):
    return {result.metric: result.value for result in results if result.dataset == dataset}


def test_every_distance_stands_beside_its_floor(results):
    found = values(results)
    assert {f"{name}{subject}" for name in DISTANCES for subject in ("", "/floor")} <= found.keys()
    # Exact images of the reference are nearer to it than training images are.
    assert found["fid"] < found["fid/floor"]
    assert found["kid"] < found["kid/floor"]
    assert found["precision"] == found["coverage"] == 1


def test_the_protocol_names_what_two_numbers_must_share(results):
    for result in results:
        assert result.task == "fidelity"
        if result.dataset == "perfect" and "auroc" not in result.metric and "side" not in result.metric:
            for part in ("encoder=tiny", "reference=hospital", "size=64x64, reference 64x64", "images=synthetic"):
                assert part in result.protocol
    by_metric = {result.metric: result for result in results if result.dataset == "perfect"}
    assert by_metric["fid"].num_samples == by_metric["fid/floor"].num_samples == 40
    assert "n=40 against 20 good records; dim=16" in by_metric["fid"].protocol
    assert "training images in place of generated ones" in by_metric["fid/floor"].protocol
    assert by_metric["kid"].ci_low <= by_metric["kid"].value <= by_metric["kid"].ci_high


def test_variety_is_told_within_and_across_prompts(results):
    found = values(results)
    assert found["ms_ssim_within_prompt"] == pytest.approx(1), "a generator that draws a prompt twice alike"
    assert found["ms_ssim_across_prompts"] < 0.8
    assert found["ms_ssim_across_prompts"] == pytest.approx(found["ms_ssim_across_prompts/reference"], abs=0.1)


def test_agreement_of_perfect_images_is_that_of_their_studies(results):
    own, theirs = values(results), values(results, "hospital")
    compared = [metric for metric in theirs if metric.startswith("auroc/")]
    assert compared
    assert all(own[metric] == pytest.approx(theirs[metric]) for metric in compared)


def test_sides_come_from_the_studies_whose_reports_were_drawn():
    """A generated row holds a prompt and no spec; and nobody asks for what the report leaves out."""
    sides = ["left", "right"] * 20
    specs = [
        {
            "acquisition": {"defect": None},
            "findings": [{"finding": "pleural_effusion", "side": side}],
            "report_omits": ["pleural_effusion"] if index >= 30 else [],
        }
        for index, side in enumerate(sides)
    ]
    reference = make_pairs(*({"labels": ["pleural_effusion"], "prompt": json.dumps(item)} for item in specs))
    drawn = {"labels": ["pleural_effusion"], "prompt": "Pleural effusion.", "origin": "synthetic"}
    generated = make_pairs(*({**drawn, "id": f"drawn-{index}", "study_id": f"study-{index}"} for index in range(40)))
    scores = {f"{side}_pleural_effusion": np.array([side == shown for shown in sides]) * 1.0 for side in SIDES}
    scores["pleural_effusion"] = np.ones(40)
    random = np.random.default_rng(0)
    features = {name: ImageFeatures(random.normal(size=(40, 3)), scores) for name in ("generated", "reference")}
    found = fidelity(features, generated, reference, protocol=QUICK, dataset_name="drawn", reference_name="studies")
    for name in ("drawn", "studies"):
        of_side = next(item for item in found if item.dataset == name and item.metric == "macro_side_accuracy")
        assert (of_side.value, of_side.num_samples) == (1, 30)


def test_images_that_were_never_trained_on_are_not_near(results):
    found = values(results)
    assert found["share_near_training"] == found["share_near_training/pixels"] == 0
    assert found["nearest_distance_ratio"] == pytest.approx(1)
    near = next(result for result in results if result.metric == "share_near_training")
    assert near.ci_low == 0 < near.ci_high < 0.1
    assert "nearest of 73 training images; 20 held out" in near.protocol


def test_copies_of_training_images_are_caught(extractor, pairs_folder, splits):
    copies = as_generated(pairs_folder, "train")
    found = values(fidelity(extractor, copies, **splits, protocol=QUICK, dataset_name="copies"), "copies")
    assert found["share_near_training"] == found["share_near_training/pixels"] == 1
    assert found["nearest_distance_ratio/pixels"] < 1e-3


def test_without_training_images_the_halves_of_the_reference_are_the_floor(extractor, pairs_folder, splits):
    reference = splits["training"]
    generated = as_generated(pairs_folder, "test")
    found = fidelity(extractor, generated, reference, protocol=QUICK, dataset_name="x", reference_name="y")
    assert not any("near" in result.metric for result in found)
    floor = next(result for result in found if result.metric == "fid/floor")
    assert "n=20 against" in floor.protocol
    assert "reference images in place of generated ones" in floor.protocol


def test_features_that_were_computed_before_give_the_same(extractor, perfect, splits, results):
    sets = {"generated": perfect, **splits}
    features = {name: extractor.extract(rows) for name, rows in sets.items()}
    names = {"dataset_name": "perfect", "reference_name": "hospital"}
    assert fidelity(features, perfect, **splits, protocol=QUICK, **names) == results
    bare = {name: dataclasses.replace(item, scores={}) for name, item in features.items()}
    found = values(fidelity(bare, perfect, **splits, protocol=QUICK, **names))
    assert "macro_auroc" not in found, "an encoder that is no classifier says nothing of findings"
    with pytest.raises(ValueError, match="no features of the 73 training images"):
        fidelity({**features, "training": features["reference"]}, perfect, **splits, protocol=QUICK)


def test_a_vision_language_model_is_asked_when_there_is_one(perfect, splits, extractor, checkpoint):
    few = {name: rows.select(range(20)) for name, rows in splits.items()}
    found = fidelity(
        extractor, perfect, **few, vision_language_model=checkpoint, protocol=QUICK, dataset_name="perfect"
    )
    assert 0 <= values(found)["report_match"] <= 1


def test_bad_records_are_no_reference(extractor, perfect, splits):
    rows = splits["reference"].to_list()
    for row in rows[:4]:
        row["prompt"] = row["prompt"].replace('"defect":null', '"defect":"cropped"')
    reference = splits["reference"].from_list(rows, features=splits["reference"].features)
    found = fidelity(extractor, perfect, reference, protocol=QUICK, training=splits["training"])
    assert "against 16 good records" in found[0].protocol


def test_shared_patients_and_small_sets_are_refused(extractor, perfect, splits):
    with pytest.raises(ValueError, match="Reference and training share 20 patients, such as 'patient_id:"):
        fidelity(extractor, perfect, splits["reference"], training=splits["reference"])
    few = splits["reference"].select(range(5))
    with pytest.raises(ValueError, match="40 generated and 5 reference images; expected more than k=5"):
        fidelity(extractor, perfect, few, training=splits["training"])
    with pytest.raises(ValueError, match="count images"):
        FidelityProtocol(k=0)


def test_generated_rows_find_their_studies(perfect, splits):
    matches = matching_rows(perfect, splits["reference"])
    assert sorted(matches) == list(range(40))
    studies = np.array(splits["reference"]["study_id"][:])
    assert all(studies[match] == perfect["study_id"][row] for row, match in matches.items())
    assert matching_rows(perfect, splits["training"]) == {}
    assert matching_rows(perfect.remove_columns(["id", "study_id"]), splits["reference"]) == {}
