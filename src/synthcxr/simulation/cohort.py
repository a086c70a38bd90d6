"""Simulated patients and their studies, drawn from the preset of a hospital."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from typing import get_args

import numpy as np

from ..ontology import FINDINGS, Acquisition, FindingInstance, Patient, StudySpec
from ..ontology.study_spec import Defect
from .cohort_findings import draw_findings, draw_index, follow_up, place_findings
from .cohort_presets import PRESET_TABLE, Preset, Weighted
from .streams import derive_seed, stream


PRESETS: tuple[str, ...] = tuple(PRESET_TABLE)

_DEFECTS = get_args(Defect)
_AGE_RANGE = (16.0, 95.0)
_BODY_MASS_RANGE = (15.0, 52.0)
_YOUNG_CHILD = 5.0
_DOSE_SPREAD = 0.35
_ROTATION_SPREAD = 3.0
_INSPIRATION = {"PA": (0.82, 0.13), "AP": (0.63, 0.18), "supine": (0.55, 0.18)}
_STUDY_COUNTS = (0.6, 0.25, 0.15)  # two, three or four studies, of those who have a series


def sample_cohort(num_studies: int, *, preset: str, seed: int) -> list[StudySpec]:
    """
    Sample the first studies of a cohort.

    The same seed gives the same studies, and a smaller cohort is the beginning of a larger one.

    Args:
        num_studies (`int`): How many.
        preset (`str`):
            `"balanced"`: every finding about equally common and independent of view, scanner, devices and (for
            adults) age. `"hospital"`: a long tail of findings that come together, the sicker in AP views, with bad
            records and careless reports. `"second_hospital"`: the same with other people, scanners, views, doses and
            diseases, its records and reports all good, to test for a shift.
        seed (`int`): Which of all such cohorts.

    Returns:
        `list[StudySpec]`: Studies in order; those of one patient follow each other, earliest first.

    Raises:
        ValueError: On a negative number or an unknown preset, naming the closest one.

    Example:

    ```python
    >>> from synthcxr.simulation.cohort import sample_cohort

    >>> cohort = sample_cohort(3, preset="balanced", seed=0)
    >>> cohort == sample_cohort(5, preset="balanced", seed=0)[:3]
    True

    ```
    """
    if num_studies < 0:
        raise ValueError(f"num_studies is {num_studies}; expected 0 or more.")
    return list(islice(iter_cohort(preset=preset, seed=seed), num_studies))


def iter_cohort(*, preset: str, seed: int) -> Iterator[StudySpec]:
    """
    Studies of a cohort without end; `sample_cohort` is its beginning.

    Args:
        preset (`str`): One of `PRESETS`.
        seed (`int`): Which of all such cohorts.

    Raises:
        ValueError: On an unknown preset, naming the closest one.
    """
    if preset not in PRESET_TABLE:
        closest = get_close_matches(str(preset), PRESETS, n=1, cutoff=0.0)[0]
        raise ValueError(f"preset is {preset!r}; the closest known one is {closest!r}.")
    return _studies(preset, seed)


def _studies(name: str, seed: int) -> Iterator[StudySpec]:
    preset = PRESET_TABLE[name]
    index = 0
    while True:
        yield from _series(f"{name}-{seed}-{index:07d}", name, preset, derive_seed(seed, "cohort", name, str(index)))
        index += 1


def _series(patient_id: str, cohort: str, preset: Preset, seed: int) -> Iterator[StudySpec]:
    """Every study of one patient, earliest first."""
    rng = stream(seed, "series")
    acuity = draw_index(preset.acuity, rng)
    num_studies = 1
    if rng.random() < preset.series_share:
        num_studies = 2 + draw_index(_STUDY_COUNTS, rng)
    patient = _draw_patient(patient_id, preset, derive_seed(seed, "patient"), rng)
    child = patient.age < _AGE_RANGE[0]
    study: StudySpec | None = None
    for visit in range(num_studies):
        study_seed = derive_seed(seed, "study", str(visit))
        rng = stream(study_seed, "findings")
        if study is None:
            findings = place_findings(
                draw_findings(preset, acuity, child=child, rng=rng), (), preset, seed=study_seed, rng=rng
            )
        else:
            findings = follow_up(study.findings, preset, acuity, child=child, seed=study_seed, rng=rng)
        study = StudySpec(
            study_id=f"{patient_id}-{visit}",
            patient=patient,
            acquisition=_draw_acquisition(patient, findings, preset, acuity, stream(study_seed, "acquisition")),
            findings=tuple(findings),
            seed=study_seed,
            cohort=cohort,
            prior=study,
        )
        study = _spoil(study, preset)
        yield study


def _draw_patient(patient_id: str, preset: Preset, seed: int, rng: np.random.Generator) -> Patient:
    sex = "female" if rng.random() < 0.5 else "male"
    if rng.random() < preset.child_share:
        age = 1.0 + 15.0 * rng.random()
        body_mass_index = (15.8 + 0.38 * max(0.0, age - 5.0)) * math.exp(0.11 * rng.standard_normal())
    else:
        age = _draw_adult_age(preset, rng)
        median, spread = preset.body_mass_index
        # Weight is gained until about 60; women's vary more.
        median *= 0.93 + 0.11 * min(age - 16.0, 44.0) / 44.0
        spread *= 1.12 if sex == "female" else 0.9
        body_mass_index = median * math.exp(spread * rng.standard_normal())
    lowest, highest = _BODY_MASS_RANGE if age >= _AGE_RANGE[0] else (12.5, 32.0)
    body_mass_index = min(max(body_mass_index, lowest), highest)
    return Patient(patient_id, sex, math.floor(age * 10) / 10, round(body_mass_index, 1), seed)


def _draw_adult_age(preset: Preset, rng: np.random.Generator) -> float:
    mean, spread = preset.age
    age = 0.0
    while not _AGE_RANGE[0] <= age <= _AGE_RANGE[1]:
        age = mean + spread * rng.standard_normal()
    return age


def _draw_acquisition(
    patient: Patient, findings: list[FindingInstance], preset: Preset, acuity: int, rng: np.random.Generator
) -> Acquisition:
    ap_share = preset.ap_shares[acuity]
    present = {item.finding for item in findings} if preset.conditions else set()
    if patient.age < _YOUNG_CHILD:
        ap_share = max(ap_share, 0.85)
    if "endotracheal_tube" in present:
        ap_share = 1.0
    view = "AP" if rng.random() < ap_share else "PA"
    supine = rng.random() < preset.supine_shares[acuity] and view == "AP"
    mean, spread = _INSPIRATION["supine" if supine else view]
    # Free air under the dome is looked for upright; a stiff chest cannot breathe out.
    supine = supine and "pneumoperitoneum" not in present
    mean += 0.1 if present & {"hyperinflation", "emphysema"} else 0.0
    return Acquisition(
        view=view,
        supine=supine,
        inspiration=round(min(max(mean + spread * rng.standard_normal(), 0.05), 1.0), 2),
        rotation_degrees=round(_ROTATION_SPREAD * rng.standard_normal(), 1),
        dose=round(preset.dose_median * math.exp(_DOSE_SPREAD * rng.standard_normal()), 3),
        scanner=_pick(preset.scanners, rng),
    )


def _spoil(study: StudySpec, preset: Preset) -> StudySpec:
    """Make some records bad and some reports careless."""
    if not (preset.defect_share or preset.omission_share or preset.contradiction_share):
        return study
    rng = stream(study.seed, "record")
    if rng.random() < preset.defect_share:
        defect = _DEFECTS[int(rng.random() * len(_DEFECTS))]
        view = "LATERAL" if defect == "lateral_view" else study.acquisition.view
        study = replace(study, acquisition=replace(study.acquisition, defect=defect, view=view))
    certain = [item.finding for item in study.findings if item.certainty == "certain"]
    if not certain:
        return study
    finding = certain[int(rng.random() * len(certain))]
    turn = rng.random()
    if turn < preset.omission_share:
        return replace(study, report_omits=(finding,))
    if turn > 1 - preset.contradiction_share and FINDINGS[finding].kind != "device":
        return replace(study, report_contradicts=(finding,))
    return study


def _pick(weighted: Weighted, rng: np.random.Generator) -> str:
    return weighted[draw_index(tuple(weight for _, weight in weighted), rng)][0]
