"""Random streams by name."""

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from synthcxr.simulation.streams import derive_seed, stream


def test_the_same_path_gives_the_same_numbers_in_another_process():
    code = "from synthcxr.simulation.streams import stream; print(stream(5, 'anatomy', 'ribs').integers(2**62))"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(other) == stream(5, "anatomy", "ribs").integers(2**62)


@pytest.mark.parametrize("path", [(5,), (5, "b"), (6, "a"), (5, "a", "b"), (5, "ab"), (-5, "a"), (5, "a", "")])
def test_another_path_is_another_stream(path):
    assert not np.isclose(stream(5, "a").random(8), stream(*path).random(8)).any()


def test_streams_of_neighbouring_seeds_are_independent():
    draws = np.array([stream(seed, "noise").standard_normal(64) for seed in range(400)])
    neighbours = (draws[1:] * draws[:-1]).mean()
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02
    assert abs(neighbours) < 0.02


def test_numpy_integers_seed_like_python_ones():
    assert stream(np.int64(9), "a").random() == stream(9, "a").random()
    assert derive_seed(np.int64(9), "a") == derive_seed(9, "a")


def test_derived_seeds_fit_int64_and_differ():
    seeds = {derive_seed(0, "study", str(index)) for index in range(10_000)}
    assert len(seeds) == 10_000
    assert all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in seeds)


def test_a_generator_can_be_sent_to_a_worker_midway():
    generator = stream(3, "a")
    generator.random(5)
    copy = pickle.loads(pickle.dumps(generator))
    assert copy.random() == generator.random()


def test_opening_a_stream_is_cheap():
    started = time.process_time()
    for index in range(2_000):
        stream(index, "anatomy", "ribs")
    assert (time.process_time() - started) / 2_000 < 50e-6
