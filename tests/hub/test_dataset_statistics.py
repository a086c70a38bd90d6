"""Counting a dataset folder."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_artefacts import build_tiny_dataset

from synthcxr.hub.dataset_statistics import dataset_shards, describe_dataset


def test_splits_come_in_the_order_of_the_contract(dataset_folder):
    assert list(describe_dataset(dataset_folder)) == ["train", "test"]


def test_rows_patients_and_origins_are_counted(dataset_folder):
    train = describe_dataset(dataset_folder)["train"]
    assert (train.num_rows, train.num_patients, train.num_real_patients) == (4, 2, 0)
    assert train.origins == {"simulated": 4}
    assert train.sources == {("simulated", "balanced@1"): 4}


def test_findings_are_counted_by_name_and_certainty(dataset_folder):
    train = describe_dataset(dataset_folder)["train"]
    assert train.present == {"pleural_effusion": 2, "no_finding": 1, "cardiomegaly": 1, "pneumothorax": 1}
    assert train.uncertain == {"edema": 1}


def test_reports_people_entities_and_quality_are_counted(dataset_folder):
    train = describe_dataset(dataset_folder)["train"]
    assert train.num_distinct_reports == 3
    assert train.report_words == [12] * 4
    assert train.sexes == {"male": 2, "female": 2}
    assert train.ages == [30.0, 31.0, 32.0, 33.0]
    assert train.entities == {"abnormality": 4}
    assert train.quality_scores == {"image_quality": [0.5] * 4}
    assert train.quality_words["reason"] == {"blurred": 1}


def test_defects_that_the_simulation_was_asked_for_are_counted(dataset_folder):
    train = describe_dataset(dataset_folder)["train"]
    assert train.quality_words["bad record"] == {"any": 1, "cropped": 1}
    assert train.quality_words["report"] == {"omits": 4}


def test_a_missing_shard_is_named(dataset_folder, tmp_path):
    folder = shutil.copytree(dataset_folder, tmp_path / "pairs")
    (folder / "data" / "train-00000-of-00001.parquet").rename(folder / "data" / "train-00000-of-00002.parquet")
    with pytest.raises(ValueError, match="the split train has 1 shards; expected the 2 of one build"):
        dataset_shards(folder)


def test_a_cut_shard_is_named(dataset_folder, tmp_path):
    folder = shutil.copytree(dataset_folder, tmp_path / "pairs")
    shard = folder / "data" / "test-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(ValueError, match="test-00000-of-00001.parquet is no complete Parquet file"):
        describe_dataset(folder)


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a dataset"):
        describe_dataset(tmp_path)


def test_real_patients_are_counted_apart(tmp_path):
    train = describe_dataset(build_tiny_dataset(tmp_path / "pairs", origin="real"))["train"]
    assert (train.num_patients, train.num_real_patients) == (2, 2)


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        ({"origin": ["real"], "labels": [["edema"]]}, {}, "a column 'origin' of another type; expected ClassLabel"),
        ({"labels": [["edema"]]}, {}, "a column 'labels' of another type; expected a list of ClassLabel"),
        ({"report": [5]}, {}, "a column 'report' of another type; expected string"),
        ({"report": ["a"]}, {"huggingface": "no JSON"}, "declares features that `datasets` does not know"),
        ({"report": ["a"]}, {"huggingface": '{"info": {"features": {"x": {"_type": "Nope"}}}}'}, "does not know"),
    ],
)
def test_columns_that_are_not_the_schemas_are_named(tmp_path, columns, metadata, message):
    (tmp_path / "data").mkdir()
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=f"train-00000-of-00001.parquet .*{message}"):
        describe_dataset(tmp_path)


def test_columns_that_are_missing_or_empty_say_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    table = pa.table({"report": pa.array(["a", None], pa.large_string()), "view": pa.nulls(2)})
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    train = describe_dataset(tmp_path)["train"]
    assert (train.num_rows, train.origins, train.views, train.report_words) == (2, {None: 2}, {}, [1])
