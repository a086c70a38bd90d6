"""Anatomy visible on a frontal chest X-ray: single structures, each side of a pair, and pairs as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Region:
    """
    One anatomical region.

    Args:
        id (`str`): Snake-case id; sided structures carry their side as a prefix (`"left_lung"`), the pair has the id
            without it (`"lung"`).
        name (`str`): Name in running text; a pair's is plural (`"lungs"`).
        simulated (`bool`): Whether `simulation` gives an exact mask of it.
        side (`str`, *optional*): The patient's own `"left"` or `"right"`; `None` on the midline and for a pair.
        parent (`str`, *optional*): The larger region that it is a part of.
    """

    id: str
    name: str
    simulated: bool = False
    side: Literal["left", "right"] | None = None
    parent: str | None = None


# Structure: name, plural, whether each side has a mask, what it is part of (on the same side when that is a pair).
_PAIRED = {
    "lung": ("lung", "lungs", True, None),
    "upper_zone": ("upper lung zone", "upper lung zones", True, "lung"),
    "mid_zone": ("mid lung zone", "mid lung zones", True, "lung"),
    "lower_zone": ("lower lung zone", "lower lung zones", True, "lung"),
    "apex": ("lung apex", "lung apices", True, "upper_zone"),
    "base": ("lung base", "lung bases", False, "lower_zone"),
    "hilum": ("hilum", "hila", True, "mediastinum"),
    "costophrenic_angle": ("costophrenic angle", "costophrenic angles", True, "base"),
    "hemidiaphragm": ("hemidiaphragm", "hemidiaphragms", True, None),
    "clavicle": ("clavicle", "clavicles", True, "chest_wall"),
    "scapula": ("scapula", "scapulae", True, "chest_wall"),
    "breast": ("breast", "breasts", False, "chest_wall"),
    "chest_wall": ("chest wall", "chest walls", False, None),
    "pleura": ("pleura", "pleurae", False, None),
}
_MIDLINE = {
    "heart": ("heart", True, "mediastinum"),
    "mediastinum": ("mediastinum", True, None),
    "aortic_arch": ("aortic arch", True, "mediastinum"),
    "trachea": ("trachea", True, "mediastinum"),
    "carina": ("carina", False, "trachea"),
    "spine": ("thoracic spine", True, None),
    "abdomen": ("upper abdomen", True, None),
    "gastric_bubble": ("gastric bubble", True, "stomach"),
    "stomach": ("stomach", False, "abdomen"),
    "right_atrium": ("right atrium", False, "heart"),
    "superior_vena_cava": ("superior vena cava", False, "mediastinum"),
}
# Lobes are named in reports; on a frontal view they overlap, so none has a mask of its own. The zone is the one in
# which most of the lobe projects.
_LOBE_PAIRS = {
    "upper_lobe": ("upper lobes", "upper_zone"),
    "middle_lobe": ("right middle lobe and lingula", "lower_zone"),
    "lower_lobe": ("lower lobes", "lower_zone"),
}
_LOBES = {
    "right_upper_lobe": ("right upper lobe", "upper_lobe"),
    "right_middle_lobe": ("right middle lobe", "middle_lobe"),
    "right_lower_lobe": ("right lower lobe", "lower_lobe"),
    "left_upper_lobe": ("left upper lobe", "upper_lobe"),
    "lingula": ("lingula", "middle_lobe"),
    "left_lower_lobe": ("left lower lobe", "lower_lobe"),
}
NUM_RIBS = 10


def _sided() -> list[Region]:
    """Every pair split in two: the right, then the left of each structure."""
    regions = []
    for id, (name, _, simulated, whole) in _PAIRED.items():
        for side in ("right", "left"):
            parent = f"{side}_{whole}" if whole in _PAIRED else whole
            regions.append(Region(f"{side}_{id}", f"{side} {name}", simulated, side, parent))
    return regions


def _ribs() -> list[Region]:
    return [
        Region(f"{side}_rib_{index}", f"{side} rib {index}", True, side, f"{side}_chest_wall")
        for side in ("right", "left")
        for index in range(1, NUM_RIBS + 1)
    ]


def _pairs() -> list[Region]:
    pairs = [Region(id, plural, parent=whole) for id, (_, plural, _, whole) in _PAIRED.items()]
    lobes = [Region(id, name, parent="lung") for id, (name, _) in _LOBE_PAIRS.items()]
    return [*pairs, Region("rib", "ribs", parent="chest_wall"), *lobes]


def _lobe_side(lobe: str) -> Literal["left", "right"]:
    return "right" if lobe.startswith("right_") else "left"


REGIONS: dict[str, Region] = {
    region.id: region
    for region in (
        *_sided(),
        *_ribs(),
        *(Region(id, name, simulated, None, parent) for id, (name, simulated, parent) in _MIDLINE.items()),
        *(Region(id, name, side=_lobe_side(id), parent=f"{_lobe_side(id)}_lung") for id, (name, _) in _LOBES.items()),
        *_pairs(),
    )
}
REGION_IDS: tuple[str, ...] = tuple(REGIONS)


def structure_of(region: str) -> str:
    """
    What a region is, whichever side it is on: the id of its pair, or its own id when it is not one of a pair.

    Example:

    ```python
    >>> from synthcxr.ontology import structure_of

    >>> [structure_of(region) for region in ("left_lower_zone", "left_rib_4", "heart", "lung", "lingula")]
    ['lower_zone', 'rib', 'heart', 'lung', 'middle_lobe']

    ```
    """
    if region in _LOBES:
        return _LOBES[region][1]
    bare = region.split("_", 1)[-1] if REGIONS[region].side is not None else region
    return "rib" if bare.startswith("rib_") else bare


def region_on(side: str | None, structure: str) -> str:
    """
    Id of a structure on one side: its pair when the side is `"bilateral"` or `None`, itself when it has no sides.

    Example:

    ```python
    >>> from synthcxr.ontology import region_on

    >>> region_on("left", "lower_zone"), region_on("bilateral", "lower_zone"), region_on("left", "heart")
    ('left_lower_zone', 'lower_zone', 'heart')
    >>> region_on("left", "middle_lobe")
    'lingula'

    ```

    Raises:
        ValueError: When there is no such region.
    """
    if structure not in REGIONS:
        raise ValueError(f"structure is {structure!r}; expected one of the ontology's regions, such as 'lower_zone'.")
    sided = "lingula" if (side, structure) == ("left", "middle_lobe") else f"{side}_{structure}"
    return sided if sided in REGIONS else structure


def zone_of(region: str) -> str | None:
    """
    The lung zone that a region projects into, on its side; `None` outside the lungs, and for a lung as a whole.

    Example:

    ```python
    >>> from synthcxr.ontology import zone_of

    >>> zone_of("right_middle_lobe"), zone_of("left_apex"), zone_of("base"), zone_of("heart")
    ('right_lower_zone', 'left_upper_zone', 'lower_zone', None)

    ```
    """
    structure = structure_of(region)
    if structure in _LOBE_PAIRS:
        return region_on(_lobe_side(region) if region in _LOBES else None, _LOBE_PAIRS[structure][1])
    current: str | None = region
    while current is not None and not structure_of(current).endswith("_zone"):
        current = REGIONS[current].parent
    return current
