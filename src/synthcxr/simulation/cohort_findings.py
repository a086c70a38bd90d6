"""Which findings a study shows, where each lies, and what becomes of it until the next study."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from ..ontology import FINDING_IDS, FINDINGS, Finding, FindingInstance, region_on
from .cohort_presets import Preset
from .streams import derive_seed


DISEASES = tuple(id for id, row in FINDINGS.items() if row.simulated and row.kind != "device")
DEVICES = tuple(id for id, row in FINDINGS.items() if row.simulated and row.kind == "device")

# How many findings a study of the balanced cohort has, from none on; a third of its studies have neither.
_DISEASE_COUNTS = (0.4, 0.07, 0.14, 0.18, 0.21)
_DEVICE_COUNTS = (0.82, 0.035, 0.065, 0.08)
# Exclusions and the age limit would make these rarer than the others; found by simulation.
_BALANCE = {
    "covid_19_pattern": 1.3,
    "pneumonia": 1.1,
    "tuberculosis": 1.1,
    "infiltration": 1.05,
    "edema": 1.05,
    "fibrosis": 1.05,
    "emphysema": 1.05,
    "aortic_enlargement": 1.05,
}
_DISEASE_STEPS = tuple(accumulate(_BALANCE.get(id, 1.0) for id in DISEASES))
_DEVICE_STEPS = tuple(accumulate(1.0 for _ in DEVICES))

_BILATERAL_SHARES = {"pleural_effusion": 0.3, "atelectasis": 0.3, "fibrosis": 0.4, "pleural_thickening": 0.35}
_BILATERAL_SHARE = 0.18
_RIGHT_SHARES = {"pacemaker": 0.2, "central_venous_catheter": 0.75}
_COUNTS = {"nodule": (0.7, 0.2, 0.1), "granuloma": (0.75, 0.2, 0.05), "fracture": (0.6, 0.25, 0.15)}
_PLACE_WEIGHTS = {
    1: (1.0,),
    2: (0.7, 0.3),
    3: (0.5, 0.25, 0.25),
    6: (0.26, 0.17, 0.17, 0.2, 0.13, 0.07),
}
_FIRST_RIB, _LAST_RIB = 3, 9
_SATISFACTORY_SHARE = 0.75
_HEDGED_FACTORS = {"subtle": 2.2, "mild": 1.0, "moderate": 0.5, "severe": 0.3, None: 1.0}
# In a hospital these share the side, and the place where they can, of what they come with (found first in this order).
_COMPANIONS = {
    "pneumonia": ("consolidation",),
    "infiltration": ("pneumonia", "consolidation"),
    "pleural_effusion": ("atelectasis", "pneumonia"),
    "fibrosis": ("granuloma",),
    "pleural_thickening": ("fibrosis",),
    "tuberculosis": ("cavity",),
    "subcutaneous_emphysema": ("pneumothorax", "fracture"),
    "chest_tube": ("pneumothorax", "pleural_effusion"),
}
_COMPANION_SHARE = 0.8

# Shares of better and worse in the next study; the rest is the same.
_ACUTE_COURSE = (0.35, 0.35)
_CHRONIC_COURSES = {
    "tuberculosis": (0.45, 0.2),
    "nodule": (0.05, 0.3),
    "mass": (0.1, 0.4),
    "cavity": (0.25, 0.25),
    "cardiomegaly": (0.08, 0.15),
    "fibrosis": (0.0, 0.2),
}
_KEPT_WHOLE_SHARE = 0.65
_ACUTE_KEPT_SHARE = 0.8
_NEW_EPISODE_SHARE = 0.35


def draw_findings(preset: Preset, acuity: int, *, child: bool, rng: np.random.Generator) -> list[str]:
    """
    Findings of one study, in ontology order, none of which excludes another.

    Args:
        preset (`Preset`): Cohort that the patient belongs to.
        acuity (`int`): 0, 1 or 2 for an outpatient, a ward patient or an intensive-care patient.
        child (`bool`): Whether findings of adults are left out.
        rng (`np.random.Generator`): Where the draws come from.
    """
    if not preset.conditions:
        chosen = _draw_equally(DISEASES, _DISEASE_STEPS, _DISEASE_COUNTS, child=child, rng=rng)
        return _in_order(chosen + _draw_equally(DEVICES, _DEVICE_STEPS, _DEVICE_COUNTS, child=child, rng=rng))
    chosen = []
    for condition in preset.conditions:
        if rng.random() < condition.shares[acuity] and not (child and condition.adult_only):
            chosen += [finding for finding, share in condition.findings if rng.random() < share]
    chosen += [finding for finding, share in preset.sporadic if rng.random() < share]
    return _compatible([], chosen, child=child)


def place_findings(
    findings: Iterable[str],
    present: Sequence[FindingInstance],
    preset: Preset,
    *,
    seed: int,
    rng: np.random.Generator,
) -> list[FindingInstance]:
    """
    Give each finding a side, region, severity, size and position.

    A finding that has no side left, since what excludes it there is on both, is dropped.

    Args:
        findings (`Iterable[str]`): Ontology ids, in ontology order.
        present (`Sequence[FindingInstance]`): Instances that the study has already.
        preset (`Preset`): Shares of severities and hedges; findings of one condition lie together in a hospital.
        seed (`int`): Seed of the study; instances get theirs from it.
        rng (`np.random.Generator`): Where the draws come from.
    """
    placed = list(present)
    for finding in findings:
        row = FINDINGS[finding]
        side = _draw_side(row, placed, together=bool(preset.conditions), rng=rng)
        if row.sided and side is None:
            continue
        count = 1 + draw_index(_COUNTS.get(finding, (1.0,)), rng)
        first_rib = _FIRST_RIB + int(rng.random() * (_LAST_RIB + 2 - count - _FIRST_RIB))
        for index in range(count):
            if index and finding != "fracture":
                side = "right" if rng.random() < 0.5 else "left"
            own_seed = derive_seed(seed, "finding", finding, str(index))
            rib = f"{side}_rib_{first_rib + index}" if finding == "fracture" else None
            placed.append(_draw_instance(row, side, rib, placed, preset, seed=own_seed, rng=rng))
    return placed[len(present) :]


def follow_up(
    prior: Sequence[FindingInstance],
    preset: Preset,
    acuity: int,
    *,
    child: bool,
    seed: int,
    rng: np.random.Generator,
) -> list[FindingInstance]:
    """
    Findings of the study after `prior`: the same lesions (by seed) better, same or worse, and new ones.

    In the balanced cohort either everything stays or everything that can pass is drawn anew, so that prevalences do
    not drift along a series. In a hospital findings heal and devices are taken out one by one.

    Args:
        prior (`Sequence[FindingInstance]`): Findings of the study before.
        preset (`Preset`): Cohort that the patient belongs to.
        acuity (`int`): 0, 1 or 2 for an outpatient, a ward patient or an intensive-care patient.
        child (`bool`): Whether findings of adults are left out.
        seed (`int`): Seed of the later study.
        rng (`np.random.Generator`): Where the draws come from.
    """
    if not preset.conditions:
        whole = rng.random() < _KEPT_WHOLE_SHARE
        drawn = [] if whole else draw_findings(preset, acuity, child=child, rng=rng)
        stay = [item for item in prior if whole or FINDINGS[item.finding].chronic or item.finding in drawn]
        drawn = _no_more_than_fit([finding for finding in drawn if not FINDINGS[finding].chronic], stay, rng)
    else:
        episode = rng.random() < _NEW_EPISODE_SHARE
        drawn = draw_findings(preset, acuity, child=child, rng=rng) if episode else []
        lasting = {item.finding for item in prior if FINDINGS[item.finding].chronic or item.finding in drawn}
        stay = [item for item in prior if item.finding in lasting or rng.random() < _ACUTE_KEPT_SHARE]
    kept = [_progress(item, rng) for item in stay]
    present = {item.finding for item in kept}
    fresh = _compatible(_in_order(present), (finding for finding in drawn if finding not in present), child=child)
    placed = place_findings(fresh, kept, preset, seed=seed, rng=rng)
    return kept + [replace(item, change="new") for item in placed]


def draw_index(weights: Sequence[float], rng: np.random.Generator) -> int:
    """Draw a number from 0 to `len(weights) - 1`, each as often as its weight says."""
    point = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    return len(weights) - 1


def _draw_equally(
    findings: tuple[str, ...],
    steps: tuple[float, ...],
    counts: tuple[float, ...],
    *,
    child: bool,
    rng: np.random.Generator,
) -> list[str]:
    chosen: list[str] = []
    for _ in range(draw_index(counts, rng)):
        finding = findings[bisect(steps, rng.random() * steps[-1])]
        while finding in chosen or not _compatible(chosen, [finding], child=child):
            finding = findings[bisect(steps, rng.random() * steps[-1])]
        chosen.append(finding)
    return chosen


def _compatible(present: Sequence[str], candidates: Iterable[str], *, child: bool) -> list[str]:
    """The candidates that can join what is present and each other, first come first served, in ontology order."""
    joined: list[str] = []
    for finding in candidates:
        row = FINDINGS[finding]
        if not (child and row.adult_only) and not any(other in row.excludes for other in (*present, *joined)):
            joined.append(finding)
    return _in_order(joined)


def _in_order(findings: Iterable[str]) -> list[str]:
    """Each finding once, in ontology order."""
    chosen = set(findings)
    return [finding for finding in FINDING_IDS if finding in chosen]


def _no_more_than_fit(drawn: list[str], stay: Sequence[FindingInstance], rng: np.random.Generator) -> list[str]:
    """Leave out any of the new diseases, so that with those that stay there are no more than a first study has."""
    staying = {item.finding for item in stay}
    fresh = [finding for finding in drawn if finding in DISEASES and finding not in staying]
    room = len(_DISEASE_COUNTS) - 1 - sum(finding in DISEASES for finding in staying)
    dropped = set(rng.permutation(fresh)[max(room, 0) :])
    return [finding for finding in drawn if finding not in dropped]


def _draw_instance(
    row: Finding,
    side: str | None,
    region: str | None,
    placed: Sequence[FindingInstance],
    preset: Preset,
    *,
    seed: int,
    rng: np.random.Generator,
) -> FindingInstance:
    severity = row.severities[draw_index(preset.severities[: len(row.severities)], rng)] if row.severities else None
    position = _draw_position(row, rng)
    hedged = preset.hedged_share * _HEDGED_FACTORS[severity] if row.kind != "device" else 0.0
    together = bool(preset.conditions)
    return FindingInstance(
        finding=row.id,
        side=side,
        region=region or _draw_region(row, side, severity, position, placed, together=together, rng=rng),
        severity=severity,
        size_cm=None if row.size_cm is None else _draw_size(row, severity, rng),
        certainty="uncertain" if rng.random() < hedged else "certain",
        position=position,
        seed=seed,
    )


def _draw_side(
    row: Finding, placed: Sequence[FindingInstance], *, together: bool, rng: np.random.Generator
) -> str | None:
    if not row.sided:
        return None
    barred = {side for item in placed if item.finding in row.excludes_same_side for side in _sides(item.side)}
    free = [side for side in ("right", "left") if side not in barred]
    companion = _companion(row, placed) if together and rng.random() < _COMPANION_SHARE else None
    if companion is not None and not barred and (companion.side != "bilateral" or row.bilateral):
        return companion.side
    if row.bilateral and not barred and rng.random() < _BILATERAL_SHARES.get(row.id, _BILATERAL_SHARE):
        return "bilateral"
    if len(free) < 2:
        return free[0] if free else None
    return "right" if rng.random() < _RIGHT_SHARES.get(row.id, 0.5) else "left"


def _draw_region(
    row: Finding,
    side: str | None,
    severity: str | None,
    position: str | None,
    placed: Sequence[FindingInstance],
    *,
    together: bool,
    rng: np.random.Generator,
) -> str | None:
    if position not in (None, "satisfactory"):
        # The tip is not where it belongs; only a line that went too far ends at a known place.
        return "right_atrium" if (row.id, position) == ("central_venous_catheter", "too_low") else None
    if row.id in _BY_SEVERITY:
        return _region_by_severity(row.id, side, severity)
    if row.kind == "device":
        return region_on(side, row.regions[0])
    companion = _companion(row, placed) if together else None
    if companion is not None and companion.side == side and companion.region is not None:
        if companion.region in {region_on(side, structure) for structure in row.regions}:
            return companion.region
    structure = row.regions[draw_index(_PLACE_WEIGHTS[len(row.regions)], rng)]
    if side == "bilateral" and (structure == "middle_lobe" or row.id == "atelectasis"):
        structure = "lower_zone"  # what both lungs lose together, they lose at the bases
    if row.size_cm is not None and structure == "lower_zone" and _drowned(side, placed):
        structure = "upper_zone"
    return region_on(side, structure)


# Free air rises to the apex and free fluid sinks into the angle until there is more of it.
_BY_SEVERITY = {
    "pneumothorax": {"subtle": "apex", "mild": "apex", "moderate": "pleura", "severe": "pleura"},
    "pleural_effusion": {"subtle": "costophrenic_angle", "mild": "base", "moderate": "base", "severe": "base"},
}


def _region_by_severity(finding: str, side: str | None, severity: str | None) -> str:
    """Where free air or fluid is, which depends on how much there is."""
    return region_on(side, _BY_SEVERITY[finding][severity or "mild"])


def _drowned(side: str | None, placed: Sequence[FindingInstance]) -> bool:
    """Whether so much fluid covers the base of this side that nothing in it could be seen."""
    return any(
        item.finding == "pleural_effusion" and item.severity in ("moderate", "severe") and side in _sides(item.side)
        for item in placed
    )


def _draw_position(row: Finding, rng: np.random.Generator) -> str | None:
    if not row.positions:
        return None
    if rng.random() < _SATISFACTORY_SHARE:
        return row.positions[0]
    return row.positions[1 + int(rng.random() * (len(row.positions) - 1))]


def _draw_size(row: Finding, severity: str, rng: np.random.Generator) -> float:
    """A diameter in the third of the finding's range that its severity stands for, on a log scale."""
    smallest, largest = row.size_cm
    share = (row.severities.index(severity) + rng.random()) / len(row.severities)
    return round(smallest * (largest / smallest) ** share, 1)


