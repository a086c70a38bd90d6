from dataclasses import replace

import numpy as np

from synthcxr.simulation.scene import Geometry
from synthcxr.simulation.streams import stream
from synthcxr.simulation.vessels import grow_tree, hilum, project_vessels


def test_a_tree_reaches_every_leaf_and_never_widens():
    rng = np.random.default_rng(0)
    leaves = rng.random((60, 3)) * [10, 20, 6]
    points, radii, breaks = grow_tree(
        np.array([0.0, 8.0, 0.0]), leaves.copy(), rng.standard_normal((120, 4)), 0.05, 0.4
    )
    first = np.flatnonzero(breaks)
    last = np.append(first[1:], len(points)) - 1
    starts, ends = points[first], points[last]
    assert len(starts) == 2 * 60 - 1
    for leaf in leaves:
        assert np.abs(ends - leaf).sum(axis=1).min() < 1e-9
    for start, radius in zip(starts[1:], radii[first][1:], strict=True):
        parent = np.abs(ends - start).sum(axis=1).argmin()
        assert np.abs(ends[parent] - start).max() < 1e-9
        assert radius <= radii[first][parent]


def test_branching_does_not_depend_on_the_shape_of_the_patient():
    x, y = np.linspace(-18, 18, 96), np.linspace(-4, 32, 96)
    one, other = Geometry(), replace(Geometry(), right_dome_cm=0.05)
    maps = [project_vessels(geometry, stream(1, "vessels"), x, y) for geometry in (one, other)]
    assert np.corrcoef(maps[0]["right"].ravel(), maps[1]["right"].ravel())[0, 1] > 0.98
    assert (maps[0]["left"] == maps[1]["left"]).all()


def test_vessels_are_thickest_at_the_hilum():
    x, y = np.linspace(-18, 18, 128), np.linspace(-4, 32, 128)
    geometry = Geometry()
    for side, blood in project_vessels(geometry, stream(2, "vessels"), x, y).items():
        hx, hy = hilum(geometry, side)
        distance = np.hypot(x[None, :] - hx, y[:, None] - hy)
        assert blood[distance < 2].mean() > 4 * blood[(distance > 5) & (distance < 9)].mean()
