"""Model and dataset cards, rendered from data by the templates in `hub_cards/`. Nothing on them is typed by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import yaml
from datasets import Features, List
from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..data.whole_files import write_text
from ..evaluation.results import RESULTS_NAME, Result, read_results
from .card_content import composition, dataset_content, model_index_entries, results_content
from .checkpoints import count_parameters, read_config, read_json, read_record, training_content
from .citations import citations, method_name
from .dataset_statistics import dataset_shards, describe_dataset, read_features


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
            Record of the training; by default the `pretraining.json` that `pretrain` left in the folder, if any.
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
    results = _stored_results(path) if results is None else results
    training = read_record(path) if training is None else training
    trained_on = {name: _local_folder(name, Path(path)) for name in _dataset_names(training)}
    datasets = [folder for folder in trained_on.values() if folder] if datasets is None else datasets
    compositions = [composition(describe_dataset(folder), name=Path(folder).name) for folder in datasets]
    origins = _origins(compositions)
    index = model_index_entries(results)
    data = ModelCardData(
        language="en",
        license=license,
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification",
        tags=["medical", "radiology", "chest-x-ray", "vision-language", config.get("model_type", "unknown"), *origins],
        datasets=[name for name, folder in trained_on.items() if _is_hub_id(name) and folder is None] or None,
        metrics=sorted({entry.metric_type for entry in index}) or None,
        model_name=title,
        eval_results=index or None,
    )
    body = _render(
        "model_card.md.j2",
        title=title,
        repo_id=repo_id,
        method=method,
        model_facts=_model_facts(path, config, license),
        compositions=compositions,
        results=results_content(results) if results else None,
        figures=_figures(path),
        citations=citations(config.get("model_type")),
        **training_content(training),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}")


def render_dataset_card(
    path: str | Path,
    *,
    repo_id: str = PLACEHOLDER,
    results: Sequence[Result] = (),
    license: str | None = None,
    source_licenses: Mapping[str, str] | None = None,
) -> DatasetCard:
    """
    Render the card of a dataset folder. The metadata of its `README.md` (`configs`, `dataset_info` ...) are kept.

    Args:
        path (`str` or `Path`): Folder that `build_pairs` wrote.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading examples; `publish` sets it.
        results (`Sequence[Result]`): Measurements of the dataset itself, such as its fidelity.
        license (`str`, *optional*):
            As the Hub spells it. `"apache-2.0"` when every row is simulated; otherwise it must be given.
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
        if not content["simulated_only"]:
            raise ValueError(f"{path} has rows that are not simulated; pass their license.")
        license = "apache-2.0"
    shard = next(iter(dataset_shards(path).values()))[0]
    features = read_features(shard)
    title = "Chest radiographs with reports" if repo_id == PLACEHOLDER else repo_id.split("/")[-1]
    data = _dataset_metadata(path, license=license, title=title, content=content)
    body = _render(
        "dataset_card.md.j2",
        title=title,
        repo_id=repo_id,
        license=license,
        columns=[(name, _type_name(feature)) for name, feature in features.items()],
        has_objects="objects" in features,
        example_report=_example_report(shard, features) if content["simulated_only"] else None,
        results=results_content(results) if results else None,
        citations=citations(),
        **content,
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


def template_path(name: str) -> Path:
    """
    Where a card template lies: inside the installed package, or `hub_cards/` of the checkout.

    Raises:
        ValueError: When there is no template of that name.
    """
    package = Path(str(files("synthcxr")))
    for folder in (package / "hub_cards", package.parents[1] / "hub_cards"):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"there is no card template {name!r}; expected one of hub_cards/*.md.j2.")


def _render(name: str, **content: Any) -> str:
    # Values are never parsed as templates; `cell`, `code` and `fence` keep them from becoming Markdown or HTML.
    environment = Environment(
        loader=FileSystemLoader(template_path(name).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"cell": _cell, "code": _code, "fence": _fence}
    environment.filters |= {"count": _count, "decimal": _decimal, "percent": _percent}
    text = environment.get_template(name).render(**content)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _cell(value: Any) -> str:
    """A value on one line of Markdown that it cannot leave."""
    if value is None or value == "":
        return "–"
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*\[\]])", r"\\\1", text)


def _code(value: Any) -> str:
    """A name as code, which nothing turns into a link or markup."""
    text = " ".join(str(value or "").split()).replace("`", "'")
    return f"`{text}`" if text else "–"


def _fence(text: str, language: str = "") -> str:
    """A block of code that is longer fenced than anything inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _count(value: int) -> str:
    return f"{value:,}"


def _decimal(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _stored_results(path: str | Path) -> list[Result]:
    file = Path(path) / RESULTS_NAME
    return read_results(file) if file.is_file() else []


def _origins(compositions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Origins that a training set has rows of, as tags."""
    found = set()
    for item in compositions:
        for split in item["splits"]:
            found |= {origin for origin, rows in zip(item["origins"], split["origins"], strict=True) if rows}
    return sorted(found - {"not stated"})


def _local_folder(name: str, checkpoint: Path) -> Path | None:
    """The folder of a training set; a relative name is looked for here, then from the folders above the checkpoint."""
    places = [Path(), *checkpoint.resolve().parents]
    return next((place / name for place in places if (place / name / "data").is_dir()), None)


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w-]+/[\w.-]+", name) is not None


def _dataset_names(training: Mapping[str, Any]) -> list[str]:
    return list((training.get("request") or {}).get("dataset") or ())


def _model_facts(path: str | Path, config: Mapping[str, Any], license: str) -> list[tuple[str, Any]]:
    vision, text = config.get("vision_config") or {}, config.get("text_config") or {}
    facts = {
        "class": ", ".join(config.get("architectures") or ()),
        "parameters": f"{count_parameters(path):,}",
        "image tower": vision.get("model_type"),
        "text tower": text.get("model_type"),
        "image size": _image_size(path) or vision.get("image_size"),
        "shared dimension": config.get("projection_dim"),
        "stored as": config.get("dtype"),
        "licence of the weights": license,
    }
    return [(name, value) for name, value in facts.items() if value not in (None, "")]


def _figures(path: str | Path) -> list[dict[str, str]]:
    """Pictures in `figures/`; names that a Markdown link could not hold are passed over."""
    names = sorted(file.name for file in Path(path).glob("figures/*.png"))
    return [
        {"file": name, "title": Path(name).stem.replace("_", " ")} for name in names if re.fullmatch(r"[\w.-]+", name)
    ]


def _image_size(path: str | Path) -> str | None:
    file = Path(path) / "processor_config.json"
    settings = read_json(file) if file.is_file() else {}
    size = (settings.get("image_processor") or {}).get("size")
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
    data["tags"] = ["medical", "radiology", "chest-x-ray", *_origins([content["composition"]])]
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
