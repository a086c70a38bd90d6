"""Cost of a simulated study, by stage: `python tests/benchmarks/test_simulation_speed.py` prints the table."""

import sys
import time

import numpy as np
import pytest

from synthcxr.simulation import sample_cohort, simulate
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.lookalikes import add_lookalikes
from synthcxr.simulation.processing import develop, expose, measure_window, sample_exposure, sample_rendition
from synthcxr.simulation.projection import build_scene
from synthcxr.simulation.simulate import add_findings, deformed_geometry
from synthcxr.simulation.streams import stream


REGIONS = ("left_lung", "right_lung", "heart")
TARGETS = {128: 100, 224: 40}  # images/s on one idle core
REFERENCE_SECONDS = 0.055  # `_reference` on the idle core that the targets are meant for


def _reference() -> float:
    """CPU seconds of a fixed piece of Python: how much slower than an idle core this one is at the moment."""
    start = time.thread_time()
    total = 0
    for number in range(1_000_000):
        total += number
    return time.thread_time() - start


def _measure(image_size: int, studies: list) -> dict[str, float]:
    """Mean CPU milliseconds of each stage, and of the whole, after compilation."""
    for spec in studies:
        simulate(spec, image_size=image_size, regions=REGIONS)
    spent = dict.fromkeys(("geometry", "project", "look-alikes", "findings", "window", "expose", "develop"), 0.0)
    for spec in studies:
        _stages(spec, image_size, spent)
    start = time.thread_time()
    for spec in studies:
        simulate(spec, image_size=image_size, regions=REGIONS)
    spent["whole, with masks"] = time.thread_time() - start
    return {name: 1000 * seconds / len(studies) for name, seconds in spent.items()}


def _stages(spec, image_size: int, spent: dict[str, float]) -> None:
    def clock(name, work, *args, **kwargs):
        start = time.thread_time()
        result = work(*args, **kwargs)
        spent[name] += time.thread_time() - start
        return result

    clock("geometry", sample_geometry, spec)
    geometry = deformed_geometry(spec)
    scene = clock("project", build_scene, spec, geometry, image_size=image_size)
    clock("look-alikes", add_lookalikes, scene, seed=spec.seed)
    healthy = scene.attenuation.copy()
    clock("findings", add_findings, scene)
    exposure = sample_exposure(spec.acquisition, stream(spec.seed, "exposure"))
    rendition = sample_rendition(spec.acquisition, stream(spec.seed, "rendition"))
    pixel, lungs = scene.pixel_cm, scene.lung_mask["left"] | scene.lung_mask["right"]
    window = clock("window", measure_window, healthy, lungs, exposure, rendition, pixel_cm=pixel)
    density = clock("expose", expose, scene.attenuation, exposure, stream(spec.seed, "noise"), pixel_cm=pixel)
    clock("develop", develop, density, rendition, window, pixel_cm=pixel)


@pytest.mark.parametrize("image_size", sorted(TARGETS))
def test_simulation_keeps_its_speed(image_size):
    studies = sample_cohort(24, preset="balanced", seed=1)
    best, slowdown = np.inf, 1.0
    for _ in range(3):
        load = max(_reference() / REFERENCE_SECONDS, 1.0)
        whole = _measure(image_size, studies)["whole, with masks"]
        if whole / load < best / slowdown:
            best, slowdown = whole, load
    # Twice the target: neighbours on the machine slow memory far more than the reference, which lives in registers.
    assert best / slowdown < 2 * 1000 / TARGETS[image_size]


def main() -> None:
    studies = sample_cohort(60, preset="balanced", seed=1)
    slowdown = max(_reference() / REFERENCE_SECONDS, 1.0)
    sys.stdout.write(f"this core runs Python {slowdown:.2f} times slower than an idle one\n")
    for image_size in TARGETS:
        spent = _measure(image_size, studies)
        sys.stdout.write(f"{image_size} px: {1000 / spent['whole, with masks']:.0f} images/s\n")
        for name, milliseconds in spent.items():
            sys.stdout.write(f"  {name:20s}{milliseconds:8.2f} ms\n")


if __name__ == "__main__":
    main()
