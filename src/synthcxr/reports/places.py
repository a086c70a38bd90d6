"""How a side and a region are said: words before the noun, words after it, or both."""

from __future__ import annotations

from functools import cache

from ..ontology import REGIONS, region_on, structure_of


# Structures that are said for each kind of place. Others (the lung of an edema, the pleura of an effusion) add nothing
# to the noun, so only their side is said.
SPOKEN_STRUCTURES: dict[str, frozenset[str]] = {
    "lung": frozenset(
        {"upper_zone", "mid_zone", "lower_zone", "apex", "base", "hilum", "costophrenic_angle"}
        | {"upper_lobe", "middle_lobe", "lower_lobe"}
    ),
    "pleura": frozenset({"apex", "base", "costophrenic_angle"}),
    "fluid": frozenset({"costophrenic_angle"}),
    "bone": frozenset({"rib", "clavicle", "scapula"}),
    "wall": frozenset({"chest_wall"}),
    "diaphragm": frozenset({"hemidiaphragm"}),
}

# (before, after) for one side; @ stands for "left" or "right".
_ONE_SIDE: dict[str, tuple[tuple[str, str], ...]] = {
    "upper_zone": (
        ("@ upper lung", ""),
        ("@ upper zone", ""),
        ("", "in the @ upper lung"),
        ("", "in the @ upper zone"),
    ),
    "mid_zone": (("@ mid lung", ""), ("@ midlung", ""), ("", "in the @ mid lung"), ("", "in the @ mid lung zone")),
    "lower_zone": (
        ("@ lower lung", ""),
        ("@ basilar", ""),
        ("", "in the @ lower lung"),
        ("", "in the @ lower lung zone"),
        ("", "at the @ base"),
    ),
    "apex": (("@ apical", ""), ("", "at the @ apex"), ("", "at the @ lung apex")),
    "base": (("@ basilar", ""), ("@ basal", ""), ("", "at the @ base"), ("", "at the @ lung base")),
    "hilum": (("@ perihilar", ""), ("", "in the @ perihilar region"), ("", "around the @ hilum")),
    "costophrenic_angle": (("", "at the @ costophrenic angle"), ("", "in the @ costophrenic angle")),
    "upper_lobe": (("@ upper lobe", ""), ("", "in the @ upper lobe"), ("", "within the @ upper lobe")),
    "lower_lobe": (("@ lower lobe", ""), ("", "in the @ lower lobe"), ("", "within the @ lower lobe")),
    "clavicle": (("@ clavicle", ""), ("@ clavicular", ""), ("", "of the @ clavicle")),
    "scapula": (("@ scapular", ""), ("", "of the @ scapula")),
    "chest_wall": (("@ chest wall", ""), ("", "along the @ chest wall"), ("", "in the @ chest wall")),
    "hemidiaphragm": (("", "beneath the @ hemidiaphragm"), ("", "under the @ hemidiaphragm")),
}
_BOTH_SIDES: dict[str, tuple[tuple[str, str], ...]] = {
    "upper_zone": (("bilateral upper lung", ""), ("", "in both upper lungs"), ("", "in the upper lungs bilaterally")),
    "mid_zone": (("bilateral mid lung", ""), ("", "in both mid lungs"), ("", "in the mid lung zones bilaterally")),
    "lower_zone": (
        ("bilateral lower lung", ""),
        ("bibasilar", ""),
        ("", "in both lower lungs"),
        ("", "at both bases"),
    ),
    "apex": (
        ("biapical", ""),
        ("bilateral apical", ""),
        ("", "at both apices"),
        ("", "at the lung apices bilaterally"),
    ),
    "base": (
        ("bibasilar", ""),
        ("bilateral basilar", ""),
        ("", "at both bases"),
        ("", "at the lung bases bilaterally"),
    ),
    "hilum": (("bilateral perihilar", ""), ("", "in both perihilar regions"), ("", "around both hila")),
    "costophrenic_angle": (("bilateral", "at the costophrenic angles"), ("", "at both costophrenic angles")),
    "upper_lobe": (("bilateral upper lobe", ""), ("", "in both upper lobes"), ("", "in the upper lobes bilaterally")),
    "lower_lobe": (("bilateral lower lobe", ""), ("", "in both lower lobes"), ("", "in the lower lobes bilaterally")),
    "middle_lobe": (("bilateral", "in the right middle lobe and left lingula"),),
    "rib": (("bilateral rib", ""), ("", "of ribs bilaterally")),
    "clavicle": (("bilateral clavicle", ""), ("", "of both clavicles")),
    "scapula": (("bilateral scapular", ""), ("", "of both scapulae")),
    "chest_wall": (("bilateral chest wall", ""), ("", "along both chest walls"), ("", "in both chest walls")),
    "hemidiaphragm": (("", "beneath both hemidiaphragms"), ("", "under both hemidiaphragms")),
}
_NO_SIDE: dict[str, tuple[tuple[str, str], ...]] = {
    "upper_zone": (("upper lung", ""), ("", "in the upper lungs"), ("", "in the upper lung zones")),
    "mid_zone": (("mid lung", ""), ("", "in the mid lungs"), ("", "in the mid lung zones")),
    "lower_zone": (("lower lung", ""), ("basilar", ""), ("", "in the lower lungs"), ("", "at the lung bases")),
    "apex": (("apical", ""), ("", "at the lung apices")),
    "base": (("basilar", ""), ("", "at the lung bases")),
    "hilum": (("perihilar", ""), ("", "in the perihilar regions")),
    "costophrenic_angle": (("", "at the costophrenic angles"),),
    "upper_lobe": (("upper lobe", ""), ("", "in the upper lobes")),
    "lower_lobe": (("lower lobe", ""), ("", "in the lower lobes")),
    "middle_lobe": (("", "in the middle lobe and lingula"),),
    "rib": (("rib", ""),),
    "clavicle": (("clavicle", ""),),
    "scapula": (("scapular", ""),),
    "chest_wall": (("chest wall", ""), ("", "in the chest wall")),
    "hemidiaphragm": (("", "beneath the diaphragm"), ("", "under the diaphragm"), ("", "below the diaphragm")),
}
# Fluid gathers at the base, so the angle is said as what it does to it.
_FLUID_AT_ANGLE = {
    "one": (("@", "with blunting of the @ costophrenic angle"), ("@", "blunting the @ costophrenic angle")),
    "both": (("bilateral", "with blunting of both costophrenic angles"),),
    "none": (("", "with blunting of the costophrenic angle"),),
}
_MIDDLE_LOBE = {
    "right": (("right middle lobe", ""), ("", "in the right middle lobe"), ("", "within the right middle lobe")),
    "left": (("left lingular", ""), ("", "in the left lingula")),
}
# Only a side: what stands for the place depends on what is placed.
_SIDE_ONLY: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "lung": {
        "one": (("@ lung", ""), ("@-sided", ""), ("", "in the @ lung"), ("", "within the @ lung")),
        "both": (("bilateral", ""), ("bilateral", ""), ("", "in both lungs"), ("", "bilaterally")),
    },
    "bone": {
        "one": (("@ rib", ""), ("@-sided rib", "")),
        "both": (("bilateral rib", ""),),
        "none": (("rib", ""),),
    },
    "clavicle": {
        "one": (("@ clavicle", ""), ("@ clavicular", ""), ("", "of the @ clavicle")),
        "both": (("bilateral clavicle", ""),),
        "none": (("clavicle", ""),),
    },
    "wall": {
        "one": (("@", ""), ("@-sided", ""), ("", "on the @")),
        "both": (("bilateral", ""), ("", "bilaterally")),
    },
    "raised": {
        "one": (("@ hemidiaphragm", ""), ("", "of the @ hemidiaphragm")),
        "both": (("bilateral hemidiaphragm", ""), ("", "of both hemidiaphragms")),
        "none": (("hemidiaphragm", ""), ("", "of the hemidiaphragm")),
    },
    "hilum": {
        "one": (("@ hilar", ""), ("", "of the @ hilum")),
        "both": (("bilateral hilar", ""), ("", "of both hila")),
        "none": (("hilar", ""), ("", "of the hila")),
    },
    "shift": {"one": (("", "to the @"), ("", "toward the @")), "both": (("", ""),)},
    "spine": {"one": (("", "convex to the @"), ("", "with convexity to the @")), "both": (("", ""),)},
    "device": {"one": (("@", ""), ("@", ""), ("@-sided", "")), "both": (("bilateral", ""),)},
}
_SIDE_ANYWHERE = {
    "one": (("@", ""), ("@", ""), ("@-sided", ""), ("", "on the @")),
    "both": (("bilateral", ""), ("bilateral", ""), ("", "bilaterally")),
    "none": (("", ""),),
}
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def located(finding: str, place: str, side: str | None, region: str | None) -> tuple[str | None, str | None]:
    """
    What a report says of where an instance is.

    Args:
        finding (`str`): Ontology id, for the error.
        place (`str`): Kind of place, a lexeme's `place`.
        side (`str`, *optional*): `"left"`, `"right"` or `"bilateral"`; taken from the region when `None`.
        region (`str`, *optional*): Ontology id.

    Returns:
        `tuple` of the side and the region on that side; `None` where there is nothing to say.

    Raises:
        ValueError: When the region lies on the other side.
    """
    if region is None:
        return side, None
    region_side = REGIONS[region].side
    if side in ("left", "right") and region_side not in (None, side):
        raise ValueError(f"region of {finding} is {region!r} but its side is {side!r}; expected the same side.")
    structure = structure_of(region)
    if structure not in SPOKEN_STRUCTURES.get(place, ()):
        return side or region_side, None
    if side is not None and (side == "bilateral" or region_side is None):
        region = region_on(side, structure)
    return side or region_side, region


