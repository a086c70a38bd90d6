"""Pictures of results. Each says on itself where its images come from, and that it is not for clinical use."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from transformers import PreTrainedModel, ProcessorMixin

from ..data.whole_files import write_bytes
from ..ontology import FINDINGS
from .bootstrap import Estimate
from .classification import ClassificationProtocol, FindingTask, finding_tasks, measure_classification, most_specific
from .metrics import roc_curve
from .rows import column_values, dataset_title, single_origin


STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_INK, _QUIET, _ACCENT = "#222222", "#b8bec6", "#0b5fa5"
_MAP_COLOUR = (1.0, 0.35, 0.0)
_DPI = 150
_MAX_REPORT_LINES = 15


def plot_roc(
    scores: Mapping[str, np.ndarray],
    dataset: Dataset,
    path: str | Path,
    *,
    protocol: ClassificationProtocol | None = None,
    grey_levels: np.ndarray | None = None,
    title: str | None = None,
) -> Figure:
    """
    ROC curve of every finding and their mean, and each AUROC with its interval.

    Over strata a curve is the mean of the strata's curves weighted by pairs; its area is the stratified AUROC.

    Args:
        scores (`Mapping[str, np.ndarray]`): What [`zero_shot_scores`] gives.
        dataset (`Dataset`): The rows that were scored.
        path (`str` or `Path`): PNG to write.
        protocol (`ClassificationProtocol`, *optional*): As for the results that it illustrates.
        grey_levels (`np.ndarray` of shape `(num_rows,)`, *optional*): To match brightness.
        title (`str`, *optional*): Name of the dataset by default.

    Returns:
        `Figure`: As written.

    Raises:
        ValueError: When no finding can be measured.
    """
    protocol = (protocol or ClassificationProtocol()).for_dataset(dataset)
    tasks = finding_tasks(dataset, list(scores), protocol, grey_levels=grey_levels)
    measured = measure_classification(scores, dataset, protocol, score_protocol="figure", grey_levels=grey_levels)
    estimates = {item.metric: item.estimate for item in measured}
    if not tasks:
        raise ValueError("No finding has enough positives and negatives for a ROC curve.")
    ordered = sorted(tasks, key=lambda finding: estimates[f"auroc/{finding}"].value)
    with rc_context(STYLE):
        figure = new_figure(9, max(4.2, 1.3 + 0.2 * len(tasks)))
        left, right = figure.subplots(1, 2, width_ratios=[1, 1])
        curves = {}
        for finding in ordered:
            task = tasks[finding]
            grid, curves[finding] = roc_curve(task.labels, scores[finding][task.rows], task.strata)
            left.plot(grid, curves[finding], color=_QUIET, linewidth=0.8)
        in_mean = [curves[finding] for finding in most_specific(ordered)]
        if in_mean:
            label = f"mean of {len(in_mean)} findings, AUROC {estimates['macro_auroc'].value:.2f}"
            left.plot(grid, np.mean(in_mean, axis=0), color=_ACCENT, linewidth=2, label=label)
            left.legend(loc="lower right", frameon=False)
        left.plot([0, 1], [0, 1], color=_INK, linewidth=0.6, linestyle=":")
        left.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal", xlim=(0, 1), ylim=(0, 1))
        left.set_anchor("N")
        left.set_title(title or dataset_title(dataset, None))
        _draw_intervals(right, ordered, tasks, estimates)
        finish_figure(figure, dataset, path, "strata: " + (protocol.describe().partition("; ")[0].partition("=")[2]))
    return figure


def plot_examples(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dataset: Dataset,
    path: str | Path,
    *,
    rows: Sequence[int] | None = None,
    phrases: Sequence[str] | None = None,
    num_examples: int = 4,
) -> Figure:
    """
    Images with their reports, and where the model sees a phrase of each.

    Args:
        model (`PreTrainedModel`): Has `get_similarity_maps`.
        processor (`ProcessorMixin`): Of the model.
        dataset (`Dataset`): Has `image`, `report`, `labels`, and `objects` where boxes are known.
        path (`str` or `Path`): PNG to write.
        rows (sequence of `int`, *optional*): Rows to show; by default the first of each of the most local findings.
        phrases (sequence of `str`, *optional*): One per row; by default the name of a finding of the row.
        num_examples (`int`, *optional*, defaults to 4): Rows to show where `rows` is not given.

    Returns:
        `Figure`: As written. Boxes are the truth (dashed); the map is the model's cosine of patch and phrase.
    """
    labels = _label_names(dataset)
    rows = _varied_rows(labels, num_examples) if rows is None else list(rows)
    findings = [_most_specific(labels[row]) for row in rows]
    phrases = [FINDINGS[finding].name for finding in findings] if phrases is None else list(phrases)
    if not rows or len(phrases) != len(rows):
        raise ValueError(f"{len(rows)} rows and {len(phrases)} phrases; expected one phrase per row, and a row.")
    examples = dataset.select(rows)
    images = [image.convert("L") if image.mode != "L" else image for image in examples["image"]]
    pixels, maps = similarity_maps(model, processor, images, phrases)
    with rc_context(STYLE):
        figure = new_figure(9, 2.75 * len(rows) + 0.3)
        axes = figure.subplots(len(rows), 3, width_ratios=[1, 1, 1.5], squeeze=False)
        for index, (row_axes, image, phrase) in enumerate(zip(axes, images, phrases, strict=True)):
            example = examples[index]
            row_axes[0].imshow(image, cmap="gray", vmin=0, vmax=255)
            row_axes[0].set_title(f"{example.get('view') or 'view unknown'}: {FINDINGS[findings[index]].name}")
            _draw_boxes(row_axes[0], example.get("objects"), dataset, findings[index])
            _draw_map(row_axes[1], pixels[index], maps[index])
            row_axes[1].set_title(textwrap.shorten(f"“{phrase}”", 30, placeholder=" …"))
            row_axes[1].set_xlabel(f"cosine {maps[index].min():.2f} to {maps[index].max():.2f}", fontsize=7)
            report = row_axes[2].text(0, 1, wrapped(example["report"]), va="top", color=_INK, fontsize=7.5)
            report.set_in_layout(False)
            for axis in row_axes:
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
        finish_figure(figure, dataset, path, "dashed: where the finding is; colour: where the model sees the words")
    return figure


def similarity_maps(
    model: PreTrainedModel, processor: ProcessorMixin, images: Sequence[Any], phrases: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """
    What the model sees, and how near each place of it is to the phrase.

    Args:
        model (`PreTrainedModel`): Has `get_similarity_maps`.
        processor (`ProcessorMixin`): Of the model.
        images (sequence of `n` PIL images): Of any size.
        phrases (sequence of `n` `str`): One per image.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Grey images `(n, height, width)`, 0 to 1, as the model gets them, and cosines
        of the same shape, interpolated.
    """
    inputs = processor(images=list(images), text=list(phrases), padding=True, truncation=True, return_tensors="pt")
    training = model.training
    model.eval()
    with torch.inference_mode():
        maps = model.get_similarity_maps(
            pixel_values=inputs["pixel_values"].to(model.device, model.dtype),
            input_ids=inputs["input_ids"].to(model.device),
            attention_mask=inputs["attention_mask"].to(model.device),
        )
    model.train(training)
    pixels = inputs["pixel_values"].float().mean(1)  # (n, height, width)
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    maps = torch.nn.functional.interpolate(maps.float().cpu()[:, None], pixels.shape[-2:], mode="bilinear")[:, 0]
    return ((pixels - low) / (high - low).clamp(min=1e-6)).numpy(), maps.numpy()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, in the style of all of them once `STYLE` is active."""
    # No pyplot: a figure of its own leaves no global state, and needs no display.
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish_figure(figure: Figure, dataset: Dataset, path: str | Path, note: str) -> None:
    """Write a figure, with the origin of its images, a note and the warning at its foot."""
    origin = single_origin(dataset) or "origin unknown"
    figure.get_layout_engine().set(rect=(0, 0.3 / figure.get_figheight(), 1, 1 - 0.3 / figure.get_figheight()))
    figure.text(0.01, 0.06 / figure.get_figheight(), f"{origin} images; {note}", color="#666666", fontsize=7)
    warning = "Not for clinical use"
    figure.text(0.99, 0.06 / figure.get_figheight(), warning, ha="right", color="#a40000", fontsize=7, weight="bold")
    content = io.BytesIO()
    # Without the version of matplotlib in it, the file is the same wherever the fonts are.
    figure.savefig(content, format="png", metadata={"Software": None})
    write_bytes(path, content.getvalue())


