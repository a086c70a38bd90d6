import pytest

from synthcxr.data import prepare_source


def test_an_unknown_source_names_the_closest(tmp_path):
    with pytest.raises(
        ValueError, match=r"name is 'nih_chest_xray14'; expected one of .* \(closest: nih_chestxray14\)"
    ):
        prepare_source("nih_chest_xray14", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
