"""Measuring: zero-shot classification and retrieval, with patient-clustered intervals. Not for clinical use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .bootstrap import Estimate, PairedDifference, PatientResamples, delong_interval, paired_difference
from .metrics import (
    auroc,
    average_precision,
    median_rank,
    recall_at_k,
    roc_curve,
    stratified_auroc,
    stratified_average_precision,
)
from .results import Result, merge_results, read_results, results_table, write_results


# These need torch or matplotlib; results and metrics do not.
_LATER = {
    "DualEncoder": "encoder",
    "Embeddings": "encoder",
    "Encoder": "encoder",
    "brightness_baseline": "confounds",
    "compare_models": "comparison",
    "embed_dataset": "encoder",
    "evaluate": "run",
    "image_report_retrieval": "retrieval",
    "load_encoder": "encoder",
    "plot_examples": "figures",
    "plot_roc": "figures",
    "view_baseline": "confounds",
    "zero_shot_classification": "zero_shot",
    "zero_shot_scores": "zero_shot",
}

__all__ = [
    "DualEncoder",
    "Embeddings",
    "Encoder",
    "Estimate",
    "PairedDifference",
    "PatientResamples",
    "Result",
    "auroc",
    "average_precision",
    "brightness_baseline",
    "compare_models",
    "delong_interval",
    "embed_dataset",
    "evaluate",
    "image_report_retrieval",
    "load_encoder",
    "median_rank",
    "merge_results",
    "paired_difference",
    "plot_examples",
    "plot_roc",
    "read_results",
    "recall_at_k",
    "results_table",
    "roc_curve",
    "stratified_auroc",
    "stratified_average_precision",
    "view_baseline",
    "write_results",
    "zero_shot_classification",
    "zero_shot_scores",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)
