import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from synthcxr.data import load_pairs
from synthcxr.simulation import sample_cohort
from synthcxr.synthesis.report_rows import read_reports


SECTIONED = "FINDINGS: The heart is enlarged.\nIMPRESSION: Cardiomegaly."


def test_sections_are_read_from_a_report_and_a_report_is_made_of_sections(write_jsonl):
    path = write_jsonl(
        [{"report": SECTIONED}, {"findings": "Clear lungs.", "impression": "Normal."}, {"text": "Free."}]
    )
    whole, parts, text = read_reports(path)
    assert (whole.findings, whole.impression) == ("The heart is enlarged.", "Cardiomegaly.")
    assert parts.report == "FINDINGS:\nClear lungs.\n\nIMPRESSION:\nNormal."
    assert (text.report, text.findings, text.origin, text.split) == ("Free.", "", "real", "train")


def test_the_same_rows_are_read_from_every_kind_of_file(write_jsonl, tmp_path):
    rows = [
        {"report": SECTIONED, "labels": ["cardiomegaly"], "origin": "synthetic", "id": "a", "age": 40.0},
        {"report": 'Two lines,\n"quoted".', "labels": [], "origin": "synthetic", "id": "b", "age": None},
    ]
    jsonl = write_jsonl(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "reports.parquet")
    csv = "report,labels,origin,id,age\n"
    csv += f'"{SECTIONED}",cardiomegaly,synthetic,a,40\n"Two lines,\n""quoted"".",,synthetic,b,\n'
    (tmp_path / "reports.csv").write_text(csv)

    def rows_of(path):
        return [vars(row) | {"where": None} for row in read_reports(path)]

    expected = rows_of(jsonl)
    assert expected[0]["labels"] == ("cardiomegaly",)
    assert rows_of(tmp_path / "reports.parquet") == expected
    assert rows_of(tmp_path / "reports.csv") == expected


def test_a_study_spec_gets_its_report_and_labels(write_jsonl):
    specs = sample_cohort(3, preset="balanced", seed=1)
    rows = list(read_reports(write_jsonl([spec.to_dict() for spec in specs])))
    assert [row.study_id for row in rows] == [spec.study_id for spec in specs]
    assert [list(row.labels) for row in rows] == [spec.labels for spec in specs]
    assert all(row.origin == "simulated" and row.report for row in rows)


def test_a_dataset_is_read_with_its_splits_labels_and_origin(pairs_folder):
    rows = list(read_reports(pairs_folder))
    train = load_pairs(pairs_folder, "train")
    names = train.features["labels"].feature.names
    assert [row.report for row in rows if row.split == "train"] == list(train["report"])
    assert [list(row.labels) for row in rows[: len(train)]] == [
        [names[i] for i in labels] for labels in train["labels"]
    ]
    assert {row.origin for row in rows} == {"simulated"}
    assert {row.split for row in read_reports(pairs_folder, split="test")} == {"test"}


def test_a_shard_of_ours_is_read_as_a_file(pairs_folder):
    shard = next(pairs_folder.glob("data/validation-*.parquet"))
    expected = [vars(row) | {"where": None, "split": None} for row in read_reports(pairs_folder, split="validation")]
    assert [vars(row) | {"where": None, "split": None} for row in read_reports(shard)] == expected


def test_any_dataset_with_a_text_column_will_do(tmp_path):
    Dataset.from_dict({"text": ["No effusion."], "other": [1]}).to_parquet(tmp_path / "data" / "train.parquet")
    assert [row.report for row in read_reports(tmp_path)] == ["No effusion."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"report": "Fine."}\n{"report": ', r"line 2 of .*reports\.jsonl is no JSON"),
        (b"[" * 100_000, r"line 1 of .* is no JSON"),
        (b'["Fine."]', r"line 1 of .* is a list; expected an object"),
        (b'{"labels": []}', r"line 1 of .* has none of the columns report, findings"),
        (b'{"report": 3}', r"line 1 of .* has a report of type int; expected a text"),
        (b'{"report": "x", "labels": ["flu"]}', r"line 1 of .* has 'flu' in labels"),
        (b'{"report": "x", "labels": "edema"}', r"line 1 of .* has 'edema' in labels"),
        (b'{"report": "x", "origin": "dreamt"}', r"line 1 of .* has the origin 'dreamt'"),
        (b'{"report": "x", "age": "old"}', r"line 1 of .* has the age 'old'"),
        (b'{"report": "x", "entities": [1]}', r"line 1 of .* has entities that are no list"),
        (b'{"patient": {}, "acquisition": {}}', r"line 1 of .* is no study spec"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    path = tmp_path / "reports.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_reports(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("reports.csv", b"name\nx\n", "has none of the columns"),
        ("reports.csv", b"report,id\nx\n", "line 2 of .* has another number of cells"),
        ("reports.csv", b"report\n\xff\n", "is not UTF-8"),
        ("reports.csv", b"report,age\nx,old\n", "line 2 of .* has the age 'old'"),
        ("reports.csv", b"report\n" + b"x" * 200_000, "is no CSV: field larger"),
        ("reports.parquet", b"PAR1 and no more", "is no Parquet file"),
        ("reports.txt", b"x", "is none of .jsonl, .csv, .parquet"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_reports(path))
    assert "\n" not in str(caught.value)


def test_a_source_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        list(read_reports(tmp_path / "missing" / "folder"))
    path = tmp_path / "reports.jsonl"
    path.write_text(json.dumps({"report": "x"}))
    with pytest.raises(ValueError, match="is a file, which has no split 'test'"):
        list(read_reports(path, split="test"))
