"""The results file: whole or not at all, exact, mergeable."""

import io
import json
from dataclasses import asdict, replace

import pytest
from rich.console import Console

from synthcxr.evaluation import Result, merge_results, read_results, results_table, write_results


RESULT = Result(
    task="zero_shot_classification",
    dataset="balanced",
    dataset_revision="rows-1",
    metric="auroc/pleural_effusion",
    value=0.912,
    ci_low=0.88,
    ci_high=0.94,
    num_samples=500,
    seed=0,
    protocol="prompts=name; strata=view",
)
CHANCE = replace(RESULT, metric="image_to_report_recall_at_5/chance", value=0.01, ci_low=None, ci_high=None)


def test_what_is_written_is_read_back(tmp_path):
    path = write_results(tmp_path / "deep" / "results.json", [RESULT, CHANCE])
    assert read_results(path) == [RESULT, CHANCE]
    assert list(json.loads(path.read_text())[0]) == [
        *("task", "dataset", "dataset_revision", "metric", "value", "ci_low", "ci_high"),
        *("num_samples", "seed", "protocol"),
    ]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"], "no temporary file stays"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_results(tmp_path / "results.json", [RESULT])

    def breaking():
        yield CHANCE
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_results(path, breaking())
    assert read_results(path) == [RESULT]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": float("nan")}, "value of auroc/pleural_effusion is nan; expected a finite number"),
        ({"value": None}, "value .* is None"),
        ({"value": True}, "value .* is True"),
        ({"ci_low": None}, "one end of an interval"),
        ({"num_samples": 1.5}, "num_samples .* 1.5"),
        ({"protocol": ""}, "protocol of a result is ''"),
    ],
)
def test_a_result_that_says_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RESULT, **change)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "holds a dict; expected a list"),
        ("[1]", "entry 0 is a int"),
        (json.dumps([asdict(RESULT) | {"auc": 1}]), "entry 0 has the unknown key 'auc'"),
        (json.dumps([{name: value for name, value in asdict(RESULT).items() if name != "seed"}]), "lacks 'seed'"),
        (json.dumps([asdict(RESULT) | {"value": "high"}]), "entry 0: value of auroc/pleural_effusion is 'high'"),
    ],
)
def test_a_file_that_holds_anything_else_is_refused(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_a_newer_result_replaces_the_older_in_its_place():
    newer = replace(RESULT, value=0.95)
    other_prompts = replace(RESULT, protocol="prompts=report; strata=view")
    assert merge_results([RESULT, CHANCE], [other_prompts, newer]) == [newer, CHANCE, other_prompts]


def test_results_of_rows_that_changed_are_dropped():
    other_dataset = replace(RESULT, dataset="second_hospital")
    other_task = replace(RESULT, task="image_report_retrieval")
    old = [RESULT, replace(RESULT, metric="auroc/hernia"), other_dataset, other_task]
    rebuilt = replace(RESULT, dataset_revision="rows-2")
    assert merge_results(old, [rebuilt]) == [other_dataset, other_task, rebuilt]


def test_tables_show_value_and_interval():
    console = Console(width=160, file=io.StringIO())
    console.print(results_table([RESULT, CHANCE]))
    text = console.file.getvalue()
    assert "Not for clinical use" in text
    assert "pleural effusion" in text


def test_a_table_shows_what_is_not_plain_in_a_protocol():
    protocol = "prompts=biovil; strata=view x quartile of mean grey level within it; negatives=all; min_positives=5"
    assert replace(RESULT, protocol=protocol).variant == "prompts=biovil, strata=view x quartile"
    assert replace(RESULT, protocol="prompts=name; strata=none").variant == ""
