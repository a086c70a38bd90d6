"""A report as facts: what `plan_report` decides and `write_report` puts into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


Polarity = Literal["present", "absent", "uncertain"]


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One fact that a report states. What is `None` is not said.

    Args:
        finding (`str`): Ontology id.
        polarity (`str`): `"present"`, `"absent"` or `"uncertain"`.
        side (`str`, *optional*): `"left"`, `"right"` or `"bilateral"`.
        region (`str`, *optional*): Ontology id; a pair (`"lower_zone"`) when the side is bilateral.
        severity (`str`, *optional*): As in the spec.
        size_cm (`float`, *optional*): As in the spec.
        change (`str`, *optional*): As in the spec.
        position (`str`, *optional*): As in the spec, of a device.
        topic (`str`, *optional*): What the absence is said by: normal anatomy (a key of `NORMALS`), `"side_clear"`,
            `"otherwise_clear"` or `"resolved"`; a plain negative when `None`.
        instances (`tuple[int, ...]`): Places in `spec.findings` of the instances that are meant.
    """

    finding: str
    polarity: Polarity
    side: str | None = None
    region: str | None = None
    severity: str | None = None
    size_cm: float | None = None
    change: str | None = None
    position: str | None = None
    topic: str | None = None
    instances: tuple[int, ...] = ()


Sentence = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """
    Everything that a report will say, before it is put into words.

    Args:
        seed (`int`): Stream of the wording.
        style (`str`): Manner of reporting, a key of `STYLES`.
        findings (`tuple` of sentences): Statements of the findings section; those of one tuple share a sentence.
        impression (`tuple` of sentences): Statements of the impression, most important first.
        conclusion (`str`, *optional*): What the impression says as a whole: `"normal"`, `"nothing_acute"` or
            `"no_change"`; `"as_above"` when nothing may be said.
        recommendation (`str`, *optional*): What the impression asks for: `"lesion"`, `"position"` or `"hedge"`.
        limits (`tuple[str, ...]`): What the acquisition makes hard to judge.
        preamble (`tuple` of `(header, text)`): Sections before the findings.
    """

    seed: int
    style: str
    findings: tuple[Sentence, ...]
    impression: tuple[Sentence, ...]
    conclusion: str | None
    recommendation: str | None
    limits: tuple[str, ...]
    preamble: tuple[tuple[str, str], ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement of the findings section, in order."""
        return tuple(statement for sentence in self.findings for statement in sentence)
