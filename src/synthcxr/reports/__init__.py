"""Text without learning: reports written from a `StudySpec`, sections and sentences read from any report."""

from .denials import deny_unstated
from .labelling import StatedFindings, read_findings
from .planning import plan_report
from .sections import split_sections
from .sentences import split_sentences
from .statements import ReportPlan, Statement
from .writing import realise_plan, write_report


__all__ = [
    "ReportPlan",
    "StatedFindings",
    "Statement",
    "deny_unstated",
    "plan_report",
    "read_findings",
    "realise_plan",
    "split_sections",
    "split_sentences",
    "write_report",
]
