"""Specs by hand: every finding with every place, severity, size and change that the ontology knows."""

import random
from collections.abc import Callable

import pytest

from synthcxr.ontology import (
    FINDINGS,
    Acquisition,
    FindingInstance,
    Patient,
    StudySpec,
    region_on,
)


PLACEABLE = tuple(finding for finding in FINDINGS if finding != "no_finding")
DEFECTS = (None,) * 8 + ("lateral_view", "not_a_chest", "blurred", "underexposed", "overexposed", "cropped")


def draw_instance(rng: random.Random, finding: str) -> FindingInstance:
    entry = FINDINGS[finding]
    side = None
    if entry.sided:
        side = rng.choice(("left", "right", "bilateral") if entry.bilateral else ("left", "right"))
    region = None
    if entry.regions and rng.random() < 0.7:
        structure = rng.choice(entry.regions)
        region = f"{side}_rib_{rng.randint(1, 10)}" if structure == "rib" else region_on(side, structure)
    return FindingInstance(
        finding,
        side,
        region,
        severity=rng.choice(entry.severities) if entry.severities and rng.random() < 0.8 else None,
        size_cm=round(rng.uniform(*entry.size_cm), 1) if entry.size_cm and rng.random() < 0.8 else None,
        certainty="uncertain" if rng.random() < 0.15 else "certain",
        change=rng.choice((None, None, None, "new", "better", "same", "worse")),
        position=rng.choice(entry.positions) if entry.positions else None,
        seed=rng.randrange(2**31),
    )


def draw_spec(seed: int, *, distorted: bool = False, prior: bool = True) -> StudySpec:
    """A spec with none to six findings, two of the same kind now and then."""
    rng = random.Random(seed)
    chosen = [rng.choice(PLACEABLE) for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 2, 3, 4, 6)))]
    if chosen and rng.random() < 0.3:
        chosen.append(chosen[0])
    instances = tuple(draw_instance(rng, finding) for finding in chosen)
    present = [item.finding for item in instances]
    return StudySpec(
        f"study-{seed}",
        Patient("patient", rng.choice(("female", "male")), rng.choice((0.5, 4, 30, 60, 85)), 25, seed=1),
        Acquisition(
            rng.choice(("PA", "AP", "LATERAL")),
            supine=rng.random() < 0.3,
            inspiration=rng.uniform(0.2, 1),
            rotation_degrees=rng.gauss(0, 5),
            defect=rng.choice(DEFECTS),
        ),
        instances,
        seed=seed,
        prior=draw_spec(seed + 1, prior=False) if prior and rng.random() < 0.3 else None,
        report_omits=tuple(rng.sample(PLACEABLE, 1) + present[:1]) if distorted and rng.random() < 0.5 else (),
        report_contradicts=tuple(present[-1:]) if distorted and rng.random() < 0.5 else (),
    )


@pytest.fixture(scope="session")
def draw() -> Callable[..., StudySpec]:
    """Draws a random spec from a seed."""
    return draw_spec
