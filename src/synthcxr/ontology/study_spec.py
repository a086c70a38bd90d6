"""`StudySpec`: one study as plain data, before it has an image or a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from .findings import FINDINGS, with_ancestors
from .regions import REGIONS


Side = Literal["left", "right", "bilateral"]
Severity = Literal["subtle", "mild", "moderate", "severe"]
Certainty = Literal["certain", "uncertain"]
Change = Literal["new", "better", "same", "worse"]
View = Literal["PA", "AP", "LATERAL"]
Sex = Literal["female", "male"]
Defect = Literal[
    "lateral_view",
    "not_a_chest",
    "rotated_90",
    "rotated_180",
    "inverted",
    "blurred",
    "overexposed",
    "underexposed",
    "cropped",
    "burnt_in_text",
]
_CHOICES = {
    "side": get_args(Side),
    "severity": get_args(Severity),
    "certainty": get_args(Certainty),
    "change": get_args(Change),
}


@dataclass(frozen=True)
class Patient:
    """
    Who is imaged. Anatomy follows from these values and `seed` alone, so every study of a patient shows the same body.

    Args:
        patient_id (`str`): Stable within a cohort.
        sex (`str`): `"female"` or `"male"`.
        age (`float`): Years; below 16 the proportions are a child's.
        body_mass_index (`float`): kg / m^2.
        seed (`int`): Stream of the anatomy.
    """

    patient_id: str
    sex: Sex
    age: float
    body_mass_index: float
    seed: int


@dataclass(frozen=True)
class Acquisition:
    """
    How the image is taken.

    Args:
        view (`str`): `"PA"`, `"AP"` or `"LATERAL"`.
        supine (`bool`): Lying patient: free fluid spreads into a veil, free air collects in front.
        inspiration (`float`): 0 (expiration) to 1 (full inspiration).
        rotation_degrees (`float`): Turn of the patient about the long axis; positive turns the left side forward.
        dose (`float`): Photons per pixel relative to a standard exposure.
        scanner (`str`): Name of the processing profile (`ontology` leaves its meaning to `simulation`).
        defect (`str`, *optional*): What makes this a bad record, if anything does.
    """

    view: View
    supine: bool = False
    inspiration: float = 0.8
    rotation_degrees: float = 0.0
    dose: float = 1.0
    scanner: str = "standard"
    defect: Defect | None = None


@dataclass(frozen=True)
class FindingInstance:
    """
    One finding at one place. Two nodules are two instances.

    Args:
        finding (`str`): Ontology id, such as `"pleural_effusion"`.
        side (`str`, *optional*): `"left"`, `"right"` or `"bilateral"`, as the patient's own sides.
        region (`str`, *optional*): Ontology id of the anatomy that holds it.
        severity (`str`, *optional*): `"subtle"`, `"mild"`, `"moderate"` or `"severe"`.
        size_cm (`float`, *optional*): Diameter of a focal finding (nodule, mass, cavity).
        certainty (`str`): `"uncertain"` when the report hedges.
        change (`str`, *optional*): Against the prior study.
        position (`str`, *optional*): For a device, `"satisfactory"` or what is wrong (`"too_low"`, `"too_high"`,
            `"malpositioned"`).
        seed (`int`): Stream of its shape and place, independent of everything else in the study.
    """

    finding: str
    side: Side | None = None
    region: str | None = None
    severity: Severity | None = None
    size_cm: float | None = None
    certainty: Certainty = "certain"
    change: Change | None = None
    position: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.finding not in FINDINGS or self.finding == "no_finding":
            raise ValueError(f"finding is {self.finding!r}; expected an ontology id that can be placed.")
        if self.region is not None and self.region not in REGIONS:
            raise ValueError(f"region of {self.finding} is {self.region!r}; expected one of the ontology's regions.")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ValueError(f"{name} of {self.finding} is {value!r}; expected one of {', '.join(choices)}.")


@dataclass(frozen=True)
class StudySpec:
    """
    One study: patient, acquisition and findings; the source of its image, masks, report and labels.

    Args:
        study_id (`str`): Stable within a cohort.
        patient (`Patient`): Who.
        acquisition (`Acquisition`): How.
        findings (`tuple[FindingInstance, ...]`): What; empty for a study without findings.
        seed (`int`): Stream of exposure, positioning and noise.
        cohort (`str`): Preset that it was sampled from.
        prior (`StudySpec`, *optional*): The study before this one, of the same patient.
        report_omits (`tuple[str, ...]`): Findings that the report leaves out (bad reporting on demand).
        report_contradicts (`tuple[str, ...]`): Findings of which the report says the opposite.
    """

    study_id: str
    patient: Patient
    acquisition: Acquisition
    findings: tuple[FindingInstance, ...] = ()
    seed: int = 0
    cohort: str = "balanced"
    prior: StudySpec | None = None
    report_omits: tuple[str, ...] = field(default=())
    report_contradicts: tuple[str, ...] = field(default=())

    @property
    def labels(self) -> list[str]:
        """Findings surely present, closed under parents, in ontology order; `["no_finding"]` when there is none."""
        certain = {instance.finding for instance in self.findings if instance.certainty == "certain"}
        if certain:
            return with_ancestors(certain)
        return [] if self.findings else ["no_finding"]

    @property
    def uncertain(self) -> list[str]:
        """Findings that are hedged and not also surely present, in ontology order."""
        hedged = {instance.finding for instance in self.findings if instance.certainty == "uncertain"}
        certain = set(self.labels)
        return [finding for finding in with_ancestors(hedged) if finding not in certain]

    def without(self, finding: str) -> StudySpec:
        """The same patient, view and exposure without one finding: a counterfactual pair."""
        return replace(self, findings=tuple(item for item in self.findings if item.finding != finding))

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any field; used in row ids."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready data; `from_dict` gives the spec back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StudySpec:
        """
        Read what `to_dict` wrote.

        Raises:
            ValueError: On a field that no spec has.
        """
        data = dict(data)
        prior = data.pop("prior", None)
        return _build(
            cls,
            data
            | {
                "patient": _build(Patient, data["patient"]),
                "acquisition": _build(Acquisition, data["acquisition"]),
                "findings": tuple(_build(FindingInstance, item) for item in data.get("findings", ())),
                "prior": None if prior is None else cls.from_dict(prior),
                "report_omits": tuple(data.get("report_omits", ())),
                "report_contradicts": tuple(data.get("report_contradicts", ())),
            },
        )

    def history(self) -> Iterator[StudySpec]:
        """Earlier studies of the patient, latest first."""
        study = self.prior
        while study is not None:
            yield study
            study = study.prior


def _build(cls: type, data: dict[str, Any]) -> Any:
    unknown = sorted(set(data) - {item.name for item in fields(cls)})
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}.")
    return cls(**data)
