"""Figures: the same bytes twice, with origin and warning in the picture."""

import numpy as np
import pytest
from datasets import load_dataset
from evaluation.known_encoders import PerfectEncoder, RandomEncoder, make_dataset, make_rows
from PIL import Image
from transformers import AutoModel, AutoProcessor

from synthcxr.evaluation import plot_examples, plot_roc, zero_shot_scores
from synthcxr.evaluation.classification import ClassificationProtocol
from synthcxr.evaluation.figures import _most_specific, _varied_rows, similarity_maps


PROTOCOL = ClassificationProtocol(num_bootstrap=20)


@pytest.fixture(scope="module")
def model(checkpoint):
    return AutoModel.from_pretrained(checkpoint).eval()


@pytest.fixture(scope="module")
def processor(checkpoint):
    return AutoProcessor.from_pretrained(checkpoint)


def words(figure):
    return " ".join(text.get_text() for text in figure.texts)


def test_a_roc_figure_is_written_whole_and_the_same_twice(dataset, tmp_path):
    scores = zero_shot_scores(RandomEncoder(), dataset)
    figure = plot_roc(scores, dataset, tmp_path / "a.png", protocol=PROTOCOL)
    plot_roc(scores, dataset, tmp_path / "b.png", protocol=PROTOCOL)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert Image.open(tmp_path / "a.png").size[0] == 1350
    assert "simulated images; strata: none" in words(figure)
    assert "Not for clinical use" in words(figure)


def test_a_roc_figure_of_real_images_is_within_view(tmp_path):
    dataset = make_dataset(make_rows(origin="real"))
    figure = plot_roc(
        zero_shot_scores(PerfectEncoder(dataset), dataset), dataset, tmp_path / "roc.png", protocol=PROTOCOL
    )
    assert "real images; strata: view" in words(figure)
    left, right = figure.axes
    assert "AUROC 1.00" in left.get_legend().get_texts()[0].get_text()
    assert len(right.get_yticklabels()) == 4


def test_without_enough_labels_there_is_no_roc_figure(dataset, tmp_path):
    with pytest.raises(ValueError, match="enough positives and negatives"):
        plot_roc(zero_shot_scores(RandomEncoder(), dataset), dataset.select(range(4)), tmp_path / "roc.png")
    assert not list(tmp_path.iterdir())


def test_examples_show_image_map_and_report(model, processor, dataset_folder, tmp_path):
    rows = load_dataset(str(dataset_folder), split="train")
    figure = plot_examples(model, processor, rows, tmp_path / "a.png", rows=[0, 1])
    plot_examples(model, processor, rows, tmp_path / "b.png", rows=[0, 1])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(figure.axes) == 6
    assert "pleural effusion" in figure.axes[1].get_title(loc="left")
    assert "left pleural effusion" in figure.axes[2].texts[0].get_text()
    assert len(figure.axes[0].patches) == 1, "the box of the finding"
    assert "simulated images" in words(figure)
    assert "Not for clinical use" in words(figure)


def test_maps_cover_what_the_model_sees_and_differ_by_phrase(model, processor):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 80), dtype=np.uint8))
    model.train()
    pixels, maps = similarity_maps(model, processor, [image, image], ["pleural effusion", "the lungs are clear"])
    assert model.training
    assert pixels.shape == maps.shape == (2, 64, 64)
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert np.abs(maps).max() <= 1
    assert not np.allclose(maps[0], maps[1])


def test_rows_and_phrases_must_match(model, processor, dataset_folder, tmp_path):
    rows = load_dataset(str(dataset_folder), split="train")
    with pytest.raises(ValueError, match="1 rows and 2 phrases"):
        plot_examples(model, processor, rows, tmp_path / "x.png", rows=[0], phrases=["a", "b"])


def test_the_most_telling_finding_is_shown():
    assert _most_specific(["lung_opacity", "cardiomegaly", "consolidation"]) == "consolidation"
    assert _most_specific([]) == "no_finding"
    labels = [["no_finding"], ["cardiomegaly"], ["pneumothorax"], ["pneumothorax"], ["lung_opacity", "edema"]]
    assert _varied_rows(labels, 3) == [2, 1, 4]
    assert _varied_rows(labels, 9) == [2, 1, 4, 0]
