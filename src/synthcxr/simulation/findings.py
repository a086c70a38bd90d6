"""Every finding that can be simulated: what it does to the patient's shape and to the rays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ontology import FindingInstance
from . import devices
from .findings_air import pneumoperitoneum, subcutaneous_emphysema
from .findings_bone import deform_scoliosis, fracture, scoliosis
from .findings_diffuse import covid_19_pattern, deform_edema, deform_fibrosis, edema, fibrosis
from .findings_heart import (
    aortic_enlargement,
    cardiomegaly,
    deform_aortic_enlargement,
    deform_cardiomegaly,
    deform_enlarged_cardiomediastinum,
    enlarged_cardiomediastinum,
    hernia,
)
from .findings_lesion import cavity, granuloma, mass, nodule, tuberculosis
from .findings_lung import consolidation, infiltration, pneumonia
from .findings_pleura import (
    deform_pleural_effusion,
    deform_pneumothorax,
    pleural_effusion,
    pleural_thickening,
    pneumothorax,
)
from .findings_volume import (
    atelectasis,
    deform_atelectasis,
    deform_emphysema,
    deform_hyperinflation,
    emphysema,
    hyperinflation,
)
from .scene import FindingEffect, Geometry, Scene


FindingRenderer = Callable[[Scene, FindingInstance, str | None, np.random.Generator], FindingEffect]
FindingDeformer = Callable[[Geometry, FindingInstance, np.random.Generator], Geometry]

FINDING_RENDERERS: dict[str, FindingRenderer] = {
    "enlarged_cardiomediastinum": enlarged_cardiomediastinum,
    "cardiomegaly": cardiomegaly,
    "edema": edema,
    "consolidation": consolidation,
    "pneumonia": pneumonia,
    "atelectasis": atelectasis,
    "pneumothorax": pneumothorax,
    "pleural_effusion": pleural_effusion,
    "fracture": fracture,
    "infiltration": infiltration,
    "nodule": nodule,
    "mass": mass,
    "cavity": cavity,
    "granuloma": granuloma,
    "fibrosis": fibrosis,
    "emphysema": emphysema,
    "hyperinflation": hyperinflation,
    "hernia": hernia,
    "pleural_thickening": pleural_thickening,
    "tuberculosis": tuberculosis,
    "covid_19_pattern": covid_19_pattern,
    "aortic_enlargement": aortic_enlargement,
    "scoliosis": scoliosis,
    "pneumoperitoneum": pneumoperitoneum,
    "subcutaneous_emphysema": subcutaneous_emphysema,
    "endotracheal_tube": devices.endotracheal_tube,
    "nasogastric_tube": devices.nasogastric_tube,
    "central_venous_catheter": devices.central_venous_catheter,
    "chest_tube": devices.chest_tube,
    "pacemaker": devices.pacemaker,
    "sternotomy_wires": devices.sternotomy_wires,
}
FINDING_DEFORMERS: dict[str, FindingDeformer] = {
    "enlarged_cardiomediastinum": deform_enlarged_cardiomediastinum,
    "cardiomegaly": deform_cardiomegaly,
    "edema": deform_edema,
    "atelectasis": deform_atelectasis,
    "pneumothorax": deform_pneumothorax,
    "pleural_effusion": deform_pleural_effusion,
    "fibrosis": deform_fibrosis,
    "emphysema": deform_emphysema,
    "hyperinflation": deform_hyperinflation,
    "aortic_enlargement": deform_aortic_enlargement,
    "scoliosis": deform_scoliosis,
}


def deform(geometry: Geometry, instance: FindingInstance, rng: np.random.Generator) -> Geometry:
    """
    Change the patient's shape as a finding does, before it is projected.

    Args:
        geometry (`Geometry`): Shape so far.
        instance (`FindingInstance`): Finding with side, region, severity and size.
        rng (`np.random.Generator`): Stream of this instance.

    Returns:
        `Geometry`: `geometry` itself when the finding leaves the shape alone.
    """
    deformer = FINDING_DEFORMERS.get(instance.finding)
    return geometry if deformer is None else deformer(geometry, instance, rng)


def render(scene: Scene, instance: FindingInstance, side: str | None, rng: np.random.Generator) -> FindingEffect:
    """
    Compute what a finding does to the rays of a projected patient. The scene is left as it is.

    Args:
        scene (`Scene`): Patient, deformed and projected.
        instance (`FindingInstance`): Finding with side, region, severity, size and position.
        side (`str`, *optional*): `"right"` or `"left"`; one call per side of a bilateral finding. `None` for a finding
            without a side, which then covers both lungs or the midline.
        rng (`np.random.Generator`): Stream of this instance and side.

    Returns:
        `FindingEffect`: Attenuation to add, and the visible extent.

    Raises:
        ValueError: When the finding cannot be rendered, as an umbrella term.
    """
    renderer = FINDING_RENDERERS.get(instance.finding)
    if renderer is None:
        raise ValueError(
            f"finding {instance.finding!r} cannot be rendered; expected one of {', '.join(FINDING_RENDERERS)}."
        )
    return renderer(scene, instance, side, rng)


def apply_effect(scene: Scene, effect: FindingEffect) -> None:
    """Add a finding to a scene in place: its rays, and the air that it leaves to the findings after it."""
    scene.attenuation += effect.attenuation
    for side, share in effect.flooded.items():
        taken = scene.flooded.get(side)
        scene.flooded[side] = share if taken is None else 1 - (1 - taken) * (1 - share)
