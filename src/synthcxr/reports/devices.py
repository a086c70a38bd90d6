"""What a report says of where a device ends."""

from __future__ import annotations


# Predicates after the device; {be} agrees with it. Nothing here names a side.
_ANY_SATISFACTORY = ("{be} in satisfactory position", "{be} in standard position", "{be} appropriately positioned")
_ANY_UNSATISFACTORY = ("{be} malpositioned", "{be} in unsatisfactory position", "{be} in suboptimal position")

POSITIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("endotracheal_tube", "satisfactory"): (
        *_ANY_SATISFACTORY,
        "terminates in appropriate position above the carina",
        "ends above the carina in standard position",
        "has its tip in satisfactory position above the carina",
    ),
    ("endotracheal_tube", "too_low"): (
        "is low lying; retraction is advised",
        "terminates too low, close to the carina",
        "has its tip too low; retraction is advised",
        "tip is low, near the carina",
    ),
    ("endotracheal_tube", "too_high"): (
        "is positioned high; advancement is advised",
        "terminates too high in the trachea",
        "has its tip too high; advancement is advised",
    ),
    ("nasogastric_tube", "satisfactory"): (
        *_ANY_SATISFACTORY,
        "courses below the diaphragm into the stomach",
        "terminates in the stomach",
        "has its tip in the stomach",
        "extends below the diaphragm with its tip in the stomach",
    ),
    ("nasogastric_tube", "too_high"): (
        "terminates too high, above the gastroesophageal junction",
        "is positioned high; advancement is advised",
        "has its tip too high, in the esophagus",
    ),
    ("nasogastric_tube", "malpositioned"): (
        *_ANY_UNSATISFACTORY,
        "is malpositioned; replacement is advised",
        "does not take the expected course and is malpositioned",
    ),
    ("central_venous_catheter", "satisfactory"): (
        *_ANY_SATISFACTORY,
        "terminates in the expected position",
        "has its tip in satisfactory position",
    ),
    ("central_venous_catheter", "too_low"): (
        "terminates too low; retraction is advised",
        "has its tip too low; retraction is advised",
        "is low lying",
    ),
    ("central_venous_catheter", "malpositioned"): (
        *_ANY_UNSATISFACTORY,
        "has its tip in an unexpected location",
        "is malpositioned; repositioning is advised",
    ),
    ("chest_tube", "satisfactory"): (*_ANY_SATISFACTORY, "is in good position", "is in place"),
    ("chest_tube", "malpositioned"): (*_ANY_UNSATISFACTORY, "is malpositioned; repositioning is advised"),
    ("pacemaker", "satisfactory"): (
        *_ANY_SATISFACTORY,
        "has its leads in the expected positions",
        "is in place with leads in standard position",
    ),
    ("pacemaker", "malpositioned"): (
        *_ANY_UNSATISFACTORY,
        "has a malpositioned lead",
        "has a lead in abnormal position",
    ),
    ("sternotomy_wires", "satisfactory"): ("{be} intact", "{be} intact and aligned", "{be} in standard alignment"),
}
_PLURAL = {("sternotomy_wires", "satisfactory")}
# Where the tip of a catheter lies, when the spec says it.
TIPS: dict[str, tuple[str, ...]] = {
    "superior_vena_cava": (
        "terminates in the superior vena cava",
        "terminates in the SVC",
        "has its tip in the superior vena cava",
        "has its tip projecting over the SVC",
    ),
    "right_atrium": ("terminates in the right atrium", "has its tip in the right atrium"),
}
_TOO_LOW_IN_ATRIUM = (
    "terminates too low, in the right atrium",
    "has its tip too low, in the right atrium; retraction is advised",
)
IN_PLACE = ("{be} in place", "{be} present", "{be} seen", "{be} noted")
TOGETHER = ("are in satisfactory position", "are in standard position", "are appropriately positioned")
TOGETHER_SAME = (
    "are unchanged in position",
    "remain in satisfactory position",
    "are in unchanged satisfactory position",
)
# After the position, against the prior study.
DEVICE_CHANGE: dict[str, tuple[str, ...]] = {
    "new": (", new since the prior study", ", newly placed", ", placed in the interval"),
    "better": (", improved in position since the prior study", ", in improved position compared with the prior study"),
    "worse": (", displaced since the prior study", ", which has migrated since the prior study"),
    "same": (", unchanged", ", unchanged from the prior study", ", as before", ", stable"),
}


def predicates(finding: str, position: str | None, region: str | None, *, plural: bool = False) -> tuple[str, ...]:
    """
    Ways to say where a device is.

    Args:
        finding (`str`): Ontology id of the device.
        position (`str`, *optional*): `"satisfactory"` or what is wrong with it.
        region (`str`, *optional*): Where its tip is; said for a catheter.
        plural (`bool`): Whether there are several, which have no tip in common.

    Returns:
        `tuple[str, ...]`: Predicates that follow the device's name.
    """
    if region == "right_atrium" and position == "too_low":
        return _TOO_LOW_IN_ATRIUM
    if region in TIPS and position in (None, "satisfactory"):
        return TIPS[region]
    if position is None:
        return IN_PLACE
    fallback = _ANY_SATISFACTORY if position == "satisfactory" else _ANY_UNSATISFACTORY
    return fallback if plural and (finding, position) not in _PLURAL else POSITIONS.get((finding, position), fallback)
