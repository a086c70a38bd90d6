from pathlib import Path

import pytest

from synthcxr.data import shipped_checkpoint
from synthcxr.data.shipped import CLASSIFIER, GENERATOR, shipped_names


def test_other_names_stay_as_they_are():
    assert shipped_checkpoint("your-name/roentgen") == "your-name/roentgen"
    assert shipped_checkpoint(Path("runs") / "generator") == "runs/generator"


@pytest.mark.parametrize("name", [GENERATOR, CLASSIFIER])
def test_a_shipped_name_is_a_folder(name):
    assert name in shipped_names()
    assert Path(shipped_checkpoint(name)).is_dir()


def test_all_shipped_weights_are_safetensors_of_less_than_40_megabytes():
    folder = Path(shipped_checkpoint(GENERATOR)).parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