def _draw_intervals(
    axis: Axes, ordered: Sequence[str], tasks: Mapping[str, FindingTask], estimates: Mapping[str, Estimate]
) -> None:
    in_mean = most_specific(ordered)
    for place, finding in enumerate(ordered):
        estimate = estimates[f"auroc/{finding}"]
        low, high = estimate.interval
        if low is not None:
            axis.plot([low, high], [place, place], color=_ACCENT, linewidth=1.2)
        fill = _ACCENT if finding in in_mean else "white"
        axis.plot(estimate.value, place, "o", color=_ACCENT, markerfacecolor=fill, markersize=4)
    names = [f"{FINDINGS[finding].name} ({int(tasks[finding].labels.sum())})" for finding in ordered]
    axis.set_yticks(range(len(ordered)), names)
    axis.axvline(0.5, color=_INK, linewidth=0.6, linestyle=":")
    shown = [estimates[f"auroc/{finding}"] for finding in ordered]
    lowest = min(item.value if item.interval[0] is None else item.interval[0] for item in shown)
    axis.set(xlim=(min(0.4, lowest - 0.02), 1.01), ylim=(-0.7, len(ordered) - 0.3), xlabel="AUROC, 95 % interval")
    axis.set_title("finding (positive images); hollow: not in the mean")


