"""The row of every dataset: one study's image, its report, and what is true of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from datasets import ClassLabel, Features, Image, List, Value

from ..ontology import FINDING_IDS, REGION_IDS
from .png import encode_png


Origin = Literal["real", "simulated", "synthetic"]
ORIGINS: tuple[str, ...] = get_args(Origin)
SPLITS = ("train", "validation", "test")
QUALITY_SCORES = ("image_quality", "encoder_similarity", "question_agreement", "report_agreement")

PAIR_FEATURES = Features(
    {
        "id": Value("string"),
        "image": Image(mode="L"),
        "report": Value("string"),
        "findings": Value("string"),
        "impression": Value("string"),
        "labels": List(ClassLabel(names=list(FINDING_IDS))),
        "uncertain": List(ClassLabel(names=list(FINDING_IDS))),
        "objects": {
            "bbox": List(List(Value("float32"), length=4)),
            "category": List(ClassLabel(names=list(FINDING_IDS))),
            "mask": List(Image(mode="L")),
        },
        "regions": {
            "category": List(ClassLabel(names=list(REGION_IDS))),
            "mask": List(Image(mode="L")),
        },
        "entities": List({"text": Value("string"), "type": Value("string")}),
        "view": Value("string"),
        "age": Value("float32"),
        "sex": Value("string"),
        "origin": ClassLabel(names=list(ORIGINS)),
        "source": Value("string"),
        "prompt": Value("string"),
        "seed": Value("int64"),
        "quality": {name: Value("float32") for name in QUALITY_SCORES} | {"reason": Value("string")},
        "patient_id": Value("string"),
        "study_id": Value("string"),
        "prior_id": Value("string"),
    }
)

# A box may overhang by rounding; more is a mistake of its maker.
_BOX_TOLERANCE = 0.5


@dataclass(frozen=True)
class Pair:
    """
    One study's image and the report that describes it. A row that is wrong is refused with its id in the message.

    Args:
        id (`str`): Stable and unique in the dataset.
        image (`np.ndarray` of shape `(height, width)` and dtype uint8): Grey values.
        report (`str`): Whole text. Only a real study may lack one (sources that have labels and no words).
        origin (`str`): `"real"`, `"simulated"` or `"synthetic"`.
        source (`str`): Cohort, dataset or generator, and its revision: `"name@revision"`.
        findings (`str`): The findings section; may be empty.
        impression (`str`): The impression section; may be empty.
        labels (`Sequence[str]`): Ontology ids of the findings present.
        uncertain (`Sequence[str]`): Ontology ids of the findings stated as uncertain.
        boxes (`Sequence[Sequence[float]]`): `[x, y, width, height]` in pixels, one per object.
        box_categories (`Sequence[str]`): Ontology id of the finding in every box.
        box_masks (`Sequence[np.ndarray]`): One boolean mask of the image's size per box, or none at all.
        regions (`Mapping[str, np.ndarray]`): Boolean mask of the image's size per region id.
        entities (`Sequence[tuple[str, str]]`): `(text, type)` of what the report was asked to contain.
        view (`str`, *optional*): `"PA"`, `"AP"`, `"LATERAL"` or `None` when unknown.
        age (`float`, *optional*): Years.
        sex (`str`, *optional*): `"female"`, `"male"` or `None` when unknown.
        prompt (`str`, *optional*): What the image was drawn from.
        seed (`int`, *optional*): What it was drawn with.
        quality (`Mapping[str, float | str]`): Judges' scores by name (`QUALITY_SCORES`) and `"reason"`; absent: null.
        patient_id (`str`, *optional*): Whose study it is.
        study_id (`str`, *optional*): Which exam it is.
        prior_id (`str`, *optional*): `study_id` of the exam before it.
    """

    id: str
    image: np.ndarray
    report: str
    origin: Origin
    source: str
    findings: str = ""
    impression: str = ""
    labels: Sequence[str] = ()
    uncertain: Sequence[str] = ()
    boxes: Sequence[Sequence[float]] = ()
    box_categories: Sequence[str] = ()
    box_masks: Sequence[np.ndarray] = ()
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    entities: Sequence[tuple[str, str]] = ()
    view: str | None = None
    age: float | None = None
    sex: str | None = None
    prompt: str | None = None
    seed: int | None = None
    quality: Mapping[str, float | str] = field(default_factory=dict)
    patient_id: str | None = None
    study_id: str | None = None
    prior_id: str | None = None

    def __post_init__(self) -> None:
        if not self.id.strip():
            raise ValueError(f"A row of {self.source} has the id {self.id!r}; expected a name.")
        self._check_words()
        self._check_numbers()
        self._check_pixels()
        self._check_boxes()

    def to_row(self, *, image_path: str | None = None) -> dict[str, Any]:
        """
        The row as `PAIR_FEATURES` stores it: images encoded, classes as numbers.

        Args:
            image_path (`str`, *optional*): Refer to this file instead of storing `image`.
        """
        return {
            "id": self.id,
            "image": {"bytes": None, "path": image_path} if image_path else _stored(encode_png(self.image)),
            "report": self.report,
            "findings": self.findings,
            "impression": self.impression,
            "labels": [_FINDING_INDEX[name] for name in self.labels],
            "uncertain": [_FINDING_INDEX[name] for name in self.uncertain],
            "objects": {
                "bbox": [[float(value) for value in box] for box in self.boxes],
                "category": [_FINDING_INDEX[name] for name in self.box_categories],
                "mask": [_stored(encode_png(mask)) for mask in self.box_masks],
            },
            "regions": {
                "category": [_REGION_INDEX[name] for name in self.regions],
                "mask": [_stored(encode_png(mask)) for mask in self.regions.values()],
            },
            "entities": [{"text": text, "type": type_} for text, type_ in self.entities],
            "view": self.view,
            "age": self.age,
            "sex": self.sex,
            "origin": ORIGINS.index(self.origin),
            "source": self.source,
            "prompt": self.prompt,
            "seed": self.seed,
            "quality": {name: self.quality.get(name) for name in (*QUALITY_SCORES, "reason")},
            "patient_id": self.patient_id,
            "study_id": self.study_id,
            "prior_id": self.prior_id,
        }

    def _check_words(self) -> None:
        if self.origin not in ORIGINS:
            raise ValueError(f"Row {self.id!r} has the origin {self.origin!r}; expected one of {', '.join(ORIGINS)}.")
        if self.origin != "real" and not self.report.strip():
            raise ValueError(f"Row {self.id!r} has an empty report; only a real study may come without words.")
        for column in ("labels", "uncertain", "box_categories"):
            self._check_known(column, getattr(self, column), _FINDING_INDEX)
        self._check_known("regions", self.regions, _REGION_INDEX)
        self._check_known("quality", self.quality, (*QUALITY_SCORES, "reason"))
        both = sorted(set(self.labels) & set(self.uncertain))
        if both:
            raise ValueError(f"Row {self.id!r} has {both[0]!r} both as present and as uncertain.")
        if "no_finding" in self.labels and len(self.labels) > 1:
            raise ValueError(f"Row {self.id!r} has no_finding beside other labels: {', '.join(self.labels)}.")

    def _check_known(self, column: str, names: Any, known: Any) -> None:
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"Row {self.id!r} has {unknown[0]!r} in {column}, which the schema does not know.")

    def _check_numbers(self) -> None:
        if self.age is not None and not 0 <= self.age <= 130:
            raise ValueError(f"Row {self.id!r} has the age {self.age}; expected 0 to 130 years or null.")
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"Row {self.id!r} has the seed {self.seed}; expected 64 bits with sign.")
        for name, value in self.quality.items():
            if name != "reason" and not math.isfinite(value):
                raise ValueError(f"Row {self.id!r} has {name} {value}; expected a finite score or null.")

    def _check_pixels(self) -> None:
        if self.image.ndim != 2 or self.image.dtype != np.uint8 or 0 in self.image.shape:
            raise ValueError(
                f"Row {self.id!r} has an image of shape {self.image.shape} and type {self.image.dtype}; "
                "expected (height, width) of uint8."
            )
        for name, mask in (*zip(self.box_categories, self.box_masks, strict=False), *self.regions.items()):
            if mask.shape != self.image.shape or mask.dtype != np.bool_:
                raise ValueError(
                    f"Row {self.id!r} has a {name} mask of shape {mask.shape} and type {mask.dtype}; "
                    f"expected {self.image.shape} of bool, as its image."
                )

    def _check_boxes(self) -> None:
        height, width = self.image.shape
        if len(self.box_categories) != len(self.boxes) or len(self.box_masks) not in (0, len(self.boxes)):
            raise ValueError(
                f"Row {self.id!r} has {len(self.boxes)} boxes, {len(self.box_categories)} categories and "
                f"{len(self.box_masks)} masks; expected as many of each (or no mask)."
            )
        for name, box in zip(self.box_categories, self.boxes, strict=True):
            if len(box) != 4 or not all(math.isfinite(value) for value in box):
                raise ValueError(f"Row {self.id!r} has the {name} box {list(box)}; expected four finite numbers.")
            x, y, box_width, box_height = box
            inside = min(x, y) >= -_BOX_TOLERANCE and min(box_width, box_height) > 0
            inside = inside and x + box_width <= width + _BOX_TOLERANCE and y + box_height <= height + _BOX_TOLERANCE
            if not inside:
                raise ValueError(
                    f"Row {self.id!r} has the {name} box {list(box)} (x, y, width, height) outside its "
                    f"{width}x{height} image."
                )


_FINDING_INDEX = {name: index for index, name in enumerate(FINDING_IDS)}
_REGION_INDEX = {name: index for index, name in enumerate(REGION_IDS)}


def _stored(data: bytes) -> dict[str, Any]:
    return {"bytes": data, "path": None}
