"""The hospitals that cohorts come from: who is imaged, how, and with what."""

from __future__ import annotations

from dataclasses import dataclass, replace


Weighted = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Condition:
    """
    Why a patient has findings that come together.

    Args:
        name (`str`): For people.
        shares (`tuple[float, float, float]`): How many outpatients, ward patients and intensive-care patients have it.
        findings (`tuple[tuple[str, float], ...]`): Findings and how often each comes with it.
        adult_only (`bool`): Whether children are spared.
    """

    name: str
    shares: tuple[float, float, float]
    findings: Weighted
    adult_only: bool = False


@dataclass(frozen=True)
class Preset:
    """
    Distributions of a cohort. Triples are for outpatients, ward patients and intensive-care patients.

    Args:
        acuity (`tuple[float, float, float]`): How the patients divide.
        ap_shares (`tuple[float, float, float]`): Share of AP views; the others are PA.
        supine_shares (`tuple[float, float, float]`): Share of AP views taken lying.
        scanners (`tuple[tuple[str, float], ...]`): Processing profiles and their shares.
        dose_median (`float`): Relative to a standard exposure; log-normal with a spread of 0.35.
        age (`tuple[float, float]`): Mean and standard deviation of the adults' ages, years, cut to 16 to 95.
        body_mass_index (`tuple[float, float]`): Median and log spread of the adults', kg / m^2.
        child_share (`float`): Patients of 1 to 15 years.
        series_share (`float`): Patients with two to four studies.
        severities (`tuple[float, float, float, float]`): Shares of subtle, mild, moderate and severe.
        hedged_share (`float`): Findings that the report is unsure of.
        defect_share, omission_share, contradiction_share (`float`): Bad records, and reports that leave a finding out
            or deny it.
        conditions (`tuple[Condition, ...]`): What the findings come from; empty when all are equally common, whatever
            the patient, the view and the devices.
        sporadic (`tuple[tuple[str, float], ...]`): Findings that anybody may have besides.
    """

    acuity: tuple[float, float, float] = (1.0, 0.0, 0.0)
    ap_shares: tuple[float, float, float] = (0.5, 0.5, 0.5)
    supine_shares: tuple[float, float, float] = (0.4, 0.4, 0.4)
    scanners: Weighted = (("standard", 0.4), ("soft", 0.2), ("sharp", 0.2), ("compressed", 0.2))
    dose_median: float = 1.0
    age: tuple[float, float] = (55.0, 19.0)
    body_mass_index: tuple[float, float] = (26.5, 0.19)
    child_share: float = 0.06
    series_share: float = 0.1
    severities: tuple[float, float, float, float] = (0.1, 0.22, 0.36, 0.32)
    hedged_share: float = 0.08
    defect_share: float = 0.0
    omission_share: float = 0.0
    contradiction_share: float = 0.0
    conditions: tuple[Condition, ...] = ()
    sporadic: Weighted = ()


