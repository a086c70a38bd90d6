"""What findings see and change: the patient's `Geometry` and the `Scene`, its projection onto the detector."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..ontology import StudySpec


SIDES = ("right", "left")
"""The patient's own sides; the right side lies on the image's left, at negative x."""


@dataclass(frozen=True)
class Geometry:
    """
    Shape of one patient in one acquisition. Findings deform it with `dataclasses.replace` before it is projected.

    Lengths are in cm at the detector. Sided values carry their side as a suffix.

    Args:
        view (`str`): `"PA"` or `"AP"` (a lateral view is made from the same values by `lateral`).
        supine (`bool`): Lying patient.
        sex (`str`): `"female"` or `"male"`.
        age (`float`): Years.
        body_mass_index (`float`): kg / m^2.
        half_width_cm (`float`): Inner half width of the thorax at its widest.
        lung_height_cm (`float`): From the apex to the top of the right dome, after inspiration.
        body_thickness_cm (`float`): Front to back, at the level of the heart.
        wall_cm (`float`): Muscle and fat between the rib cage and the skin at the side.
        abdomen_gain (`float`): Thickness of the upper abdomen relative to `body_thickness_cm`.
        cardiothoracic_ratio (`float`): Widest heart over widest inner thorax, as measured on this image.
        heart_height (`float`): Height of the heart relative to half its width times two.
        heart_tilt (`float`): Turn of the heart's long axis to the patient's left and down, in radians.
        heart_offset (`float`): Centre of the heart to the patient's left, in half widths of the heart.
        mediastinal_width_cm (`float`): Width of the upper mediastinum.
        mediastinal_shift_cm (`float`): Shift of heart, mediastinum and trachea; positive to the patient's left.
        aortic_knob_radius_cm (`float`): Radius of the aortic arch seen on end.
        aortic_unfolding_cm (`float`): Bulge of the descending aorta to the left.
        pulmonary_trunk_cm (`float`): Bulge of the pulmonary trunk below the arch.
        thymus_cm (`float`): Extra half width of the upper mediastinum in a small child.
        right_dome_cm (`float`): Extra height of the right dome; positive is higher.
        left_dome_cm (`float`): The same on the left; negative values put it lower than the right one, as is usual.
        dome_sag_cm (`float`): From the top of a dome down to its lateral end.
        dome_flattening (`float`): 0 for a normal dome, 1 for a flat one.
        recess_cm (`float`): How far lung reaches down behind a dome.
        lung_depth (`float`): Deepest lung over `body_thickness_cm`.
        lung_density_right (`float`): Density of aerated lung as a fraction of soft tissue.
        lung_density_left (`float`): The same on the left.
        collapse_right (`float`): 0 for a lung at the wall, 1 for one retracted to its hilum, air between.
        collapse_left (`float`): The same on the left.
        hilum_gain (`float`): Size of the hila relative to normal.
        vessel_gain_upper (`float`): Calibre of vessels above the hila relative to normal.
        vessel_gain_lower (`float`): The same below the hila.
        spine_curvature_cm (`float`): Largest lateral deviation of the spine; positive to the patient's left.
        rotation (`float`): Turn about the long axis in radians; positive turns the left side forward.
        tilt (`float`): Turn of the image in its plane in radians, applied after everything is projected.
        scapula_cm (`float`): How far the medial border of a scapula lies inside the rib cage's edge.
        bone_gain (`float`): Mineral content relative to a young adult.
        breast_cm (`float`): Thickness of the breasts; 0 for none.
        mu_soft (`float`): Attenuation of soft tissue per cm.
        mu_bone (`float`): Attenuation of compact bone in excess of soft tissue, per cm.
        field_cm (`float`): Side of the square image.
        centre_x_cm (`float`): Column of the image's centre, in patient coordinates.
        top_y_cm (`float`): Row of the image's upper edge, in patient coordinates; negative, above the apices.
    """

    view: str = "PA"
    supine: bool = False
    sex: str = "male"
    age: float = 50.0
    body_mass_index: float = 25.0
    half_width_cm: float = 13.8
    lung_height_cm: float = 22.4
    body_thickness_cm: float = 23.0
    wall_cm: float = 3.5
    abdomen_gain: float = 1.15
    cardiothoracic_ratio: float = 0.44
    heart_height: float = 0.75
    heart_tilt: float = 0.5
    heart_offset: float = 0.32
    mediastinal_width_cm: float = 5.6
    mediastinal_shift_cm: float = 0.0
    aortic_knob_radius_cm: float = 1.5
    aortic_unfolding_cm: float = 0.3
    pulmonary_trunk_cm: float = 0.4
    thymus_cm: float = 0.0
    right_dome_cm: float = 0.0
    left_dome_cm: float = -0.9
    dome_sag_cm: float = 3.2
    dome_flattening: float = 0.0
    recess_cm: float = 3.0
    lung_depth: float = 0.62
    lung_density_right: float = 0.26
    lung_density_left: float = 0.26
    collapse_right: float = 0.0
    collapse_left: float = 0.0
    hilum_gain: float = 1.0
    vessel_gain_upper: float = 0.9
    vessel_gain_lower: float = 0.9
    spine_curvature_cm: float = 0.0
    rotation: float = 0.0
    tilt: float = 0.0
    scapula_cm: float = 0.5
    bone_gain: float = 1.0
    breast_cm: float = 0.0
    mu_soft: float = 0.18
    mu_bone: float = 0.35
    field_cm: float = 38.0
    centre_x_cm: float = 0.0
    top_y_cm: float = -3.5


@dataclass(frozen=True)
class Bone:
    """
    A tube along a projected curve.

    Args:
        points (`np.ndarray` of shape `(num_points, 2)`): Centre line in cm.
        radii (`np.ndarray` of shape `(num_points,)`): Half the visible width.
        gains (`np.ndarray` of shape `(num_points,)`): Path length in cm on the axis, were the tube solid.
        hollow (`float`): Share of the inside that is marrow.
        round_ends (`bool`): Whether the tube ends in half spheres, not cut off flat.
    """

    points: np.ndarray
    radii: np.ndarray
    gains: np.ndarray
    hollow: float = 0.72
    round_ends: bool = False


@dataclass
class Scene:
    """
    One patient projected onto the detector, before photons. Findings add line integrals to `attenuation`.

    Rows are heights and columns are widths; `x_cm > 0` is the image's right, the patient's left. `y_cm = 0` is the
    lung apex and grows downwards. Every map has the shape `(image_size, image_size)`.

    Args:
        spec (`StudySpec`): What is being simulated.
        geometry (`Geometry`): After the findings' deformations.
        image_size (`int`): Side of the maps in pixels.
        pixel_cm (`float`): Side of a pixel.
        x_cm (`np.ndarray` of shape `(image_size,)`): Centre of every column.
        y_cm (`np.ndarray` of shape `(image_size,)`): Centre of every row.
        attenuation (`np.ndarray` of float32): Dimensionless line integral of everything on the ray.
        body_cm (`np.ndarray` of float32): Length of the ray inside the body.
        lung_thickness (`dict[str, np.ndarray]`): Side to cm of aerated lung on the ray, before findings.
        lung_mask (`dict[str, np.ndarray]`): Side to the lung seen as such: above the dome, beside the heart.
        lung_extent (`dict[str, np.ndarray]`): Side to every ray that meets lung, also behind heart and dome.
        pleural_gap (`dict[str, np.ndarray]`): Side to the rays that meet free air beside a collapsed lung.
        vessels (`dict[str, np.ndarray]`): Side to the line integral of the lung's vessels, part of `attenuation`.
        heart_cm (`np.ndarray` of float32): Length of the ray inside the heart.
        heart_mask (`np.ndarray` of bool): Outline of the heart.
        landmarks (`dict[str, tuple[float, float]]`): Name to `(x, y)` in cm: `carina`, `trachea_top`, `{side}_hilum`,
            `aortic_knob`, `heart`, `{side}_dome`, `{side}_costophrenic`, `{side}_cardiophrenic`, `{side}_apex`,
            `cavoatrial_junction`, `gastro_oesophageal_junction`, `stomach`, `{side}_clavicle_medial`,
            `{side}_clavicle_mid`, `{side}_clavicle_lateral`, `sternal_notch`, `left_ventricle`, `right_ventricle`.
        ribs (`dict[tuple[str, int], np.ndarray]`): (side, index from 1) to the `(n, 3)` centre line x, y, z of the
            whole rib, from the spine round the side to the front; z is the depth, positive to the front.
        rib_radius_cm (`float`): Half the height of a rib.
        lateral_edge (`dict[str, np.ndarray]`): Side to x of the inner chest wall per row, nan outside the lung.
        medial_edge (`dict[str, np.ndarray]`): Side to x of the mediastinal edge of the lung per row, nan outside.
        lung_edge (`dict[str, np.ndarray]`): Side to x of the lung's own lateral edge; `lateral_edge` unless collapsed.
        dome (`dict[str, np.ndarray]`): Side to y of the dome per column, nan outside.
        midline (`np.ndarray` of shape `(image_size,)`): x of the spine's axis per row.
        mu_soft (`float`): Attenuation of soft tissue per cm.
        mu_bone (`float`): Attenuation of compact bone in excess of soft tissue, per cm.
        mu_lung (`dict[str, float]`): Side to attenuation of aerated lung per cm.
        solids (`dict[str, np.ndarray]`): Name to ellipsoids `(n, 6)` for `kernels.project_ellipsoids`: `heart`,
            `aortic_arch`, `great_vessels`, `gastric_bubble`.
        bones (`dict[str, list[Bone]]`): Region id, such as `left_clavicle` or `trachea`, to its tubes; of the ribs
            only once a mask of one has been asked for.
        plates (`dict[str, np.ndarray]`): Region id to the corners `(n, 2)` of a flat bone.
        spine_edge (`np.ndarray` of shape `(image_size,)`, *optional*): Half width of a vertebral body per row.
        flooded (`dict[str, np.ndarray]`): Side to the share of the lung's air on the ray that findings have taken;
            no entry as long as none has.
    """

    spec: StudySpec
    geometry: Geometry
    image_size: int
    pixel_cm: float
    x_cm: np.ndarray
    y_cm: np.ndarray
    attenuation: np.ndarray
    body_cm: np.ndarray
    lung_thickness: dict[str, np.ndarray]
    lung_mask: dict[str, np.ndarray]
    lung_extent: dict[str, np.ndarray]
    pleural_gap: dict[str, np.ndarray]
    vessels: dict[str, np.ndarray]
    heart_cm: np.ndarray
    heart_mask: np.ndarray
    landmarks: dict[str, tuple[float, float]]
    ribs: dict[tuple[str, int], np.ndarray]
    rib_radius_cm: float
    lateral_edge: dict[str, np.ndarray]
    medial_edge: dict[str, np.ndarray]
    lung_edge: dict[str, np.ndarray]
    dome: dict[str, np.ndarray]
    midline: np.ndarray
    mu_soft: float
    mu_bone: float
    mu_lung: dict[str, float] = field(default_factory=dict)
    solids: dict[str, np.ndarray] = field(default_factory=dict)
    bones: dict[str, list[Bone]] = field(default_factory=dict)
    plates: dict[str, np.ndarray] = field(default_factory=dict)
    spine_edge: np.ndarray | None = None
    flooded: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class FindingEffect:
    """
    What one finding on one side does to the rays.

    Args:
        attenuation (`np.ndarray` of float32): Added to the scene's line integral; negative where there is more air.
        mask (`np.ndarray` of bool): Visible extent.
        flooded (`dict[str, np.ndarray]`): Side to the share of the lung's air on the ray that this finding takes, so
            that the next one cannot take it again.
    """

    attenuation: np.ndarray
    mask: np.ndarray
    flooded: dict[str, np.ndarray] = field(default_factory=dict)
