"""Results on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ..evaluation.results import Result, results_table


MAIN_METRICS = ("macro_auroc", "macro_auprc", "image_to_report_recall_at_10", "report_to_image_recall_at_10")


def print_results(results: Sequence[Result]) -> None:
    """Every result, one per line."""
    Console().print(results_table(results))


def demo_table(results: Mapping[str, Sequence[Result]], record: Mapping[str, Any]) -> Table:
    """The main numbers of the demo: each model on each dataset, with intervals."""
    speed = record.get("pairs_per_second")
    caption = f"{record['num_pairs']} training pairs, {record['num_parameters']:,} parameters, {speed} pairs/s"
    table = Table(title="Research only, not for clinical use", caption=caption)
    for name in ("model", "dataset", "variant", "metric", "value", "95 % interval", "n"):
        table.add_column(name, justify="right" if name in ("value", "n") else "left")
    for model, group in results.items():
        for result in group:
            if result.metric in MAIN_METRICS:
                interval = "" if result.ci_low is None else f"{result.ci_low:.3f} to {result.ci_high:.3f}"
                metric = result.metric.replace("_", " ")
                cells = (model, result.dataset, result.variant, metric, f"{result.value:.3f}", interval)
                table.add_row(*cells, str(result.num_samples))
    return table
