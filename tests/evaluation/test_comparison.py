"""Two models in pairs."""

import pytest
from evaluation.known_encoders import PerfectEncoder, RandomEncoder

from synthcxr.evaluation import compare_models


@pytest.mark.parametrize(
    ("task", "metric"),
    [("zero_shot_classification", "macro_auroc"), ("image_report_retrieval", "image_to_report_recall_at_5")],
)
def test_knowing_everything_beats_knowing_nothing(dataset, task, metric):
    comparisons = compare_models(PerfectEncoder(dataset), RandomEncoder(), dataset, task=task, num_bootstrap=100)
    (item,) = [item for item in comparisons if item.metric == metric]
    assert item.difference.difference == pytest.approx(item.first - item.second)
    assert item.difference.ci_low > 0.3
    assert item.difference.p_value <= 2 / 101
    assert not any("chance" in item.metric for item in comparisons)


def test_two_models_that_know_nothing_do_not_differ(dataset):
    comparisons = compare_models(RandomEncoder(0), RandomEncoder(1), dataset, num_bootstrap=200)
    macro = next(item for item in comparisons if item.metric == "macro_auroc")
    assert macro.difference.ci_low < 0 < macro.difference.ci_high
    assert macro.difference.p_value > 0.05


def test_an_unknown_task_is_refused(dataset):
    with pytest.raises(ValueError, match="task is 'grounding'"):
        compare_models(RandomEncoder(), RandomEncoder(), dataset, task="grounding")
