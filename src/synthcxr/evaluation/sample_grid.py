"""A picture of generated images beside the studies whose reports they were drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib import rc_context
from matplotlib.figure import Figure

from .figures import STYLE, finish_figure, new_figure, wrapped
from .image_fidelity import matching_rows
from .rows import column_values, single_origin


def plot_generated(
    dataset: Dataset,
    reference: Dataset,
    path: str | Path,
    *,
    num_examples: int = 6,
    num_images: int = 3,
    seed: int = 0,
) -> Figure | None:
    """
    Reports drawn at random, each with the image that it describes and with those that were generated from it.

    Nothing is picked: what is shown follows from the seed.

    Args:
        dataset (`Dataset`): The generated pairs.
        reference (`Dataset`): Holds the studies that the reports come from.
        path (`str` or `Path`): PNG to write.
        num_examples (`int`, *optional*, defaults to 6): Reports.
        num_images (`int`, *optional*, defaults to 3): Generated images per report, where there are so many.
        seed (`int`, *optional*, defaults to 0): Of the choice.

    Returns:
        `Figure`: As written; `None`, and no file, where no generated pair belongs to a study of the reference.
    """
    groups: dict[int, list[int]] = {}
    for row, match in matching_rows(dataset, reference).items():
        groups.setdefault(match, []).append(row)
    if not groups:
        return None
    chosen = np.random.default_rng(seed).permutation(sorted(groups))[:num_examples].tolist()
    width = min(num_images, max(len(groups[match]) for match in chosen))
    reports = column_values(dataset, "report")
    origin = single_origin(reference) or "reference"
    with rc_context(STYLE):
        figure = new_figure(2.1 * (width + 1) + 3.4, 2.1 * len(chosen) + 0.3)
        axes = figure.subplots(len(chosen), width + 2, width_ratios=[1] * (width + 1) + [1.6], squeeze=False)
        for row_axes, match in zip(axes, chosen, strict=True):
            rows = groups[match][:width]
            images = [reference[match]["image"], *(dataset[row]["image"] for row in rows)]
            for axis, image in zip(row_axes, images, strict=False):
                axis.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
            row_axes[-1].text(0, 1, wrapped(reports[rows[0]]), va="top", fontsize=6.5).set_in_layout(False)
            for axis in row_axes:
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
        axes[0, 0].set_title(f"{origin}")
        axes[0, 1].set_title("generated from its report")
        finish_figure(figure, dataset, path, "left: the study that the report describes; reports drawn at random")
    return figure