@cache
def place_words(place: str, side: str | None, region: str | None) -> tuple[tuple[str, str], ...]:
    """
    Ways to say where something is.

    Args:
        place (`str`): Kind of place, a lexeme's `place`.
        side (`str`, *optional*): `"left"`, `"right"` or `"bilateral"`.
        region (`str`, *optional*): Ontology id as [`located`] gives it.

    Returns:
        `tuple` of `(before, after)`: Words that precede the noun and words that follow it, either may be empty.

    Example:

    ```python
    >>> from synthcxr.reports.places import place_words

    >>> place_words("lung", "left", "left_apex")
    (('left apical', ''), ('', 'at the left apex'), ('', 'at the left lung apex'))

    ```
    """
    sides = {None: "none", "bilateral": "both"}.get(side, "one")
    if region is None or place == "device":  # of a device, the region is that of its tip
        options = _SIDE_ONLY.get(place, _SIDE_ANYWHERE).get(sides, _SIDE_ANYWHERE["none"])
    elif place == "fluid" and structure_of(region) == "costophrenic_angle":
        options = _FLUID_AT_ANGLE[sides]
    else:
        options = _region_words(side, sides, region)
    return tuple((before.replace("@", str(side)), after.replace("@", str(side))) for before, after in options)


def _region_words(side: str | None, sides: str, region: str) -> tuple[tuple[str, str], ...]:
    structure = structure_of(region)
    if sides == "one" and structure == "middle_lobe":
        return _MIDDLE_LOBE[str(side)]
    if sides == "one" and structure == "rib":
        number = region.rsplit("_", 1)[-1]
        if not number.isdigit():
            return (("@ rib", ""), ("", "of a @ rib"))
        name = f"@ {_ORDINALS[int(number) - 1]} rib"
        return ((name, ""), ("", f"of the {name}"))
    return {"one": _ONE_SIDE, "both": _BOTH_SIDES, "none": _NO_SIDE}[sides][structure]
