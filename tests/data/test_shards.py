import hashlib
import json
import weakref

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Features

from synthcxr.data import PAIR_FEATURES, Pair
from synthcxr.data.shards import BadRow, ShardRecord, record_data, write_shard


PATH = "data/train-00000-of-00001.parquet"


def pair(index, size=16):
    image = np.random.default_rng(index).integers(0, 256, (size, size), dtype=np.uint8)
    return Pair(id=f"row-{index}", image=image, report="Text.", origin="simulated", source="a-test@1")


def row_groups(folder):
    metadata = pq.read_metadata(folder / PATH)
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


def test_the_record_describes_the_file(tmp_path):
    counted = []
    rows = [pair(0), BadRow("row-1", "no file"), pair(2)]
    record = write_shard(tmp_path, PATH, "train", rows, on_row=lambda: counted.append(1))
    data = (tmp_path / PATH).read_bytes()
    assert (record.num_rows, record.num_bytes, len(counted)) == (2, len(data), 3)
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert record.bad_rows == (BadRow("row-1", "no file"),)
    assert record.matches(tmp_path)
    assert ShardRecord.from_dict(json.loads(json.dumps(record_data(record)))) == record
    assert Features.from_arrow_schema(pq.read_schema(tmp_path / PATH)) == PAIR_FEATURES


def test_small_rows_are_grouped_by_number_and_large_ones_by_bytes(tmp_path):
    write_shard(tmp_path, PATH, "train", (pair(index) for index in range(600)))
    assert row_groups(tmp_path) == [256, 256, 88]
    write_shard(tmp_path, PATH, "train", (pair(index, size=1024) for index in range(10)))
    assert row_groups(tmp_path) == [8, 2]


def test_rows_are_let_go_as_they_are_written(tmp_path):
    images = []

    def rows():
        for index in range(50):
            row = pair(index)
            images.append(weakref.ref(row.image))
            assert sum(image() is not None for image in images) <= 2
            yield row

    write_shard(tmp_path, PATH, "train", rows())


def test_nothing_is_left_of_a_shard_that_fails(tmp_path):
    def rows():
        yield pair(0)
        raise ValueError("a bad spec")

    with pytest.raises(ValueError, match="a bad spec"):
        write_shard(tmp_path, PATH, "train", rows())
    assert list((tmp_path / "data").iterdir()) == []
