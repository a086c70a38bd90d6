"""
The bootstrap of AUROC and AUPRC against the loop over resamples with scikit-learn that others run.

Equality and a loose floor of the ratio of CPU times are asserted; the ratio is reported: add
`-o log_cli=true --log-cli-level=INFO`.
"""

import logging
import time
from statistics import median

import numpy as np
import pytest
from evaluation.known_encoders import make_dataset, make_rows
from sklearn.metrics import average_precision_score, roc_auc_score

from synthcxr.evaluation import PatientResamples
from synthcxr.evaluation.classification import ClassificationProtocol, measure_classification
from synthcxr.evaluation.rows import patients


logger = logging.getLogger(__name__)

FINDINGS = (
    *("atelectasis", "cardiomegaly", "consolidation", "edema", "fracture", "pneumonia", "pneumothorax"),
    *("pleural_effusion", "nodule", "mass", "emphysema", "fibrosis", "hernia", "infiltration"),
)
NUM_RESAMPLES = 1000
NUM_LOOPED = 4
NUM_PAIRS = 3


@pytest.mark.parametrize("num_rows", [500, 2000])
def test_vectorised_bootstrap_equals_the_loop_and_its_speed_is_reported(num_rows, record_property):
    rows = make_rows(num_rows, findings=FINDINGS)
    dataset = make_dataset(rows)
    random = np.random.default_rng(0)
    labels = {finding: np.array([finding in row["labels"] for row in rows]) for finding in FINDINGS}
    scores = {finding: random.normal(size=num_rows) + present for finding, present in labels.items()}
    protocol = ClassificationProtocol(num_bootstrap=NUM_RESAMPLES)
    weights = next(PatientResamples(patients(dataset), NUM_RESAMPLES).blocks())

    def loop():
        values = {}
        for finding, present in labels.items():
            for resample in range(NUM_LOOPED):
                drawn = np.repeat(np.arange(num_rows), weights[:, resample])
                for name, metric in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
                    value = metric(present[drawn], scores[finding][drawn])
                    values.setdefault(f"{name}/{finding}", []).append(value)
        return values

    def vectorised():
        return measure_classification(scores, dataset, protocol, score_protocol="score=benchmark")

    ratios = []
    for _ in range(NUM_PAIRS):
        started = time.process_time()
        looped = loop()
        between = time.process_time()
        measured = {item.metric: item.estimate.samples for item in vectorised()}
        loop_seconds = (between - started) * NUM_RESAMPLES / NUM_LOOPED
        ratios.append(loop_seconds / (time.process_time() - between))
    for metric, values in looped.items():
        np.testing.assert_allclose(measured[metric][:NUM_LOOPED], values, atol=1e-12)
    message = "%d rows x %d findings x %d resamples: %.0f times less CPU time than the loop (%.0f to %.0f)"
    report = (num_rows, len(FINDINGS), NUM_RESAMPLES, median(ratios), min(ratios), max(ratios))
    logger.info(message, *report)
    record_property("ratio", median(ratios))
    assert max(ratios) > 50
