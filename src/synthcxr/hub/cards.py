"""Model and dataset cards, rendered from data by the templates in `hub_cards/`. Nothing on them is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import yaml
from datasets import Features, List
from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData

from ..data.whole_files import write_text
from ..evaluation.results import RESULTS_NAME, Result, read_results
from .card_content import dataset_content, model_index_entries, results_content
from .checkpoints import (
    CLASSIFIER_RECORD_NAME,
    RECORD_NAME,
    count_parameters,
    is_classifier,
    read_config,
    read_json,
    read_record,
    training_content,
)
from .citations import citations, method_name
from .dataset_build import build_content, report_origins, shipped_sources
from .dataset_statistics import SplitStatistics, dataset_shards, describe_dataset, first_image_size, read_features
from .fidelity_content import TASK, fidelity_content
from .rendering import render_template
from .training_sets import find_training_sets, row_origins


PLACEHOLDER = "org/name"
"""Hub id in the examples of a card that is not published yet."""

Card = TypeVar("Card", ModelCard, DatasetCard)

_REPO_ID_LINE = re.compile(r'^repo_id = ".*"$', re.MULTILINE)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_model_card(
    path: str | Path,
    *,
    repo_id: str = PLACEHOLDER,
    results: Sequence[Result] | None = None,
    training: Mapping[str, Any] | None = None,
    datasets: Sequence[str | Path] | None = None,
    license: str = "apache-2.0",
) -> ModelCard:
    """
    Render the card of a checkpoint folder.

    Args:
        path (`str` or `Path`): Checkpoint folder.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading examples; `publish` sets it.
        results (`Sequence[Result]`, *optional*):
            Measurements; by default those of `results.json` in the folder, if there is one.
        training (`Mapping`, *optional*):
            Record of the training; by default what `pretrain`, or the training of a classifier, left in the folder.
        datasets (`Sequence[str | Path]`, *optional*):
            Folders of the pairs it was trained on, to count their rows by origin; by default those that the record
            names and that are still there.
        license (`str`, *optional*, defaults to `"apache-2.0"`): Licence of the weights, as the Hub spells it.

    Returns:
        `ModelCard`: Its `data` holds the metadata, `model-index` included.

    Raises:
        ValueError: When the folder holds no model.
    """
    config = read_config(path)
    method = method_name(config.get("model_type", "unknown"))
    title = f"{method} for chest radiographs" if repo_id == PLACEHOLDER else repo_id.split("/")[-1]
    results = stored_results(path) if results is None else results
    classifies = is_classifier(config)
    if training is None:
        training = read_record(path, CLASSIFIER_RECORD_NAME if classifies else RECORD_NAME)
    trained_on = find_training_sets(training, Path(path), datasets)
    index = model_index_entries(results)
    data = ModelCardData(
        language="en",
        license=license,
        library_name="transformers",
        pipeline_tag="image-classification" if classifies else "zero-shot-image-classification",
        tags=["medical", "radiology", "chest-x-ray"]
        + [*(() if classifies else ("vision-language",)), config.get("model_type", "unknown"), *trained_on.origins],
        datasets=trained_on.hub_ids or None,
        metrics=sorted({entry.metric_type for entry in index}) or None,
        model_name=title,
        eval_results=index or None,
    )
    body = render_template(
        "classifier_card.md.j2" if classifies else "model_card.md.j2",
        title=title,
        repo_id=repo_id,
        method=method,
        model_facts=_model_facts(path, config, license),
        compositions=trained_on.compositions,
        results=results_content(results) if results else None,
        figures=figures(path),
        labels=list((config.get("id2label") or {}).values()),
        citations=citations(config.get("model_type")),
        **training_content(training),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}")


def render_dataset_card(
    path: str | Path,
    *,
    repo_id: str = PLACEHOLDER,
    results: Sequence[Result] | None = None,
    license: str | None = None,
    source_licenses: Mapping[str, str] | None = None,
) -> DatasetCard:
    """
    Render the card of a dataset folder. The metadata of its `README.md` (`configs`, `dataset_info` ...) are kept.

    Args:
        path (`str` or `Path`): Folder that `build_pairs` wrote.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading examples; `publish` sets it.
        results (`Sequence[Result]`, *optional*):
            Measurements of the dataset itself, such as its fidelity; by default those of `results.json` in the folder.
        license (`str`, *optional*):
            As the Hub spells it. `"apache-2.0"` when every row is simulated, or drawn by a shipped generator for a
            simulated report; otherwise it must be given.
        source_licenses (`Mapping[str, str]`, *optional*):
            Per value of the column `source`, the licence of that generator or collection.

    Returns:
        `DatasetCard`: The card.

    Raises:
        ValueError: When the folder holds no dataset, or its licence cannot be known.
    """
    splits = describe_dataset(path)
    content = dataset_content(splits, licenses=source_licenses)
    if license is None:
        if not (content["kind"] == "simulated" or _is_ours(path, splits)):
            raise ValueError(
                f"{path} has rows that are not simulated; pass their license (--license), which follows from where "
                "images and reports come from."
            )
        license = "apache-2.0"
    results = stored_results(path) if results is None else results
    others = [result for result in results if result.task != TASK]
    shard = next(iter(dataset_shards(path).values()))[0]
    features = read_features(shard)
    title = "Chest radiographs with reports" if repo_id == PLACEHOLDER else repo_id.split("/")[-1]
    data = _dataset_metadata(path, license=license, title=title, content=content)
    body = render_template(
        "dataset_card.md.j2",
        title=title,
        repo_id=repo_id,
        license=license,
        columns=[(name, _type_name(feature)) for name, feature in features.items()],
        has_objects=any(split.num_boxes for split in splits.values()),
        image_size=first_image_size(shard),
        example_report=_example_report(shard, features) if content["kind"] == "simulated" else None,
        fidelity=fidelity_content(results),
        figures=figures(path),
        results=results_content(others) if others else None,
        citations=citations(),
        **content,
        **build_content(path),
    )
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}")


def save_card(card: ModelCard | DatasetCard, path: str | Path) -> Path:
    """Write a card as the `README.md` of a folder; the file is never half written."""
    return write_text(Path(path) / "README.md", str(card))


def read_card(path: str | Path, kind: type[Card]) -> Card | None:
    """
    The card of a folder, which anybody may have written; `None` where there is no `README.md`.

    Raises:
        ValueError: When its metadata are not what the Hub takes.
    """
    file = Path(path) / "README.md"
    try:
        return kind.load(file) if file.is_file() else None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file} has metadata that the Hub would refuse: {' '.join(str(error).split())}") from error


def set_repo_id(text: str, repo_id: str) -> str:
    """The text of a card whose loading examples use `repo_id` (a Hub id, or a folder to try them on)."""
    return _REPO_ID_LINE.sub(lambda _: f'repo_id = "{repo_id}"', text)


def stored_results(path: str | Path) -> list[Result]:
    """
    The results of a folder; none when it has no `results.json`.

    Raises:
        ValueError: When the file is damaged.
    """
    file = Path(path) / RESULTS_NAME
    return read_results(file) if file.is_file() else []


def _is_ours(path: str | Path, splits: Mapping[str, SplitStatistics]) -> bool:
    """Whether the generators are shipped ones, the reports simulated, and all of it known."""
    sources = {source for split in splits.values() for source in split.sources}
    drawn = {source for origin, source in sources if origin == "synthetic"}
    others = {origin for origin, _ in sources} - {"simulated", "synthetic"}
    return not others and drawn <= shipped_sources() and report_origins(path) == {"simulated"}


def _model_facts(path: str | Path, config: Mapping[str, Any], license: str) -> list[tuple[str, Any]]:
    vision, text = config.get("vision_config") or {}, config.get("text_config") or {}
    facts = {
        "class": ", ".join(config.get("architectures") or ()),
        "parameters": f"{count_parameters(path):,}",
        "image tower": vision.get("model_type"),
        "text tower": text.get("model_type"),
        "image size": _image_size(path) or vision.get("image_size"),
        "shared dimension": config.get("projection_dim"),
        "pooling": config.get("pooling") if is_classifier(config) else None,
        "stored as": config.get("dtype"),
        "licence of the weights": license,
    }
    return [(name, value) for name, value in facts.items() if value not in (None, "")]


def figures(path: str | Path) -> list[dict[str, str]]:
    """Pictures in `figures/`; names that a Markdown link could not hold are passed over."""
    names = sorted(file.name for file in Path(path).glob("figures/*.png"))
    return [
        {"file": name, "title": Path(name).stem.replace("_", " ")} for name in names if re.fullmatch(r"[\w.-]+", name)
    ]


def _image_size(path: str | Path) -> str | None:
    files = [Path(path) / name for name in ("processor_config.json", "preprocessor_config.json")]
    settings = next((read_json(file) for file in files if file.is_file()), {})
    size = (settings.get("image_processor") or settings).get("size")
    if isinstance(size, dict):
        return " x ".join(str(side) for side in size.values())
    return None if size is None else str(size)


def _dataset_metadata(path: str | Path, *, license: str, title: str, content: Mapping[str, Any]) -> DatasetCardData:
    existing = read_card(path, DatasetCard)
    data = DatasetCardData() if existing is None else existing.data
    data.license = license
    data.language = "en"
    data.pretty_name = title
    data.size_categories = next((name for limit, name in _SIZES if content["num_rows"] < limit), "n>1M")
    data.task_categories = ["zero-shot-image-classification", "image-to-text"]
    origins = row_origins([content["composition"]])
    data["tags"] = ["medical", "radiology", "chest-x-ray", "not-for-clinical-use", *origins]
    return data


def _type_name(feature: Any) -> str:
    if isinstance(feature, dict):
        return "{" + ", ".join(f"{name}: {_type_name(value)}" for name, value in feature.items()) + "}"
    if isinstance(feature, list | List):
        inner = feature[0] if isinstance(feature, list) else feature.feature
        return f"list of {_type_name(inner)}"
    return getattr(feature, "dtype", None) if type(feature).__name__ == "Value" else type(feature).__name__


def _example_report(shard: Path, features: Features) -> str | None:
    if "report" not in features:
        return None
    with pq.ParquetFile(shard) as file:
        reports = next(file.iter_batches(batch_size=16, columns=["report"])).column("report").to_pylist()
    return next((report for report in reports if report and report.strip()), None)
