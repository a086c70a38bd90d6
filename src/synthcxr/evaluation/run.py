"""Named tasks on a model and datasets: every dataset embedded once, one `results.json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel, ProcessorMixin

from ..data.pairs import load_pairs
from ..data.schema import SPLITS
from . import image_fidelity, retrieval, zero_shot
from .classification import ClassificationProtocol
from .confounds import brightness_baseline
from .encoder import Encoder, embed_dataset, load_encoder
from .image_features import FeatureExtractor, load_feature_extractor
from .results import RESULTS_NAME, Result, merge_results, read_results, write_results
from .rows import column_values, dataset_digest, single_origin
from .sample_grid import plot_generated


logger = logging.getLogger(__name__)

TASKS = (zero_shot.TASK, retrieval.TASK)
SAMPLES_NAME = "samples-{name}.png"
"""The picture of generated images beside their studies, in the folder of the results."""


def evaluate(
    model: str | Path | PreTrainedModel | Encoder,
    datasets: Mapping[str, Dataset | str | Path] | Sequence[str | Path],
    *,
    output_dir: str | Path,
    tasks: Sequence[str] | None = None,
    split: str = "test",
    prompt_sets: Sequence[str] | None = None,
    text_column: str = "report",
    num_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    processor: ProcessorMixin | None = None,
    device: str | None = None,
    progress: bool = True,
) -> list[Result]:
    """
    Run tasks on datasets and bring `output_dir/results.json` up to date.

    Real images are measured more than once: within view, and within view and brightness; against every row without the
    finding, and against the rows without any. What the mean grey level alone tells of each finding, within view,
    stands beside them (`confound_baseline`). Other results in the file stay, unless they are of rows that changed.

    Args:
        model (`str`, `Path`, `PreTrainedModel` or `Encoder`): What to measure.
        datasets (mapping from names to datasets or folders, or sequence of folders or Hub ids): What to measure it on.
            Without names, a folder's own name is its name.
        output_dir (`str` or `Path`): Gets `results.json`.
        tasks (sequence of `str`, *optional*): Of [`TASKS`]; by default all, retrieval only where there are reports.
        split (`str`, *optional*, defaults to `"test"`): Split of the datasets that are loaded here.
        prompt_sets (sequence of `str`, *optional*): For zero-shot classification; `("name",)` by default.
        text_column (`str`, *optional*, defaults to `"report"`): Column whose texts are retrieved.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients; 0 for no intervals.
        seed (`int`, *optional*, defaults to 0): Of the resamples.
        batch_size (`int`, *optional*, defaults to 64): Images or texts embedded at once.
        processor (`ProcessorMixin`, *optional*): Of a model that is passed as an object.
        device (`str`, *optional*): Where to run.
        progress (`bool`, *optional*, defaults to `True`): Show progress bars.

    Returns:
        `list[Result]`: Those of this call.

    Raises:
        ValueError: On an unknown task, a dataset that a named task cannot be run on, or when nothing can be measured.
    """
    for task in tasks or ():
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; expected one of {', '.join(TASKS)}.")
    sources = datasets if isinstance(datasets, Mapping) else _named(datasets)
    path = Path(output_dir) / RESULTS_NAME
    old = read_results(path) if path.exists() else []
    encoder = load_encoder(model, processor, batch_size=batch_size, device=device)
    results: list[Result] = []
    for name, source in sources.items():
        dataset = source if isinstance(source, Dataset) else load_pairs(source, split)
        logger.info("%s: %d rows", name, len(dataset))
        embeddings = embed_dataset(encoder, dataset, batch_size=batch_size, progress=progress)
        common = {"num_bootstrap": num_bootstrap, "seed": seed, "dataset_name": name}
        common["dataset_revision"] = dataset_digest(dataset)
        if tasks is None or zero_shot.TASK in tasks:
            for variant in _zero_shot_variants(dataset):
                results += zero_shot.zero_shot_classification(
                    embeddings, dataset, prompt_set=prompt_sets or "name", **variant, **common
                )
            if single_origin(dataset) == "real":
                protocol = ClassificationProtocol(num_bootstrap=num_bootstrap, seed=seed)
                named = {"dataset_name": name, "dataset_revision": common["dataset_revision"]}
                results += brightness_baseline(dataset, values=embeddings.grey_levels, protocol=protocol, **named)
        if (tasks is None and _has_reports(dataset)) or (tasks and retrieval.TASK in tasks):
            results += retrieval.image_report_retrieval(embeddings, dataset, text_column=text_column, **common)
    if not results:
        raise ValueError(f"Nothing could be measured on {', '.join(sources)}: too few labels and no reports.")
    write_results(path, merge_results(old, results))
    return results


def _named(datasets: Sequence[str | Path]) -> dict[str, str | Path]:
    named: dict[str, str | Path] = {}
    for source in datasets:
        folder = Path(source)
        name = folder.resolve().name if folder.is_dir() else str(source)
        if name in named:
            raise ValueError(f"Two datasets are named {name!r}: {named[name]} and {source}; rename one folder.")
        named[name] = source
    return named


def _zero_shot_variants(dataset: Dataset) -> list[dict[str, str | bool]]:
    if single_origin(dataset) != "real":
        return [{}]
    return [
        {"match_brightness": matched, "negatives": negatives}
        for negatives in ("all", "no_finding")
        for matched in (False, True)
    ]


def _has_reports(dataset: Dataset) -> bool:
    return "report" in dataset.column_names and any(text and text.strip() for text in column_values(dataset, "report"))


def evaluate_fidelity(
    model: str | Path | FeatureExtractor,
    datasets: Sequence[str | Path],
    *,
    reference: str | Path,
    output_dir: str | Path,
    vision_language_model: str | Path | None = None,
    num_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> list[Result]:
    """
    Measure generated pairs against the test split of a reference, and bring `output_dir/results.json` up to date.

    The reference's training split, where it has one, is taken for what the generator was trained on: it gives the
    floors, and is searched for copies. A grid of samples is drawn where pairs belong to studies of the reference.

    Args:
        model (`str`, `Path` or `FeatureExtractor`): Classifier, or another image encoder.
        datasets (sequence of folders or Hub ids): Generated pairs; all their splits are measured together.
        reference (`str` or `Path`): Real or simulated pairs with a split `test`.
        output_dir (`str` or `Path`): Gets `results.json` and the grids.
        vision_language_model (`str` or `Path`, *optional*): Dual encoder that says whether images go with reports.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients; 0 for no intervals.
        seed (`int`, *optional*, defaults to 0): Of all draws.
        batch_size (`int`, *optional*, defaults to 64): Images embedded at once.
        progress (`bool`, *optional*, defaults to `True`): Show progress bars.

    Returns:
        `list[Result]`: Those of this call.
    """
    path = Path(output_dir) / RESULTS_NAME
    old = read_results(path) if path.exists() else []
    extractor = load_feature_extractor(model, batch_size=batch_size) if isinstance(model, str | Path) else model
    held_out, training = load_pairs(reference, "test"), load_pairs(reference, "train", optional=True)
    (reference_name,) = _named([reference])
    results: list[Result] = []
    for name, source in _named(datasets).items():
        generated = _all_splits(source)
        results += image_fidelity.fidelity(
            extractor,
            generated,
            held_out,
            training=training,
            vision_language_model=vision_language_model,
            protocol=image_fidelity.FidelityProtocol(num_bootstrap=num_bootstrap, seed=seed),
            dataset_name=name,
            reference_name=reference_name,
            progress=progress,
        )
        figure = Path(output_dir) / SAMPLES_NAME.format(name=name.replace("/", "--"))
        plot_generated(generated, held_out, figure, seed=seed)
    write_results(path, merge_results(old, results))
    return results


def _all_splits(source: str | Path) -> Dataset:
    parts = [load_pairs(source, split, optional=True) for split in SPLITS]
    if not any(parts):
        raise ValueError(f"{source} has none of the splits {', '.join(SPLITS)}.")
    return concatenate_datasets([part for part in parts if part is not None])
