"""The runner: tasks by name, folders or datasets, one file that is brought up to date."""

import pytest
from evaluation.generated_pairs import as_generated, make_classifier, make_extractor, save_pairs
from evaluation.known_encoders import PerfectEncoder, RandomEncoder, make_dataset, make_rows

from synthcxr.cli.main import main
from synthcxr.evaluation import evaluate, read_results
from synthcxr.evaluation.run import evaluate_fidelity


QUICK = {"num_bootstrap": 10, "progress": False}


def test_tasks_run_on_every_dataset_and_fill_one_file(tmp_path):
    datasets = {"balanced": make_dataset(make_rows(60)), "second_hospital": make_dataset(make_rows(60, seed=1))}
    results = evaluate(RandomEncoder(), datasets, output_dir=tmp_path, **QUICK)
    assert read_results(tmp_path / "results.json") == results
    assert {(result.task, result.dataset) for result in results} == {
        (task, name) for task in ("zero_shot_classification", "image_report_retrieval") for name in datasets
    }
    assert all(result.dataset_revision.startswith("rows-") for result in results)


def test_a_second_run_replaces_its_own_results_only(tmp_path):
    dataset = make_dataset(make_rows(60))
    first = evaluate(RandomEncoder(), {"balanced": dataset}, output_dir=tmp_path, **QUICK)
    task = "zero_shot_classification"
    second = evaluate(PerfectEncoder(dataset), {"balanced": dataset}, output_dir=tmp_path, tasks=[task], **QUICK)
    stored = read_results(tmp_path / "results.json")
    assert len(stored) == len(first)
    assert [result for result in stored if result.task == task] == second
    assert [result for result in stored if result.task != task] == [item for item in first if item.task != task]


def test_real_images_are_measured_within_view_and_brightness(tmp_path):
    rows = make_rows(200, origin="real")
    for row in rows:
        row["report"] = ""
    results = evaluate(RandomEncoder(), {"nih_chestxray14": make_dataset(rows)}, output_dir=tmp_path, **QUICK)
    tasks = {"zero_shot_classification", "confound_baseline"}
    assert {result.task for result in results} == tasks, "there are no reports to retrieve"
    baselines = [result for result in results if result.task == "confound_baseline"]
    assert all("score=mean_grey_level; strata=view" in result.protocol for result in baselines)
    measured = {result.metric for result in results if result.task == "zero_shot_classification"}
    assert {result.metric for result in baselines} <= measured
    macro = [result.protocol for result in results if result.metric == "macro_auroc"]
    assert len(set(macro)) == 4
    assert all("strata=view" in protocol for protocol in macro)
    assert sum("quartile" in protocol for protocol in macro) == 2
    assert sum("negatives=no_finding" in protocol for protocol in macro) == 2


def test_a_folder_is_named_by_itself(tmp_path, checkpoint, dataset_folder):
    results = evaluate(str(checkpoint), [dataset_folder], output_dir=tmp_path, split="train", **QUICK)
    assert {result.dataset for result in results} == {"pairs"}
    assert {result.task for result in results} == {"image_report_retrieval"}, "four rows are too few to classify"
    with pytest.raises(ValueError, match="Two datasets are named 'pairs'"):
        evaluate(str(checkpoint), [dataset_folder, dataset_folder], output_dir=tmp_path)


def test_what_cannot_be_run_is_said(tmp_path):
    rows = make_rows(4)
    for row in rows:
        row["report"] = ""
    dataset = make_dataset(rows)
    with pytest.raises(ValueError, match="task is 'grounding'"):
        evaluate(RandomEncoder(), {"x": dataset}, output_dir=tmp_path, tasks=["grounding"], **QUICK)
    with pytest.raises(ValueError, match="No row has a text"):
        evaluate(RandomEncoder(), {"x": dataset}, output_dir=tmp_path, tasks=["image_report_retrieval"], **QUICK)
    with pytest.raises(ValueError, match="Nothing could be measured on x"):
        evaluate(RandomEncoder(), {"x": dataset}, output_dir=tmp_path, **QUICK)
    assert not list(tmp_path.iterdir())


def test_each_prompt_set_asked_for_is_in_the_file(tmp_path):
    dataset = make_dataset(make_rows(60))
    results = evaluate(RandomEncoder(), {"x": dataset}, output_dir=tmp_path, prompt_sets=["name", "biovil"], **QUICK)
    protocols = [result.protocol for result in results if result.metric == "macro_auroc"]
    assert [protocol.partition(";")[0] for protocol in protocols] == ["prompts=name", "prompts=biovil"]


@pytest.fixture(scope="module")
def generated(pairs_folder, tmp_path_factory):
    """A folder of what a generator has drawn from the reports of the test split: one split, `train`."""
    return save_pairs(as_generated(pairs_folder, "test"), tmp_path_factory.mktemp("drawn") / "drawn")


def test_generated_pairs_are_measured_against_a_folder(generated, pairs_folder, tmp_path):
    results = evaluate_fidelity(
        make_extractor(), [generated], reference=pairs_folder, output_dir=tmp_path, num_bootstrap=10, progress=False
    )
    assert read_results(tmp_path / "results.json") == results
    assert {result.dataset for result in results} == {"drawn", pairs_folder.name}
    metrics = {result.metric for result in results}
    assert {"fid", "fid/floor", "share_near_training", "macro_auroc"} <= metrics
    assert (tmp_path / "samples-drawn.png").exists()
    again = evaluate_fidelity(
        make_extractor(), [generated], reference=pairs_folder, output_dir=tmp_path, num_bootstrap=10, progress=False
    )
    assert again == results == read_results(tmp_path / "results.json")


def run_verb(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["evaluate", *map(str, arguments)])
    return left.value.code, capsys.readouterr()


def test_the_verb_measures_with_a_classifier_by_folder(generated, pairs_folder, tmp_path, capsys):
    for part in make_classifier():
        part.save_pretrained(tmp_path / "tiny")
    flags = ["--task", "fidelity", "--dataset", generated, "--reference", pairs_folder, "--num-bootstrap", 5]
    code, shown = run_verb(capsys, *flags, "--model", tmp_path / "tiny", "--output-dir", tmp_path / "out")
    assert code == 0, shown.err
    assert "fidelity" in shown.out
    assert {result.dataset for result in read_results(tmp_path / "out" / "results.json")} >= {"drawn"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "fidelity"], "run it alone, and give --reference"),
        (["--task", "fidelity", "--task", "image_report_retrieval", "--reference", "x"], "run it alone"),
        ([], "give --model"),
        (["--model", "m", "--reference", "x"], "belong to --task fidelity"),
        (["--task", "fidelity", "--reference", "./none", "--model", "./none"], "none is no image encoder"),
    ],
)
def test_flags_that_do_not_fit_are_one_line(flags, message, generated, tmp_path, capsys):
    code, shown = run_verb(capsys, "--dataset", generated, "--output-dir", tmp_path / "out", *flags)
    assert code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
