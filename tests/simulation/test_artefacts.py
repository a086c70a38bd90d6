import numpy as np

from synthcxr.ontology import Acquisition
from synthcxr.simulation.artefacts import add_collimation, add_markers, burn_text


def blank(size=128):
    return np.full((size, size), 0.5, np.float32)


def test_left_marker_is_on_the_right_of_the_image():
    brighter = np.zeros(2)
    for seed in range(40):
        grey = blank()
        add_markers(grey, Acquisition("PA"), np.random.default_rng(seed))
        changed = np.abs(grey - 0.5) > 0.2
        brighter += changed[:, :64].any(), changed[:, 64:].any()
    assert brighter[1] > brighter[0] > 0  # "L" is set more often than "R"


def test_shutters_blacken_borders_and_never_the_middle():
    touched = 0
    for seed in range(60):
        grey = blank()
        add_collimation(grey, np.random.default_rng(seed))
        assert (grey[24:-24, 24:-24] == 0.5).all()
        touched += bool((grey != 0.5).any())
    assert 10 < touched < 35


def test_burnt_text_covers_a_visible_share():
    grey = blank()
    burn_text(grey, np.random.default_rng(0))
    assert 0.005 < (grey != 0.5).mean() < 0.4
    assert grey.max() <= 1


def test_small_images_take_markers_too():
    for seed in range(20):
        grey = blank(64)
        add_markers(grey, Acquisition("AP"), np.random.default_rng(seed))
        assert grey.shape == (64, 64)
