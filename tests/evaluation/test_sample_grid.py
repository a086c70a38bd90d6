"""The picture of generated images beside their studies."""

import numpy as np
from evaluation.generated_pairs import as_generated
from PIL import Image

from synthcxr.data.pairs import load_pairs
from synthcxr.evaluation.sample_grid import plot_generated


def test_each_report_has_its_study_and_its_generated_images(pairs_folder, tmp_path):
    reference = load_pairs(pairs_folder, "test")
    generated = as_generated(pairs_folder, "test", times=2)
    figure = plot_generated(generated, reference, tmp_path / "grid.png", num_examples=3)
    axes = np.array(figure.axes).reshape(3, 4)
    for row in axes:
        shown = [axis.images[0].get_array() for axis in row[:3]]
        assert all(np.array_equal(shown[0], image) for image in shown[1:]), "these were drawn exactly"
        assert (
            row[3].texts[0].get_text().startswith(("FINDINGS", "INDICATION", "EXAMINATION", "TECHNIQUE", "IMPRESSION"))
        )
    words = [text.get_text() for text in figure.texts]
    assert any(text.startswith("synthetic images") for text in words)
    assert "Not for clinical use" in words
    assert Image.open(tmp_path / "grid.png").width > 500
    first = (tmp_path / "grid.png").read_bytes()
    plot_generated(generated, reference, tmp_path / "grid.png", num_examples=3)
    assert (tmp_path / "grid.png").read_bytes() == first


def test_without_studies_in_common_nothing_is_drawn(pairs_folder, tmp_path):
    generated = as_generated(pairs_folder, "test")
    assert plot_generated(generated, load_pairs(pairs_folder), tmp_path / "grid.png") is None
    assert not list(tmp_path.iterdir())
