from dataclasses import replace

import pytest

from synthcxr.synthesis.report_rows import ReportRow
from synthcxr.synthesis.requests import plan_requests


def row(number, **values):
    return ReportRow(where=f"row {number}", report=f"Report {number}.", findings="", impression="", **values)


ROWS = [row(number, origin="simulated", id=f"id-{number}") for number in range(7)]


def plan(rows, folder, *, num_pairs=None, seed=0, shard_size=3, source="a-generator@1"):
    folder.mkdir(exist_ok=True)
    options = {"num_rows": len(rows), "num_pairs": num_pairs, "seed": seed, "shard_size": shard_size, "source": source}
    return plan_requests(rows, folder, **options)


def requests_of(plans):
    return [request for plan in plans for request in plan.items]


def test_requests_are_stored_shard_by_shard_and_read_back(tmp_path):
    rows = [replace(ROWS[0], labels=("edema",), entities=(("edema", "finding"),), age=40.0), *ROWS[1:]]
    plans = plan(rows, tmp_path).shards
    assert [len(plan.items) for plan in plans] == [3, 3, 1]
    assert [plan.path for plan in plans] == [f"data/train-0000{index}-of-00003.parquet" for index in range(3)]
    first = plans[0].items[0]
    assert (first.report, first.labels, first.entities, first.age) == (
        "Report 0.",
        ("edema",),
        (("edema", "finding"),),
        40,
    )
    assert [request.where for request in requests_of(plans)] == [row.where for row in rows]


@pytest.mark.parametrize("rows", [ROWS, [row(number) for number in range(7)]], ids=["by id", "by text"])
def test_ids_and_seeds_do_not_depend_on_the_place_of_a_row(rows, tmp_path):
    whole = {request.report: request for request in requests_of(plan(rows, tmp_path / "whole").shards)}
    for other in requests_of(plan(rows[:2] + rows[4:], tmp_path / "part", shard_size=2).shards):
        assert replace(other, where="") == replace(whole[other.report], where="")
    assert len({request.id for request in whole.values()}) == len({request.seed for request in whole.values()}) == 7
    assert all(0 <= request.seed < 2**63 for request in whole.values())


def test_another_seed_gives_other_images_and_another_generator_other_ids(tmp_path):
    first, *_ = requests_of(plan(ROWS, tmp_path).shards)
    seeded, *_ = requests_of(plan(ROWS, tmp_path, seed=1).shards)
    redrawn, *_ = requests_of(plan(ROWS, tmp_path, source="a-generator@2").shards)
    assert seeded.seed != first.seed
    assert redrawn.seed == first.seed
    assert len({first.id, seeded.id, redrawn.id}) == 3


def test_fewer_pairs_take_the_first_rows_and_more_draw_each_several_times(tmp_path):
    few = requests_of(plan(ROWS, tmp_path, num_pairs=2).shards)
    assert [request.report for request in few] == ["Report 0.", "Report 1."]
    many = requests_of(plan(ROWS, tmp_path, num_pairs=16).shards)
    assert [request.report for request in many[:6]] == ["Report 0."] * 3 + ["Report 1."] * 3
    assert len(many) == len({request.seed for request in many}) == len({request.id for request in many}) == 16
    assert few[0] == many[0]


def test_the_digest_names_the_requests(tmp_path):
    digest = plan(ROWS, tmp_path).digest
    assert plan(list(ROWS), tmp_path).digest == digest
    others = [
        ROWS[::-1],
        [*ROWS[:6], replace(ROWS[6], report="Another.")],
        [*ROWS[:6], replace(ROWS[6], split="test")],
    ]
    assert len({digest, *(plan(rows, tmp_path).digest for rows in others)}) == 4


def test_splits_of_the_source_stay(tmp_path):
    rows = [replace(row, split="test" if index % 2 else "train") for index, row in enumerate(ROWS)]
    plans = plan(rows, tmp_path).shards
    assert [(plan.split, len(plan.items)) for plan in plans] == [("train", 3), ("train", 1), ("test", 3)]


def test_nothing_that_identifies_a_real_patient_is_kept(tmp_path):
    private = {"patient_id": "p-4711", "sex": "female", "age": 50.0, "view": "PA"}
    studies = [("s-1", "e-1", None), ("s-2", "e-2", "s-1")]
    rows = [
        row(number, id=id_, study_id=study, prior_id=prior, **private)
        for number, (study, id_, prior) in enumerate(studies)
    ]
    first, second = requests_of(plan(rows, tmp_path).shards)
    assert first.patient_id == second.patient_id == "patient-1"
    assert second.prior_id == first.study_id != second.study_id
    assert (first.sex, first.age, first.view) == (None, None, None)
    stored = next(tmp_path.glob("*.jsonl")).read_text()
    assert not [word for word in ("4711", "s-1", "s-2", "e-1", "e-2") if word in stored]
    renamed = [replace(item, id=f"other-{index}") for index, item in enumerate(rows)]
    assert requests_of(plan(renamed, tmp_path).shards)[0].seed == first.seed, "a seed must not tell the id"


def test_equal_reports_of_different_patients_are_different_pairs(tmp_path):
    first, second = requests_of(plan([row(1), row(1)], tmp_path).shards)
    assert first.id != second.id
    assert first.seed != second.seed


def test_an_id_that_occurs_twice_is_refused_with_its_row(tmp_path):
    with pytest.raises(ValueError, match="row 1 has the id 'id-1', which an earlier row has too"):
        plan([*ROWS, ROWS[1]], tmp_path)


def test_no_report_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no report to draw"):
        plan([], tmp_path, num_pairs=3)


def test_the_prompt_starts_with_the_impression(tmp_path):
    item = ReportRow(where="", report="all", findings="Large heart.", impression="Cardiomegaly.")
    assert requests_of(plan([item], tmp_path).shards)[0].text == "Cardiomegaly.\n\nLarge heart."
    assert requests_of(plan([row(0)], tmp_path).shards)[0].text == "Report 0."


def test_the_images_of_each_kind_of_report_are_counted(tmp_path):
    rows = [*ROWS[:2], row(9)]
    assert plan(rows, tmp_path).report_origins == {"simulated": 2, "real": 1}
    assert plan(rows, tmp_path, num_pairs=4).report_origins == {"simulated": 3, "real": 1}
