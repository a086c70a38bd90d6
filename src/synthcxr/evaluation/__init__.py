"""Measuring: zero-shot classification and retrieval, with patient-clustered intervals. Not for clinical use."""

from .bootstrap import Estimate, PairedDifference, PatientResamples, delong_interval, paired_difference
from .encoder import DualEncoder, Embeddings, Encoder, embed_dataset, load_encoder
from .metrics import (
    auroc,
    average_precision,
    median_rank,
    recall_at_k,
    roc_curve,
    stratified_auroc,
    stratified_average_precision,
)
from .results import Result, merge_results, read_results, results_markdown, results_table, write_results


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
    "delong_interval",
    "embed_dataset",
    "load_encoder",
    "median_rank",
    "merge_results",
    "paired_difference",
    "read_results",
    "recall_at_k",
    "results_markdown",
    "results_table",
    "roc_curve",
    "stratified_auroc",
    "stratified_average_precision",
    "write_results",
]
