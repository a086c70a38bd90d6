import numpy as np
import pytest

from synthcxr.simulation.strokes import branching_tree, smooth_curve, stroke_chord, wander


def grid(size):
    return (np.arange(size) + 0.5) * 20 / size


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("radius", [0.05, 0.4])
def test_a_stroke_keeps_its_volume_at_every_size(size, radius):
    line = np.array([[4.0, 3.0], [12.0, 16.0]])
    volume = stroke_chord(grid(size), grid(size), line, radius).sum() * (20 / size) ** 2
    length = np.hypot(8, 13)
    assert volume == pytest.approx(np.pi * radius**2 * length, rel=0.12)


def test_the_chord_through_a_thick_rod_is_its_diameter():
    rod = stroke_chord(grid(200), grid(200), np.array([[2.0, 10.0], [18.0, 10.0]]), 2.0)
    assert rod[:, 100].max() == pytest.approx(4.0, rel=0.01)
    assert rod[:, 100].min() == 0


def test_polylines_do_not_join():
    points = np.array([[2.0, 2.0], [18.0, 2.0], [2.0, 18.0], [18.0, 18.0]])
    apart = stroke_chord(grid(100), grid(100), points, 0.3, starts=np.array([0, 2]))
    assert not apart[30:70].any()
    assert stroke_chord(grid(100), grid(100), points, 0.3)[30:70].any()


def test_a_smooth_curve_passes_its_controls():
    controls = np.array([[0.0, 0.0], [3.0, 4.0], [5.0, 4.0], [9.0, 0.0]])
    curve = smooth_curve(controls)
    for control in controls:
        assert np.hypot(*(curve - control).T).min() < 1e-9
    steps = np.hypot(*np.diff(curve, axis=0).T)
    assert steps.max() < 0.7


def test_wandering_keeps_near_the_course():
    line = np.stack([np.zeros(50), np.linspace(0, 20, 50)], axis=1)
    bent = wander(line, np.random.default_rng(1), amplitude_cm=0.2)
    assert 0.02 < np.abs(bent[:, 0]).max() < 1.0


def test_a_tree_forks_and_thins():
    points, radii, starts = branching_tree((0, 0), 0.0, np.random.default_rng(2), radius_cm=0.5, length_cm=4.0)
    assert len(starts) == 1 + 2 + 4 + 8
    assert len(points) == len(radii) == 3 * len(starts)
    assert radii[-1] < 0.5 * radii[0]
