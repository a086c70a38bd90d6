from pathlib import Path

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from synthcxr import CxrSynthesisPipeline
from synthcxr.data import shipped_checkpoint
from synthcxr.data.shipped import CLASSIFIER, GENERATOR, shipped_names
from synthcxr.evaluation.metrics import auroc


def test_other_names_stay_as_they_are():
    assert shipped_checkpoint("your-name/roentgen") == "your-name/roentgen"
    assert shipped_checkpoint(Path("runs") / "generator") == "runs/generator"


def test_a_shipped_name_is_a_folder_with_weights_and_a_card():
    assert set(shipped_names()) == {GENERATOR, CLASSIFIER}
    for name in shipped_names():
        folder = Path(shipped_checkpoint(name))
        assert list(folder.rglob("*.safetensors"))
        assert "Not for clinical use" in (folder / "README.md").read_text()


def test_the_shipped_classifier_loads_and_reads_an_image():
    model = AutoModelForImageClassification.from_pretrained(shipped_checkpoint(CLASSIFIER))
    processor = AutoImageProcessor.from_pretrained(shipped_checkpoint(CLASSIFIER))
    inputs = processor(images=[np.zeros((64, 64), np.uint8)], return_tensors="pt")
    assert model(**inputs).logits.shape == (1, len(model.config.id2label))


def test_the_shipped_generator_draws_what_is_asked_for_and_where():
    """As its classifier sees it; both have learnt from simulated pairs, so this says nothing of real ones."""
    pipeline = CxrSynthesisPipeline.from_pretrained(shipped_checkpoint(GENERATOR))
    classifier = AutoModelForImageClassification.from_pretrained(shipped_checkpoint(CLASSIFIER)).eval()
    processor = AutoImageProcessor.from_pretrained(shipped_checkpoint(CLASSIFIER))

    @torch.inference_mode()
    def scores(prompt):
        generators = [torch.Generator().manual_seed(seed) for seed in range(16)]
        images = pipeline([prompt] * 16, generator=generators).images
        logits = classifier(**processor(images=images, return_tensors="pt")).logits
        return {label: logits[:, index].numpy() for index, label in classifier.config.id2label.items()}

    left, right = (scores(f"Large {side} pleural effusion.") for side in ("left", "right"))
    none = scores("No acute cardiopulmonary process.")
    shown = np.concatenate([left["pleural_effusion"], right["pleural_effusion"], none["pleural_effusion"]])
    assert auroc(np.repeat([True, False], [32, 16]), shown) > 0.85
    sides = [item["left_pleural_effusion"] - item["right_pleural_effusion"] for item in (left, right)]
    assert auroc(np.repeat([True, False], 16), np.concatenate(sides)) > 0.7


def test_all_shipped_weights_are_safetensors_of_less_than_40_megabytes():
    folder = Path(shipped_checkpoint(CLASSIFIER)).parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
