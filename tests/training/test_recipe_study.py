import json

import numpy as np
import pytest

from synthcxr.training.arguments import PretrainingScriptArguments, parse_arguments
from synthcxr.training.recipe_study import (
    MEASURES,
    PARTS,
    Arm,
    RecipeStudyArguments,
    arms,
    run_recipe_study,
    summarise,
)


def run_with(value, samples):
    return {name: {"value": value, "samples": samples} for name in MEASURES}


def test_every_part_is_a_setting_that_the_script_knows():
    for part in PARTS:
        settings = Arm("convirt", part, 10).settings()
        assert settings == PARTS[part]
        PretrainingScriptArguments(dataset=["pairs"], **settings)
    whole = Arm("cxr_clip", "whole", 10).settings()
    assert all(whole[name] == value for part in PARTS.values() for name, value in part.items())
    assert "local_loss_weight" not in Arm("gloria", "whole", 10).settings()


def test_every_model_is_trained_both_ways_at_every_share_and_one_with_each_part():
    found = list(arms(RecipeStudyArguments(output_dir="x")))
    assert len(found) == len(set(found)) == 4 * 2 * 3 + len(PARTS)
    assert {arm.percentage for arm in found if arm.recipe in PARTS} == {10}


def test_the_gain_is_taken_within_a_seed_and_a_resample():
    """Two seeds that differ much and a gain of exactly 0.1 in each: its interval has no width."""
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 400))
    plain = [run_with(0.5, 0.5 + noise[0]), run_with(0.7, 0.7 + noise[1])]
    whole = [run_with(0.6, 0.6 + noise[0]), run_with(0.8, 0.8 + noise[1])]
    summary = summarise({Arm("convirt", "plain", 10): plain, Arm("convirt", "whole", 10): whole})
    assert "difference" not in summary[0]
    gain = summary[-1]["difference"]
    assert (gain["value"], gain["ci_low"], gain["ci_high"]) == pytest.approx((0.1, 0.1, 0.1))
    value = summary[-1]
    assert value["value"] == pytest.approx(0.7)
    assert value["ci_low"] < 0.6 < 0.8 < value["ci_high"]  # the seeds lie so far apart


def test_a_study_trains_measures_and_is_reused(tmp_path):
    flags = ["--output-dir", str(tmp_path), "--num-studies", "320", "--model-types", "cxr_clip", "--percentages", "10"]
    flags += ["--num-passes", "32", "--part-percentage", "10", "--part-model-type", "cxr_clip", "--seeds", "0"]
    (args,) = parse_arguments([RecipeStudyArguments], [*flags, "--batch-size", "8", "--use-cpu"], program="study")
    summary = run_recipe_study(args)
    assert {row["recipe"] for row in summary} == {"plain", "whole", *PARTS}
    assert {row["metric"] for row in summary} == set(MEASURES)
    assert all(row["ci_low"] <= row["ci_high"] for row in summary)
    assert all("difference" in row for row in summary if row["recipe"] != "plain")
    record = json.loads((tmp_path / "runs" / "cxr_clip-whole-10-0" / "pretraining.json").read_text())
    assert record["num_pairs"] == 26  # a tenth of the training pairs
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert len(weights) == 8
    assert run_recipe_study(args) == summary
    assert all(path.stat().st_mtime_ns == time for path, time in weights.items())


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="--num-passes has 2 numbers for 3 shares"):
        RecipeStudyArguments(output_dir="x", num_passes=[1, 2])
    with pytest.raises(ValueError, match="'clip' is no model type"):
        RecipeStudyArguments(output_dir="x", model_types=["clip"])
