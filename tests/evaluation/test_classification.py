"""Scores against the truth: which rows meet which, and what is left out."""

import logging

import numpy as np
import pytest
from evaluation.known_encoders import make_dataset, make_rows
from sklearn.metrics import average_precision_score, roc_auc_score

from synthcxr.evaluation import stratified_auroc
from synthcxr.evaluation.classification import ClassificationProtocol, measure_classification


def measure(scores, dataset, *, grey_levels=None, **protocol):
    protocol = ClassificationProtocol(**{"num_bootstrap": 50, **protocol})
    measured = measure_classification(scores, dataset, protocol, score_protocol="score=test", grey_levels=grey_levels)
    return {item.metric: item for item in measured}


def noisy_scores(dataset, findings, seed=0):
    random = np.random.default_rng(seed)
    names = dataset.features["labels"].feature.names
    labels = [[names[label] for label in row] for row in dataset["labels"][:]]
    return {
        finding: np.array([finding in row for row in labels]) + random.normal(size=len(labels)) for finding in findings
    }


def has(dataset, finding):
    index = dataset.features["labels"].feature.names.index(finding)
    return np.array([index in row for row in dataset["labels"][:]])


def test_values_equal_scikit_learn_and_means_leave_no_finding_out(dataset):
    scores = noisy_scores(dataset, ["pneumothorax", "cardiomegaly", "no_finding"])
    measured = measure(scores, dataset)
    for finding, values in scores.items():
        labels = has(dataset, finding)
        assert measured[f"auroc/{finding}"].estimate.value == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
        expected = average_precision_score(labels, values)
        assert measured[f"auprc/{finding}"].estimate.value == pytest.approx(expected, abs=1e-12)
    for name in ("auroc", "auprc"):
        values = [measured[f"{name}/{finding}"].estimate.value for finding in ("pneumothorax", "cardiomegaly")]
        assert measured[f"macro_{name}"].estimate.value == pytest.approx(np.mean(values))
    assert list(measured)[:2] == ["macro_auroc", "macro_auprc"]
    assert measured["macro_auroc"].protocol.endswith("mean of pneumothorax, cardiomegaly")
    assert measured["auroc/pneumothorax"].num_samples == len(dataset)


def test_hedged_rows_are_left_out_of_that_finding_only():
    rows = make_rows()
    for row in rows[:30]:
        row |= {"uncertain": ["pneumothorax"], "labels": [name for name in row["labels"] if name != "pneumothorax"]}
    hedged = make_dataset(rows)
    scores = noisy_scores(hedged, ["pneumothorax", "cardiomegaly"])
    measured = measure(scores, hedged)
    kept = measure({name: values[30:] for name, values in scores.items()}, make_dataset(rows[30:]))
    assert measured["auroc/pneumothorax"].estimate.value == kept["auroc/pneumothorax"].estimate.value
    assert measured["auroc/pneumothorax"].num_samples == 90
    assert measured["auroc/cardiomegaly"].num_samples == 120


def test_real_images_are_never_pooled_over_views():
    dataset = make_dataset(make_rows(origin="real"))
    scores = noisy_scores(dataset, ["pneumothorax"])
    measured = measure(scores, dataset)["auroc/pneumothorax"]
    expected = stratified_auroc(has(dataset, "pneumothorax"), scores["pneumothorax"], dataset["view"][:])
    assert measured.estimate.value == pytest.approx(expected, abs=1e-12)
    assert "strata=view" in measured.protocol
    assert measured.protocol.endswith("; images=real")
    assert "strata=none" in measure(scores, make_dataset(make_rows()))["auroc/pneumothorax"].protocol


