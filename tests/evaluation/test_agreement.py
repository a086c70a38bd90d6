"""AUROC and sides against plain counts; encoders whose match with reports is known."""

import numpy as np
import pytest
from evaluation.generated_pairs import make_pairs
from evaluation.known_encoders import PerfectEncoder, RandomEncoder, make_dataset, make_rows
from sklearn.metrics import roc_auc_score

from synthcxr.evaluation.agreement import measure_agreement, measure_report_match


NUM_ROWS = 80


@pytest.fixture(scope="module")
def rows():
    return make_pairs(*({"patient_id": f"p{index // 2}"} for index in range(NUM_ROWS)))


@pytest.fixture
def targets():
    random = np.random.default_rng(0)
    columns = {}
    for finding in ("pleural_effusion", "pneumothorax"):
        sides = random.integers(0, 2, (2, NUM_ROWS))
        columns |= {finding: sides.max(0), f"left_{finding}": sides[0], f"right_{finding}": sides[1]}
    columns["cardiomegaly"] = random.integers(0, 2, NUM_ROWS)
    columns["enlarged_cardiomediastinum"] = columns["cardiomegaly"]
    return {label: values.astype(np.int8) for label, values in columns.items()}


def measure(scores, targets, rows, **options):
    measured = measure_agreement(scores, targets, rows, **{"num_bootstrap": 0, **options})
    return {item.metric: item for item in measured}


def values(measured):
    return {metric: item.estimate.value for metric, item in measured.items()}


def test_scores_that_know_the_truth_are_perfect(rows, targets):
    found = values(measure(targets, targets, rows))
    assert set(found) == {
        *("macro_auroc", "macro_side_accuracy", "macro_side_auroc"),
        *("auroc/cardiomegaly", "auroc/enlarged_cardiomediastinum"),
        *(
            f"{name}/{finding}"
            for name in ("auroc", "side_accuracy", "side_auroc")
            for finding in ("pleural_effusion", "pneumothorax")
        ),
    }
    assert set(found.values()) == {1.0}


def test_numbers_equal_those_of_a_loop(rows, targets):
    random = np.random.default_rng(1)
    targets["pneumothorax"][:10] = -1
    scores = {label: random.normal(size=NUM_ROWS) + (column == 1) for label, column in targets.items()}
    found = values(measure(scores, targets, rows))
    for finding in ("pleural_effusion", "pneumothorax", "cardiomegaly"):
        known = targets[finding] >= 0
        assert found[f"auroc/{finding}"] == pytest.approx(
            roc_auc_score(targets[finding][known], scores[finding][known])
        )
    shares = []
    for finding in ("pleural_effusion", "pneumothorax"):
        won = {"left": [], "right": []}
        for row in range(NUM_ROWS):
            shown = [side for side in won if targets[f"{side}_{finding}"][row] == 1]
            if len(shown) == 1:
                other = {"left": "right", "right": "left"}[shown[0]]
                won[shown[0]].append(scores[f"{shown[0]}_{finding}"][row] > scores[f"{other}_{finding}"][row])
        shares.append((np.mean(won["left"]) + np.mean(won["right"])) / 2)
        assert found[f"side_accuracy/{finding}"] == pytest.approx(shares[-1])
        left, right = targets[f"left_{finding}"], targets[f"right_{finding}"]
        decided = left + right == 1
        more_left = scores[f"left_{finding}"] - scores[f"right_{finding}"]
        expected = roc_auc_score(left[decided], more_left[decided])
        assert found[f"side_auroc/{finding}"] == pytest.approx(expected)
    assert found["macro_side_accuracy"] == pytest.approx(np.mean(shares))
    members = ("pleural_effusion", "pneumothorax", "cardiomegaly")
    assert found["macro_auroc"] == pytest.approx(np.mean([found[f"auroc/{finding}"] for finding in members]))


def test_a_classifier_that_always_says_left_is_at_chance(rows, targets):
    for finding in ("pleural_effusion", "pneumothorax"):
        targets[f"right_{finding}"][5:] &= ~targets[f"left_{finding}"][5:] & 1  # most are on the left
    scores = {label: np.full(NUM_ROWS, float(label.startswith("left"))) for label in targets}
    assert values(measure(scores, targets, rows))["macro_side_accuracy"] == 0.5


def test_a_classifier_that_leans_to_the_right_still_tells_the_sides_apart(rows, targets):
    scores = {label: values + 2.0 * label.startswith("right") for label, values in targets.items()}
    found = values(measure(scores, targets, rows))
    assert found["macro_side_accuracy"] == 0.5
    assert found["macro_side_auroc"] == 1


def test_rows_that_are_unknown_do_not_count(rows, targets):
    scores = dict(targets)
    targets = targets | {"cardiomegaly": targets["cardiomegaly"].copy()}
    scores["cardiomegaly"] = np.where(np.arange(NUM_ROWS) < 20, -targets["cardiomegaly"], targets["cardiomegaly"])
    assert values(measure(scores, targets, rows))["auroc/cardiomegaly"] < 1
    targets["cardiomegaly"][:20] = -1
    found = measure(scores, targets, rows)["auroc/cardiomegaly"]
    assert (found.estimate.value, found.num_samples) == (1, 60)


def test_what_is_rare_is_left_out(rows, targets):
    targets["left_pneumothorax"][:] = 0
    targets["cardiomegaly"][:] = 0
    targets["cardiomegaly"][:4] = 1
    found = measure(targets, targets, rows)
    assert "side_accuracy/pneumothorax" not in found
    assert "auroc/cardiomegaly" not in found
    assert "auroc/cardiomegaly" in measure(targets, targets, rows, min_positives=4)
    assert measure({}, targets, rows) == {}


def test_intervals_hold_the_value_and_the_protocol_says_how(rows, targets):
    random = np.random.default_rng(1)
    scores = {label: random.normal(size=NUM_ROWS) + (column == 1) for label, column in targets.items()}
    found = measure(scores, targets, rows, num_bootstrap=200, scored_by="tiny")
    for item in found.values():
        low, high = item.estimate.interval
        assert low <= item.estimate.value <= high
        assert item.protocol.startswith("score=logit of tiny; uncertain=excluded")
        assert "200 x patients" in item.protocol
        assert "images=simulated" in item.protocol
    with pytest.raises(ValueError, match="not finite"):
        measure(scores | {"cardiomegaly": np.full(NUM_ROWS, np.nan)}, targets, rows)


def test_reports_are_matched_by_an_encoder_that_knows_them_and_not_by_one_that_guesses():
    dataset = make_dataset(make_rows(150))
    (perfect,) = measure_report_match(PerfectEncoder(dataset), dataset, num_bootstrap=50)
    assert perfect.estimate.value > 0.99
    (guess,) = measure_report_match(RandomEncoder(), dataset, num_bootstrap=50)
    assert guess.estimate.value == pytest.approx(0.5, abs=0.1)
    assert "chance=0.5" in guess.protocol


def test_equal_reports_are_a_tie_and_none_is_no_number():
    rows = make_rows(30)
    for row in rows:
        row["report"] = "Normal."
    (tied,) = measure_report_match(RandomEncoder(), make_dataset(rows), num_bootstrap=0)
    assert tied.estimate.value == 0.5
    for row in rows:
        row["report"] = " "
    assert measure_report_match(RandomEncoder(), make_dataset(rows)) == []