_CONDITIONS = (
    Condition(
        "heart failure",
        (0.04, 0.22, 0.33),
        (
            ("cardiomegaly", 0.75),
            ("edema", 0.6),
            ("pleural_effusion", 0.55),
            ("atelectasis", 0.2),
            ("pacemaker", 0.2),
            ("aortic_enlargement", 0.15),
            ("enlarged_cardiomediastinum", 0.1),
        ),
        adult_only=True,
    ),
    Condition(
        "chest infection",
        (0.04, 0.17, 0.22),
        (
            ("pneumonia", 0.85),
            ("consolidation", 0.45),
            ("infiltration", 0.25),
            ("pleural_effusion", 0.2),
            ("atelectasis", 0.15),
        ),
    ),
    Condition(
        "obstructive airways",
        (0.07, 0.1, 0.1),
        (("hyperinflation", 0.75), ("emphysema", 0.55), ("granuloma", 0.05), ("nodule", 0.04)),
    ),
    Condition(
        "heart surgery",
        (0.01, 0.06, 0.16),
        (
            ("sternotomy_wires", 0.95),
            ("atelectasis", 0.5),
            ("cardiomegaly", 0.4),
            ("pleural_effusion", 0.4),
            ("central_venous_catheter", 0.35),
            ("chest_tube", 0.2),
            ("enlarged_cardiomediastinum", 0.15),
            ("pacemaker", 0.1),
        ),
        adult_only=True,
    ),
    Condition(
        "injury",
        (0.01, 0.04, 0.05),
        (
            ("fracture", 0.85),
            ("pneumothorax", 0.3),
            ("subcutaneous_emphysema", 0.25),
            ("chest_tube", 0.25),
            ("atelectasis", 0.2),
            ("pleural_effusion", 0.15),
        ),
    ),
    Condition(
        "cancer",
        (0.02, 0.05, 0.02),
        (
            ("mass", 0.6),
            ("nodule", 0.45),
            ("pleural_effusion", 0.25),
            ("atelectasis", 0.2),
            ("enlarged_cardiomediastinum", 0.2),
            ("cavity", 0.08),
        ),
        adult_only=True,
    ),
    Condition(
        "old granulomatous disease",
        (0.05, 0.04, 0.03),
        (("granuloma", 0.6), ("pleural_thickening", 0.3), ("fibrosis", 0.25)),
        adult_only=True,
    ),
    Condition("tuberculosis", (0.005, 0.012, 0.006), (("tuberculosis", 1.0), ("cavity", 0.35), ("fibrosis", 0.25))),
    Condition("covid-19", (0.006, 0.03, 0.06), (("covid_19_pattern", 1.0),)),
    Condition(
        "air leak",
        (0.004, 0.015, 0.04),
        (("pneumothorax", 1.0), ("chest_tube", 0.45), ("subcutaneous_emphysema", 0.2)),
    ),
    Condition("perforation", (0.001, 0.01, 0.006), (("pneumoperitoneum", 1.0), ("atelectasis", 0.4))),
    Condition(
        "ventilation",
        (0.0, 0.01, 0.55),
        (
            ("endotracheal_tube", 0.85),
            ("nasogastric_tube", 0.75),
            ("central_venous_catheter", 0.7),
            ("atelectasis", 0.35),
            ("pleural_effusion", 0.2),
        ),
    ),
    Condition("drip", (0.01, 0.13, 0.3), (("central_venous_catheter", 0.9), ("nasogastric_tube", 0.25))),
    Condition("bed rest", (0.01, 0.12, 0.18), (("atelectasis", 0.8), ("pleural_effusion", 0.25))),
)
_SPORADIC = (
    ("aortic_enlargement", 0.045),
    ("scoliosis", 0.03),
    ("hernia", 0.02),
    ("nodule", 0.02),
    ("granuloma", 0.015),
    ("pleural_thickening", 0.015),
    ("cardiomegaly", 0.03),
    ("pacemaker", 0.015),
    ("enlarged_cardiomediastinum", 0.008),
    ("fibrosis", 0.008),
    ("infiltration", 0.012),
    ("fracture", 0.01),
)
# The other hospital's district: fewer weak hearts, more infections of the lung.
_SECOND_FACTORS = {
    "heart failure": 0.6,
    "heart surgery": 0.4,
    "obstructive airways": 1.4,
    "old granulomatous disease": 2.0,
    "tuberculosis": 6.0,
    "covid-19": 2.5,
    "cancer": 1.5,
}

_HOSPITAL = Preset(
    acuity=(0.5, 0.3, 0.2),
    ap_shares=(0.06, 0.5, 0.97),
    supine_shares=(0.1, 0.35, 0.8),
    scanners=(("standard", 0.5), ("soft", 0.25), ("compressed", 0.25)),
    age=(61.0, 17.0),
    body_mass_index=(27.5, 0.2),
    child_share=0.05,
    series_share=0.25,
    severities=(0.22, 0.38, 0.27, 0.13),
    hedged_share=0.1,
    defect_share=0.03,
    omission_share=0.065,
    contradiction_share=0.018,
    conditions=_CONDITIONS,
    sporadic=_SPORADIC,
)
PRESET_TABLE: dict[str, Preset] = {
    "balanced": Preset(),
    "hospital": _HOSPITAL,
    "second_hospital": replace(
        _HOSPITAL,
        acuity=(0.6, 0.28, 0.12),
        ap_shares=(0.3, 0.75, 1.0),
        supine_shares=(0.3, 0.5, 0.9),
        scanners=(("sharp", 0.35), ("portable_crt", 0.35), ("vendor_b", 0.3)),
        dose_median=0.5,
        age=(49.0, 18.0),
        body_mass_index=(23.5, 0.16),
        child_share=0.08,
        series_share=0.15,
        defect_share=0.0,
        omission_share=0.0,
        contradiction_share=0.0,
        conditions=tuple(
            replace(item, shares=tuple(min(0.9, share * _SECOND_FACTORS.get(item.name, 1.0)) for share in item.shares))
            for item in _CONDITIONS
        ),
    ),
}
