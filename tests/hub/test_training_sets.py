"""What a checkpoint was trained on is looked for, counted, and never guessed."""

import shutil

from tiny_artefacts import build_tiny_dataset

from synthcxr.hub.training_sets import find_training_sets


def record(*names):
    return {"request": {"dataset": list(names)}}


def test_rows_of_a_folder_are_counted_by_origin(dataset_folder, tmp_path):
    found = find_training_sets(record(str(dataset_folder)), tmp_path)
    assert (found.origins, found.only_simulated, found.hub_ids) == (["simulated"], True, [])


def test_one_set_that_is_gone_leaves_the_whole_unknown(dataset_folder, tmp_path):
    found = find_training_sets(record(str(dataset_folder), "org/pairs"), tmp_path)
    assert (found.hub_ids, found.is_complete, found.only_simulated) == (["org/pairs"], False, False)


def test_nothing_known_is_not_simulated(tmp_path):
    found = find_training_sets({}, tmp_path)
    assert (found.origins, found.only_simulated) == ([], False)


def test_synthetic_and_real_rows_are_not_simulated(synthetic_folder, tmp_path):
    real = build_tiny_dataset(tmp_path / "real", origin="real")
    for folder, origin in ((synthetic_folder, "synthetic"), (real, "real")):
        found = find_training_sets({}, tmp_path, [folder])
        assert (found.origins, found.is_complete, found.only_simulated) == ([origin], True, False)


def test_a_relative_folder_is_found_from_the_checkpoint(dataset_folder, tmp_path, monkeypatch):
    shutil.copytree(dataset_folder, tmp_path / "runs" / "pairs")
    monkeypatch.chdir("/")
    found = find_training_sets(record("runs/pairs"), tmp_path / "runs" / "generator")
    assert (found.only_simulated, found.hub_ids) == (True, [])


def test_how_a_training_set_was_built_is_told(synthetic_folder, tmp_path):
    (composition,) = find_training_sets({}, tmp_path, [synthetic_folder]).compositions
    assert ("kind", "synthetic pairs") in composition["built"]
