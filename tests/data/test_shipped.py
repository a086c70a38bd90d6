from pathlib import Path

import numpy as np
from transformers import AutoImageProcessor, AutoModelForImageClassification

import synthcxr  # noqa: F401
from synthcxr.data import shipped_checkpoint
from synthcxr.data.shipped import CLASSIFIER, GENERATOR, shipped_names


def test_other_names_stay_as_they_are():
    assert shipped_checkpoint("your-name/roentgen") == "your-name/roentgen"
    assert shipped_checkpoint(Path("runs") / "generator") == "runs/generator"


def test_a_shipped_name_is_a_folder_with_weights_and_a_card():
    assert CLASSIFIER in shipped_names()
    assert set(shipped_names()) <= {GENERATOR, CLASSIFIER}
    for name in shipped_names():
        folder = Path(shipped_checkpoint(name))
        assert list(folder.rglob("*.safetensors"))
        assert "Not for clinical use" in (folder / "README.md").read_text()


def test_the_shipped_classifier_loads_and_reads_an_image():
    model = AutoModelForImageClassification.from_pretrained(shipped_checkpoint(CLASSIFIER))
    processor = AutoImageProcessor.from_pretrained(shipped_checkpoint(CLASSIFIER))
    inputs = processor(images=[np.zeros((64, 64), np.uint8)], return_tensors="pt")
    assert model(**inputs).logits.shape == (1, len(model.config.id2label))


def test_all_shipped_weights_are_safetensors_of_less_than_40_megabytes():
    folder = Path(shipped_checkpoint(CLASSIFIER)).parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
