"""What grey level, sharpness and view tell alone."""

import numpy as np
import pytest
from evaluation.known_encoders import make_dataset, make_rows
from PIL import Image

from synthcxr.evaluation import brightness_baseline, view_baseline
from synthcxr.evaluation.classification import ClassificationProtocol
from synthcxr.evaluation.confounds import mean_horizontal_gradient


PROTOCOL = ClassificationProtocol(num_bootstrap=100)


def confounded_rows(num_rows=200, origin="real"):
    """Ill people are imaged AP, and AP images are darker."""
    random = np.random.default_rng(0)
    rows = make_rows(num_rows, origin=origin, findings=("edema",))
    for row in rows:
        ill = "edema" in row["labels"]
        row["view"] = "AP" if random.random() < (0.8 if ill else 0.3) else "PA"
        level = 90 if row["view"] == "AP" else 160
        row["image"] = Image.fromarray(random.normal(level, 10, (8, 8)).clip(0, 255).astype(np.uint8))
    return rows


def test_the_view_alone_tells_a_finding_when_views_are_pooled():
    dataset = make_dataset(confounded_rows())
    results = {result.metric: result for result in view_baseline(dataset, protocol=PROTOCOL)}
    assert results["auroc/edema"].ci_low > 0.6
    assert results["auroc/no_finding"].value == pytest.approx(1 - results["auroc/edema"].value)
    assert "score=view is AP; strata=none" in results["auroc/edema"].protocol
    assert set(results) == {"auroc/edema", "auroc/no_finding"}


def test_grey_level_tells_nothing_within_view_where_only_the_view_is_darker():
    dataset = make_dataset(confounded_rows())
    within = {result.metric: result for result in brightness_baseline(dataset, protocol=PROTOCOL)}
    assert within["auroc/edema"].ci_low < 0.5 < within["auroc/edema"].ci_high
    pooled = {
        result.metric: result
        for result in brightness_baseline(make_dataset(confounded_rows(origin="simulated")), protocol=PROTOCOL)
    }
    assert pooled["auroc/edema"].ci_high < 0.45, "darker means ill"
    assert "score=mean_grey_level; strata=view" in within["auroc/edema"].protocol


def test_matched_on_itself_grey_level_tells_little():
    dataset = make_dataset(confounded_rows(origin="simulated"))
    matched = ClassificationProtocol(match_brightness=True, num_bootstrap=0)
    (edema, _) = brightness_baseline(dataset, protocol=matched)
    assert edema.value == pytest.approx(0.5, abs=0.12)


def test_sharpness_is_the_mean_step_between_neighbours():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (4, 4))
    assert mean_horizontal_gradient(Image.fromarray(stripes)) == 1
    assert mean_horizontal_gradient(Image.fromarray(stripes.T.copy())) == 0
    assert mean_horizontal_gradient(Image.fromarray(stripes[:, :1].copy())) == 0
    results = brightness_baseline(make_dataset(make_rows(60)), statistic="mean_horizontal_gradient", protocol=PROTOCOL)
    assert "score=mean_horizontal_gradient" in results[0].protocol
    with pytest.raises(ValueError, match="statistic is 'entropy'"):
        brightness_baseline(make_dataset(make_rows(10)), statistic="entropy")
