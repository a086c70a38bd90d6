import json

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, IterableDataset

from synthcxr.data import PAIR_FEATURES, load_pairs


@pytest.fixture
def copy(folder, tmp_path):
    """A function that stores the training rows, changed, as a folder of their own."""

    def write(change):
        (tmp_path / "data").mkdir()
        table = pq.read_table(folder / "data" / "train-00000-of-00002.parquet")
        pairs = change(Dataset(table, split="train").cast(PAIR_FEATURES))
        pairs.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
        return tmp_path

    return write


def test_a_folder_is_loaded_whole_or_as_a_stream(folder):
    pairs, stream = load_pairs(folder, "train"), load_pairs(str(folder), "train", streaming=True)
    assert isinstance(pairs, Dataset)
    assert isinstance(stream, IterableDataset)
    assert pairs.features == stream.features == PAIR_FEATURES
    assert [row["id"] for row in stream] == pairs["id"][:]


def test_a_missing_column_is_named(copy):
    path = copy(lambda pairs: pairs.remove_columns("report"))
    for streaming in (False, True):
        with pytest.raises(ValueError, match=r"\(train\) has no column 'report'"):
            load_pairs(path, streaming=streaming)
    assert load_pairs(path, columns=("id", "image")).num_rows > 0


def test_labels_of_another_ontology_are_not_mixed_up(copy):
    def reorder(pairs):
        names = PAIR_FEATURES["labels"].feature.names
        features = pairs.features.copy()
        features["labels"] = type(features["labels"])(type(features["origin"])(names=names[::-1]))
        return Dataset(pairs.data, info=None).cast(features)

    with pytest.raises(ValueError, match="'labels' of other classes"):
        load_pairs(copy(reorder))


def test_a_missing_split_is_named_or_none(folder, copy):
    path = copy(lambda pairs: pairs)
    with pytest.raises(ValueError, match="has no split 'test'"):
        load_pairs(path, "test")
    assert load_pairs(path, "test", optional=True) is None
    assert load_pairs(folder, "test", optional=True) is not None
    with pytest.raises(ValueError, match="has no split 'dev'"):
        load_pairs(folder, "dev")


def test_an_unfinished_folder_is_refused(copy):
    path = copy(lambda pairs: pairs)
    (path / "manifest.json").write_text(json.dumps({"format": 1, "complete": False, "request": {}, "shards": []}))
    with pytest.raises(ValueError, match="is not finished"):
        load_pairs(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        load_pairs(path)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match=f"{name} is no folder"):
        load_pairs(name)


def test_an_empty_folder_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(ValueError, match="neither a folder with data"):
        load_pairs(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 junk")
    with pytest.raises(ValueError, match="cannot be loaded") as refusal:
        load_pairs(tmp_path)
    assert "\n" not in str(refusal.value)


def test_an_id_that_the_hub_does_not_give_is_named():
    with pytest.raises(ValueError, match="nobody/nothing cannot be loaded: Couldn't reach"):
        load_pairs("nobody/nothing")