def _progress(item: FindingInstance, rng: np.random.Generator) -> FindingInstance:
    """The same lesion or device at the next study."""
    row = FINDINGS[item.finding]
    same = replace(item, change="same")
    if row.kind == "device":
        return same
    better, worse = _CHRONIC_COURSES.get(row.id, (0.0, 0.0)) if row.chronic else _ACUTE_COURSE
    turn = rng.random()
    step = -1 if turn < better else 1 if turn > 1 - worse else 0
    level = row.severities.index(item.severity) + step
    if step == 0 or not 0 <= level < len(row.severities):
        return same
    severity = row.severities[level]
    changes = {"severity": severity, "change": "better" if step < 0 else "worse"}
    if row.size_cm is not None:
        changes["size_cm"] = _draw_size(row, severity, rng)
    if row.id in _BY_SEVERITY:
        changes["region"] = _region_by_severity(row.id, item.side, severity)
    return replace(item, **changes)


def _companion(row: Finding, placed: Sequence[FindingInstance]) -> FindingInstance | None:
    for other in _COMPANIONS.get(row.id, ()):
        for item in placed:
            if item.finding == other:
                return item
    return None


def _sides(side: str | None) -> tuple[str, ...]:
    return ("right", "left") if side == "bilateral" else (side,) if side else ()