def test_matching_brightness_takes_away_what_grey_level_tells():
    rows = make_rows(400)
    dataset = make_dataset(rows)
    random = np.random.default_rng(0)
    # Brightness goes with the finding and is all that the score sees.
    grey = np.clip(0.5 + 0.1 * has(dataset, "pneumothorax") + 0.1 * random.normal(size=400), 0, 1)
    plain = measure({"pneumothorax": grey}, dataset)["auroc/pneumothorax"]
    measured = measure({"pneumothorax": grey}, dataset, match_brightness=True, grey_levels=grey)
    assert set(measured) == {"macro_auroc", "auroc/pneumothorax"}, "no average precision over small strata"
    matched = measured["auroc/pneumothorax"]
    assert plain.estimate.value > 0.7
    assert matched.estimate.value < plain.estimate.value - 0.1
    assert "strata=view x quartile of mean grey level" in matched.protocol
    with pytest.raises(ValueError, match="needs the images' grey levels"):
        measure({"pneumothorax": grey}, dataset, match_brightness=True)


def test_negatives_can_be_the_healthy_or_the_otherwise_ill(dataset):
    scores = noisy_scores(dataset, ["pneumothorax", "no_finding"])
    labels, healthy = has(dataset, "pneumothorax"), has(dataset, "no_finding")
    for negatives, rows in (("no_finding", labels | healthy), ("abnormal", ~healthy)):
        measured = measure(scores, dataset, negatives=negatives)
        expected = roc_auc_score(labels[rows], scores["pneumothorax"][rows])
        assert measured["auroc/pneumothorax"].estimate.value == pytest.approx(expected, abs=1e-12)
        assert measured["auroc/pneumothorax"].num_samples == rows.sum()
        assert measured["auroc/no_finding"].num_samples == len(dataset)
        assert f"negatives={negatives}" in measured["auroc/pneumothorax"].protocol


def test_a_finding_with_too_few_patients_has_no_line_and_the_log_says_so(caplog):
    rows = make_rows(60, findings=("cardiomegaly",))
    for row in rows[:8]:
        # Eight images, but of two patients.
        row |= {"labels": ["hernia"], "patient_id": f"patient-{int(row['id'][4:]) % 2}"}
    dataset = make_dataset(rows)
    with caplog.at_level(logging.INFO, logger="synthcxr"):
        measured = measure(noisy_scores(dataset, ["hernia", "cardiomegaly"]), dataset)
    assert "auroc/hernia" not in measured
    assert "auroc/cardiomegaly" in measured
    assert "hernia is left out: 2 positive" in caplog.text
    assert measure(noisy_scores(dataset, ["hernia"]), dataset) == {}


def test_the_mean_is_the_mean_in_every_resample(dataset):
    measured = measure(noisy_scores(dataset, ["pneumothorax", "cardiomegaly"]), dataset)
    samples = [measured[f"auroc/{finding}"].estimate.samples for finding in ("pneumothorax", "cardiomegaly")]
    np.testing.assert_allclose(measured["macro_auroc"].estimate.samples, np.mean(samples, axis=0))


def test_umbrella_terms_stay_out_of_the_mean_unless_asked_for():
    rows = make_rows(findings=("pneumonia", "cardiomegaly"))
    for row in rows:
        if "pneumonia" in row["labels"]:
            row["labels"] = ["lung_opacity", *row["labels"]]
    dataset = make_dataset(rows)
    scores = noisy_scores(dataset, ["lung_opacity", "pneumonia", "cardiomegaly"])
    measured = measure(scores, dataset)
    assert "auroc/lung_opacity" in measured
    assert measured["macro_auroc"].protocol.endswith("mean of pneumonia, cardiomegaly")
    protocol = ClassificationProtocol(num_bootstrap=0)
    asked = measure_classification(scores, dataset, protocol, score_protocol="x", mean_of=["lung_opacity", "hernia"])
    assert asked[0].estimate.value == measured["auroc/lung_opacity"].estimate.value


def test_a_score_that_is_no_number_is_refused(dataset):
    scores = noisy_scores(dataset, ["pneumothorax"])
    scores["pneumothorax"][3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        measure(scores, dataset)


@pytest.mark.parametrize("choice", [{"negatives": "some"}, {"min_positives": 0}])
def test_impossible_protocols_are_refused(choice):
    with pytest.raises(ValueError, match="negatives is 'some'|min_positives is 0"):
        ClassificationProtocol(**choice)
