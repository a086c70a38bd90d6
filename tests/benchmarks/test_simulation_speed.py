"""Cost of a simulated study, by stage: `python tests/benchmarks/test_simulation_speed.py` prints the table."""

import sys
import time

import pytest

from synthcxr.simulation import sample_cohort, simulate
from synthcxr.simulation.anatomy import sample_geometry
from synthcxr.simulation.artefacts import add_collimation, add_markers
from synthcxr.simulation.lookalikes import add_lookalikes
from synthcxr.simulation.processing import develop, expose, measure_window, sample_exposure, sample_rendition
from synthcxr.simulation.projection import build_scene
from synthcxr.simulation.region_masks import region_mask
from synthcxr.simulation.resampling import turn_image, turn_mask, turned
from synthcxr.simulation.simulate import add_findings, deformed_geometry
from synthcxr.simulation.streams import stream


REGIONS = ("left_lung", "right_lung", "heart")
TARGETS = {64: 150, 128: 100, 224: 40}  # images/s on one idle core
REFERENCE_SECONDS = 0.055  # `_reference` on the idle core that the targets are meant for
PASSES = 5  # neighbours on the machine come and go: of every study the fastest pass counts


def _reference() -> float:
    """CPU seconds of a fixed piece of Python: how much slower than an idle core this one is at the moment."""
    start = time.thread_time()
    total = 0
    for number in range(1_000_000):
        total += number
    return time.thread_time() - start


def _fastest(image_size: int, studies: list, *, by_stage: bool) -> dict[str, float]:
    """Mean CPU milliseconds of a study with its masks, and of its stages, after compilation."""
    for spec in studies:
        simulate(spec, image_size=image_size, regions=REGIONS)
    fastest: dict[tuple[str, int], float] = {}
    for _ in range(PASSES):
        for number, spec in enumerate(studies):
            spent = _time_stages(spec, image_size) if by_stage else {}
            start = time.thread_time()
            simulate(spec, image_size=image_size, regions=REGIONS)
            spent["whole"] = time.thread_time() - start
            for name, seconds in spent.items():
                fastest[name, number] = min(fastest.get((name, number), float("inf")), seconds)
    mean: dict[str, float] = {}
    for (name, _), seconds in fastest.items():
        mean[name] = mean.get(name, 0.0) + 1000 * seconds / len(studies)
    return mean


def _time_stages(spec, image_size: int) -> dict[str, float]:
    spent: dict[str, float] = {}

    def clock(name, work, *args, **kwargs):
        start = time.thread_time()
        result = work(*args, **kwargs)
        spent[name] = spent.get(name, 0.0) + time.thread_time() - start
        return result

    clock("patient", sample_geometry, spec)
    geometry = deformed_geometry(spec)
    scene = clock("anatomy", build_scene, spec, geometry, image_size=image_size)
    clock("look-alikes", add_lookalikes, scene, seed=spec.seed)
    healthy = scene.attenuation.copy()
    masks = clock("findings", add_findings, scene)
    exposure = sample_exposure(spec.acquisition, stream(spec.seed, "exposure"))
    rendition = sample_rendition(spec.acquisition, stream(spec.seed, "rendition"))
    pixel, lungs = scene.pixel_cm, scene.lung_mask["left"] | scene.lung_mask["right"]
    window = clock("window", measure_window, healthy, lungs, exposure, rendition, pixel_cm=pixel)
    clock("turn", turn_image, scene.attenuation, geometry.tilt, healthy)
    density = clock("expose", expose, healthy, exposure, stream(spec.seed, "noise"), pixel_cm=pixel)
    grey = clock("develop", develop, density, rendition, window, pixel_cm=pixel)
    clock("artefacts", add_collimation, grey, stream(spec.seed, "artefacts"))
    clock("artefacts", add_markers, grey, spec.acquisition, stream(spec.seed, "artefacts"))
    index = clock("masks", turn_mask, image_size, geometry.tilt)
    for region in REGIONS:
        mask = clock("masks", region_mask, scene, region)
        clock("masks", turned, mask, index)
    for _, mask in masks:
        clock("masks", turned, mask, index)
    return spent


@pytest.mark.parametrize("image_size", sorted(TARGETS))
def test_simulation_keeps_its_speed(image_size):
    studies = sample_cohort(24, preset="balanced", seed=1)
    shares = []
    for _ in range(3):
        load = max(_reference() / REFERENCE_SECONDS, 1.0)
        whole = _fastest(image_size, studies, by_stage=False)["whole"]
        shares.append(whole / load * TARGETS[image_size] / 1000)
    # A neighbour on the same core slows memory more than the reference, which lives in registers: hence the margin.
    assert min(shares) < 1.3


def main() -> None:
    studies = sample_cohort(60, preset="balanced", seed=1)
    slowdown = max(_reference() / REFERENCE_SECONDS, 1.0)
    sys.stdout.write(f"this core runs Python {slowdown:.2f} times slower than an idle one\n")
    for image_size, target in TARGETS.items():
        spent = _fastest(image_size, studies, by_stage=True)
        whole = spent.pop("whole")
        sys.stdout.write(f"{image_size} px: {1000 / whole:.0f} images/s (target {target})\n")
        for name, milliseconds in {**spent, "rest": whole - sum(spent.values()), "whole, with masks": whole}.items():
            sys.stdout.write(f"  {name:20s}{milliseconds:8.2f} ms\n")


if __name__ == "__main__":
    main()
