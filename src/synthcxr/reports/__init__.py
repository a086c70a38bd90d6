"""Text without learning: reports written from a `StudySpec`, sections and sentences read from any report."""

from .sections import split_sections
from .sentences import split_sentences
from .writing import write_report


__all__ = ["split_sections", "split_sentences", "write_report"]
