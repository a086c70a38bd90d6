from collections import Counter
from itertools import islice

import numpy as np
import pytest
from datasets import load_dataset

from synthcxr.data import MixedSampler, StreamedPairs
from synthcxr.data.mixing import mix_of


def origins(indices, sizes):
    """Which dataset an index of all lies in."""
    borders = np.cumsum(sizes)
    return [int(np.searchsorted(borders, index % borders[-1], side="right")) for index in indices]


@pytest.mark.parametrize("weights", [[1, 1, 2], [0.5, 0.0, 0.5], [5, 1, 1]])
def test_every_batch_has_the_mix(weights):
    sizes = [100, 30, 70]
    order = origins(MixedSampler(sizes, weights), sizes)
    assert len(order) == sum(sizes)
    for start in range(0, 200, 40):
        counts = Counter(order[start : start + 40])
        for dataset, weight in enumerate(weights):
            assert counts[dataset] == pytest.approx(40 * weight / sum(weights), abs=1.01)


def test_a_small_dataset_is_read_again_and_a_large_one_goes_on():
    sizes, sampler = [100, 10], MixedSampler([100, 10], [1, 1])
    seen = Counter()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        seen.update(sampler)
    large = Counter(index % 110 for index in seen.elements() if index % 110 < 100)
    assert set(large) == set(range(100))
    assert set(large.values()) == {2, 3}  # 220 draws of 100 rows: none is left behind
    small = [index for index in seen if origins([index], sizes) == [1]]
    assert {index % 110 for index in small} == set(range(100, 110))
    assert max(seen.values()) == 1  # an index holds its draw: no row is augmented twice alike
    assert {index // 110 for index in small} == set(range(22))


def test_the_order_follows_from_seed_and_epoch_alone():
    first, second = MixedSampler([40, 9], [1, 1], seed=1), MixedSampler([40, 9], [1, 1], seed=1)
    list(first)  # reading one epoch does not change the next
    for sampler in (first, second):
        sampler.set_epoch(3)
    assert list(first) == list(second)
    assert list(first) != list(MixedSampler([40, 9], [1, 1], seed=2))


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        ([3, 4], [1], "1 weights for 2 datasets"),
        ([3, 4], [1, -1], "expected numbers of 0 or more"),
        ([3, 4], [0, 0], "not all 0"),
        ([3, 0], [1, 1], "an empty one has no share"),
        ([3, 4], [1, float("nan")], "expected numbers of 0 or more"),
    ],
)
def test_weights_that_make_no_mix_are_refused(sizes, weights, message):
    with pytest.raises(ValueError, match=message):
        MixedSampler(sizes, weights)


def test_without_weights_the_share_is_the_size():
    assert mix_of({"a": 30, "b": 10}, None) == {
        "a": {"num_pairs": 30, "share": 0.75},
        "b": {"num_pairs": 10, "share": 0.25},
    }


@pytest.fixture
def streams(pairs_folder):
    def make():
        pairs = load_dataset(str(pairs_folder), split="train", streaming=True)
        return [pairs.take(12), pairs.skip(12).take(5)]

    return make


def test_streams_are_mixed_by_weight_and_begin_anew(streams):
    rows = list(islice(StreamedPairs(streams(), [1, 1], buffer_size=4), 24))
    second = {row["id"] for row in streams()[1]}
    assert [row["id"] in second for row in rows] == [False, True] * 12
    assert sorted(row["draw"] for row in rows if row["id"] in second) == [0] * 5 + [1] * 5 + [2] * 2
    assert isinstance(rows[0]["image"]["bytes"], bytes)  # still encoded


def test_a_stream_gives_the_same_rows_again_and_others_for_another_seed(streams):
    def read(seed):
        return [(row["id"], row["draw"]) for row in islice(StreamedPairs(streams(), seed=seed), 30)]

    assert read(0) == read(0)
    assert read(0) != read(1)
    assert [row for row, _ in read(0)[:12]] != [row for row, _ in read(0)[12:24]]


def test_an_empty_stream_is_refused_instead_of_waited_for(streams):
    empty = streams()[0].filter(lambda row: False)
    with pytest.raises(ValueError, match="gives no row"):
        next(iter(StreamedPairs([empty])))
