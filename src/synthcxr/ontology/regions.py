"""Anatomy visible on a frontal chest X-ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """
    One anatomical region.

    Args:
        id (`str`): Snake-case id; sided structures carry their side as a prefix (`"left_lung"`).
        name (`str`): Name in running text.
        simulated (`bool`): Whether `simulation` gives an exact mask of it.
    """

    id: str
    name: str
    simulated: bool = False


_SIDED = {
    "lung": ("lung", True),
    "upper_zone": ("upper lung zone", True),
    "mid_zone": ("mid lung zone", True),
    "lower_zone": ("lower lung zone", True),
    "apex": ("lung apex", True),
    "base": ("lung base", False),
    "hilum": ("hilum", True),
    "costophrenic_angle": ("costophrenic angle", True),
    "hemidiaphragm": ("hemidiaphragm", True),
    "clavicle": ("clavicle", True),
    "scapula": ("scapula", True),
    "breast": ("breast", False),
    "chest_wall": ("chest wall", False),
    "pleura": ("pleura", False),
}
_MIDLINE = {
    "heart": ("heart", True),
    "mediastinum": ("mediastinum", True),
    "aortic_arch": ("aortic arch", True),
    "trachea": ("trachea", True),
    "carina": ("carina", False),
    "spine": ("thoracic spine", True),
    "abdomen": ("upper abdomen", True),
    "gastric_bubble": ("gastric bubble", True),
    "stomach": ("stomach", False),
    "right_atrium": ("right atrium", False),
    "superior_vena_cava": ("superior vena cava", False),
}
# Lobes are named in reports; on a frontal view they overlap, so none has a mask of its own.
_LOBES = {
    "right_upper_lobe": "right upper lobe",
    "right_middle_lobe": "right middle lobe",
    "right_lower_lobe": "right lower lobe",
    "left_upper_lobe": "left upper lobe",
    "lingula": "lingula",
    "left_lower_lobe": "left lower lobe",
}
NUM_RIBS = 10

REGIONS: dict[str, Region] = {
    region.id: region
    for region in (
        *(
            Region(f"{side}_{id}", f"{side} {name}", simulated)
            for id, (name, simulated) in _SIDED.items()
            for side in ("right", "left")
        ),
        *(
            Region(f"{side}_rib_{index}", f"{side} rib {index}", simulated=True)
            for side in ("right", "left")
            for index in range(1, NUM_RIBS + 1)
        ),
        *(Region(id, name, simulated) for id, (name, simulated) in _MIDLINE.items()),
        *(Region(id, name) for id, name in _LOBES.items()),
    )
}
REGION_IDS: tuple[str, ...] = tuple(REGIONS)