def _draw_boxes(axis: Axes, objects: Mapping[str, Any] | None, dataset: Dataset, finding: str) -> None:
    if not objects:
        return
    names = dataset.features["objects"]["category"].feature.names
    for box, category in zip(objects["bbox"], objects["category"], strict=True):
        if names[category] == finding:
            x, y, width, height = box
            axis.add_patch(Rectangle((x, y), width, height, fill=False, color="#ffd23f", linewidth=1, linestyle="--"))


def _draw_map(axis: Axes, pixels: np.ndarray, similarity: np.ndarray) -> None:
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1)
    # One colour whose opacity follows the map: what matters stands out and the radiograph stays readable.
    strength = (similarity - similarity.min()) / max(float(np.ptp(similarity)), 1e-6)
    axis.imshow(np.full((*strength.shape, 3), _MAP_COLOUR), alpha=0.7 * strength**2)


def _label_names(dataset: Dataset) -> list[list[str]]:
    names = dataset.features["labels"].feature.names
    return [[names[label] for label in labels] for labels in column_values(dataset, "labels")]


def _most_specific(labels: Sequence[str]) -> str:
    """A finding without a more specific one beside it; of several the first with a side."""
    parents = {FINDINGS[finding].parent for finding in labels}
    specific = [finding for finding in labels if finding not in parents]
    local = [finding for finding in specific if FINDINGS[finding].sided]
    return (local or specific or ["no_finding"])[0]


def _varied_rows(labels: Sequence[Sequence[str]], count: int) -> list[int]:
    """First row of each finding, findings with a side first, until there are enough."""
    first: dict[str, int] = {}
    for row, findings in enumerate(labels):
        first.setdefault(_most_specific(findings), row)
    found = [finding for finding in FINDINGS if finding in first]
    found.sort(key=lambda finding: (finding == "no_finding", not FINDINGS[finding].sided))
    return [first[finding] for finding in found[:count]]


def wrapped(report: str | None) -> str:
    """A report in short lines, cut where it is long."""
    report = report or "(no report)"
    lines = [line for part in report.splitlines() for line in textwrap.wrap(part, 62) or [""]]
    if len(lines) > _MAX_REPORT_LINES:
        lines = [*lines[: _MAX_REPORT_LINES - 1], "…"]
    return "\n".join(lines)
