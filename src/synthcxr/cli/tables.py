"""Results on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ..evaluation.results import Result, results_table


MAIN_METRICS = {"macro_auroc": "zero-shot macro AUROC", "image_to_report_recall_at_10": "image to report R@10"}


def print_results(results: Sequence[Result]) -> None:
    """Every result, one per line."""
    Console().print(results_table(results))


def demo_table(results: Mapping[str, Sequence[Result]], record: Mapping[str, Any]) -> Table:
    """The main numbers of the demo, with intervals: a row for each model, dataset and variant of the protocol."""
    common = _common_variant([result for group in results.values() for result in group])
    speed = record.get("pairs_per_second")
    caption = f"{record['num_pairs']} training pairs, {record['num_parameters']:,} parameters, {speed} pairs/s"
    caption += "".join(f"; {part}" for part in sorted(common))
    table = Table(title="Research only, not for clinical use", caption=caption)
    for name in ("model", "dataset", *MAIN_METRICS.values(), "n"):
        table.add_column(name, justify="right" if name == "n" else "left")
    for model, group in results.items():
        rows: dict[tuple[str, str], dict[str, Result]] = {}
        for result in group:
            # Retrieval has no variants: its number stands in the dataset's first row.
            place = (result.dataset, _without(result.variant, common) if result.metric == "macro_auroc" else "")
            if result.metric in MAIN_METRICS:
                rows.setdefault(place, {})[result.metric] = result
        for (dataset, variant), cells in rows.items():
            shown = f"{dataset}, {variant}" if variant else dataset
            count = str(next(iter(cells.values())).num_samples)
            table.add_row(model, shown, *(_with_interval(cells.get(metric)) for metric in MAIN_METRICS), count)
    return table


def _common_variant(results: Sequence[Result]) -> set[str]:
    """What of the protocol is said once, under the table, because it holds for every zero-shot number."""
    variants = [set(result.variant.split(", ")) for result in results if result.metric == "macro_auroc"]
    return set.intersection(*variants) - {""} if variants else set()


def _without(variant: str, parts: set[str]) -> str:
    return ", ".join(part for part in variant.split(", ") if part not in parts)


def _with_interval(result: Result | None) -> str:
    if result is None:
        return ""
    interval = "" if result.ci_low is None else f" ({result.ci_low:.2f} to {result.ci_high:.2f})"
    return f"{result.value:.3f}{interval}"
