"""Sampling a patient's `Geometry`: the body from the patient's stream, the way it is held from the study's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..ontology import Acquisition, Patient, StudySpec
from .scene import Geometry
from .streams import stream


CHILD_AGE = 16.0


def sample_geometry(spec: StudySpec, *, seed: int | None = None) -> Geometry:
    """
    Draw the shape of a study's patient, before findings deform it.

    Args:
        spec (`StudySpec`):
            The study. The body depends on `spec.patient` alone, so that it is the same in every study of a patient.
        seed (`int`, *optional*):
            Stream of the positioning; `spec.seed` by default.

    Returns:
        `Geometry`: The patient as held in this acquisition.
    """
    body = _sample_body(spec.patient, stream(spec.patient.seed, "anatomy"))
    positioning = stream(spec.seed if seed is None else seed, "positioning")
    return _position(body, spec.acquisition, positioning)


def _sample_body(patient: Patient, rng: np.random.Generator) -> Geometry:
    normal, uniform = rng.standard_normal(24).tolist(), rng.random(24).tolist()
    age, male = patient.age, patient.sex == "male"
    childhood = _clip((CHILD_AGE - age) / (CHILD_AGE - 1), 0, 1)  # 1 at one year, 0 when grown
    old = _clip((age - 45) / 40, 0, 1)
    # A child's body mass index is lower at equal habitus, so the excess counts from a baseline that grows with age.
    excess = patient.body_mass_index - (24.0 - 8.0 * childhood**0.6)

    half_width = 14.2 if male else 12.9
    half_width = (half_width + 0.02 * _clip(excess, -6, 15)) * (1 - 0.50 * childhood) + normal[0] * 0.8
    half_width = _clip(half_width, 6.2, 17.5)
    size = half_width / 13.8
    proportion = _clip(1.82 - 0.12 * childhood + 0.13 * normal[1] - 0.03 * old, 1.35, 2.2)
    thickness = (22.2 + (0.8 if male else 0.0) + 0.42 * excess + 1.2 * normal[2] + 1.0 * old) * size**0.8
    ratio = 0.435 + 0.05 * childhood + 0.02 * old + 0.003 * _clip(excess, -5, 15) + 0.026 * normal[3]
    decoy = 2.5 * uniform[0] if uniform[1] < 0.25 else 0.0  # a raised dome without disease
    right_dome, left_dome = (decoy, 0.0) if uniform[2] < 0.65 else (0.0, decoy)
    breast = _clip(1.0 + 0.22 * excess + 1.2 * normal[4], 0.4, 7) if not male and age > 12 else 0.0
    if male and excess > 5:
        breast = 0.12 * excess  # gynaecomastia and fat
    return Geometry(
        sex=patient.sex,
        age=age,
        body_mass_index=patient.body_mass_index,
        half_width_cm=half_width,
        lung_height_cm=half_width * proportion,
        body_thickness_cm=_clip(thickness, 10, 36),
        wall_cm=_clip((2.6 + 0.24 * excess + 0.5 * normal[5]) * size, 0.9, 9),
        abdomen_gain=_clip(1.12 + 0.016 * excess + 0.06 * normal[6] + 0.1 * childhood, 0.95, 1.6),
        cardiothoracic_ratio=_clip(ratio, 0.35, 0.52),
        heart_height=0.66 + 0.18 * uniform[3],
        heart_tilt=0.34 + 0.30 * uniform[4] - 0.010 * _clip(excess, -8, 8),
        heart_offset=0.25 + 0.17 * uniform[5],
        mediastinal_width_cm=(5.2 + 0.06 * excess + 0.45 * normal[7] + 0.5 * old) * size**0.7,
        mediastinal_shift_cm=(1.6 * uniform[6] - 0.8) if uniform[7] < 0.3 else 0.0,
        aortic_knob_radius_cm=_clip((1.25 + 0.45 * old + 0.2 * normal[8]) * size, 0.5, 2.2),
        aortic_unfolding_cm=_clip(0.25 + 0.9 * old + 0.25 * normal[9], 0, 2) * size,
        pulmonary_trunk_cm=_clip(0.35 + 0.25 * normal[10], -0.2, 1.1) * size,
        thymus_cm=(1.8 * uniform[8] if age < 4 and uniform[9] < 0.5 else 0.0),
        right_dome_cm=right_dome,
        left_dome_cm=left_dome - (0.7 + 0.5 * normal[11]) * size,
        dome_sag_cm=_clip(3.0 + 1.0 * normal[12], 1.0, 5.2) * size,
        recess_cm=(1.5 + 3.5 * uniform[10]) * size,
        lung_depth=0.62 + 0.03 * normal[13],
        lung_density_right=_clip(0.25 + 0.03 * normal[14] - 0.03 * old, 0.18, 0.34),
        lung_density_left=_clip(0.25 + 0.03 * normal[14] - 0.03 * old + 0.006 * normal[15], 0.18, 0.34),
        hilum_gain=_clip(1.0 + 0.12 * normal[16], 0.7, 1.35),
        vessel_gain_upper=_clip(0.86 + 0.12 * normal[17], 0.55, 1.2),
        vessel_gain_lower=_clip(0.95 + 0.12 * normal[17] + 0.05 * normal[18], 0.6, 1.3),
        spine_curvature_cm=0.35 * normal[19] * size,
        bone_gain=_clip((1.0 + 0.15 * normal[20]) * (1 - 0.25 * old) * (1 - 0.2 * childhood), 0.45, 1.4),
        breast_cm=float(breast),
    )


def _position(body: Geometry, acquisition: Acquisition, rng: np.random.Generator) -> Geometry:
    normal, uniform = rng.standard_normal(12).tolist(), rng.random(12).tolist()
    anterior = acquisition.view == "AP"
    height = body.lung_height_cm * (0.66 + 0.38 * acquisition.inspiration)
    if anterior:
        height *= 0.86 + 0.14 * uniform[0]
    elif uniform[1] < 0.2:
        height *= 0.85 + 0.15 * uniform[2]
    lost = 1 - height / body.lung_height_cm  # low volume: the heart lies flatter, lung is denser, vessels crowd
    child = body.age < CHILD_AGE
    share = (0.70 + 0.22 * uniform[3]) if child else (0.65 + 0.24 * uniform[3])
    field = max(2 * body.half_width_cm / share, (height + body.dome_sag_cm * 0.5 + 1) / 0.90)
    density = 0.16 * _clip(lost, 0, 0.4)
    supine = acquisition.supine
    return replace(
        body,
        view="AP" if anterior else "PA",
        supine=supine,
        lung_height_cm=height,
        half_width_cm=body.half_width_cm * (1 + 0.02 * normal[10]) * (1 - 0.10 * max(lost, 0)),
        cardiothoracic_ratio=body.cardiothoracic_ratio + (0.035 if anterior else 0) + 0.10 * max(lost, 0),
        heart_tilt=_clip(body.heart_tilt - 0.5 * max(lost, 0), 0.1, 0.8),
        mediastinal_width_cm=body.mediastinal_width_cm * (1.06 if anterior else 1) * (1.1 if supine else 1),
        lung_density_right=body.lung_density_right + density,
        lung_density_left=body.lung_density_left + density,
        hilum_gain=body.hilum_gain * (1.06 if anterior else 1.0),
        vessel_gain_upper=body.vessel_gain_upper * (1.15 if supine else 1.0),
        dome_sag_cm=body.dome_sag_cm * (1 + 0.3 * max(lost, 0)),
        rotation=math.radians(acquisition.rotation_degrees),
        tilt=math.radians(_clip((2.2 if anterior else 1.2) * normal[0], -7, 7)),
        scapula_cm=(2.6 + 1.4 * normal[1]) if anterior else (0.2 + 1.3 * normal[1]),
        mu_soft=_clip(0.18 + 0.012 * normal[2] + (0.006 if anterior else 0), 0.155, 0.21),
        mu_bone=_clip(0.35 + 0.03 * normal[3] + (0.02 if anterior else 0), 0.28, 0.42),
        field_cm=float(field),
        centre_x_cm=float(field * 0.022 * normal[4] * (1.5 if anterior else 1)),
        top_y_cm=-float(
            min(field * (0.06 + 0.13 * uniform[4]), max(field - height - 0.5 * body.dome_sag_cm, 0.03 * field))
        ),
    )


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
