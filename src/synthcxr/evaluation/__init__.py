"""Measuring models and generated images, with patient-clustered intervals. Not for clinical use."""

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
    "FeatureExtractor": "image_features",
    "FidelityProtocol": "image_fidelity",
    "ImageFeatures": "image_features",
    "brightness_baseline": "confounds",
    "compare_models": "comparison",
    "embed_dataset": "encoder",
    "evaluate": "run",
    "evaluate_fidelity": "run",
    "fidelity": "image_fidelity",
    "frechet_distance": "feature_statistics",
    "image_report_retrieval": "retrieval",
    "kernel_distance": "feature_statistics",
    "load_encoder": "encoder",
    "load_feature_extractor": "image_features",
    "manifold_overlap": "feature_statistics",
    "measure_agreement": "agreement",
    "measure_memorisation": "nearest_images",
    "ms_ssim": "structural_similarity",
    "plot_examples": "figures",
    "plot_generated": "sample_grid",
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
    "FeatureExtractor",
    "FidelityProtocol",
    "ImageFeatures",
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
    "evaluate_fidelity",
    "fidelity",
    "frechet_distance",
    "image_report_retrieval",
    "kernel_distance",
    "load_encoder",
    "load_feature_extractor",
    "manifold_overlap",
    "measure_agreement",
    "measure_memorisation",
    "median_rank",
    "merge_results",
    "ms_ssim",
    "paired_difference",
    "plot_examples",
    "plot_generated",
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
