"""Cards of generators and of their adapters, rendered from their folders. Nothing on them is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from ..data.shipped import GENERATOR, shipped_checkpoint, shipped_names
from ..evaluation.results import Result
from .card_content import model_index_entries, results_content
from .cards import PLACEHOLDER, figures, stored_results
from .checkpoints import read_record
from .citations import generator_citations
from .fidelity_content import TASK, fidelity_content, fidelity_entries
from .generator_training import RECORD_NAME, generator_training
from .generators import INDEX_NAME, adapter_facts, image_side, objective, pipeline_facts
from .rendering import render_template
from .training_sets import TrainingSets, find_training_sets, is_hub_id, local_folder


_TAGS = ("medical", "radiology", "chest-x-ray", "synthetic", "not-for-clinical-use")


def render_pipeline_card(
    path: str | Path,
    *,
    repo_id: str = PLACEHOLDER,
    results: Sequence[Result] | None = None,
    training: Mapping[str, Any] | None = None,
    datasets: Sequence[str | Path] | None = None,
    license: str | None = None,
) -> ModelCard:
    """
    Render the card of a generator's folder.

    Args:
        path (`str` or `Path`): Folder that `CxrSynthesisPipeline.save_pretrained` or a training wrote.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading examples; `publish` sets it.
        results (`Sequence[Result]`, *optional*):
            Measurements of its images; by default those of `results.json` in the folder, if there is one.
        training (`Mapping`, *optional*):
            Record of the training; by default the `training.json` in the folder, if any.
        datasets (`Sequence[str | Path]`, *optional*):
            Folders of the pairs it was trained on, to count their rows by origin; by default those that the record
            names and that are still there.
        license (`str`, *optional*):
            Licence of the weights, as the Hub spells it. `"apache-2.0"` when it was trained on simulated pairs alone;
            otherwise it must be given.

    Returns:
        `ModelCard`: Its `data` holds the metadata, `model-index` included.

    Raises:
        ValueError: When the folder holds no generator, or its licence cannot be known.
    """
    path = Path(path)
    facts, learnt = pipeline_facts(path), objective(path)
    results = stored_results(path) if results is None else results
    training = read_record(path, RECORD_NAME) if training is None else training
    trained_on = find_training_sets(training, path, datasets)
    license = _license(path, license, is_known=trained_on.only_simulated)
    min_snr = learnt != "flow" and bool((training.get("request") or {}).get("min_snr_gamma"))
    title = "Generator of chest radiographs" if repo_id == PLACEHOLDER else repo_id.split("/")[-1]
    data = _metadata(title, license, trained_on, results, tags=["text-to-image", "diffusers", learnt])
    body = render_template(
        "pipeline_card.md.j2",
        title=title,
        repo_id=repo_id,
        model_facts=[*facts.items(), ("licence of the weights", license)],
        image_side=image_side(path),
        num_steps=facts.get("steps by default"),
        guidance=facts.get("guidance by default"),
        citations=generator_citations(learnt, has_autoencoder=(path / "vae").is_dir(), min_snr=min_snr),
        **_shared_content(path, trained_on, results),
        **generator_training(training, objective=learnt),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}")


def render_adapter_card(
    path: str | Path,
    *,
    repo_id: str = PLACEHOLDER,
    base_model: str | None = None,
    results: Sequence[Result] | None = None,
    training: Mapping[str, Any] | None = None,
    datasets: Sequence[str | Path] | None = None,
    license: str | None = None,
) -> ModelCard:
    """
    Render the card of a folder with a LoRA adapter of a generator.

    Args:
        path (`str` or `Path`): Folder with `pytorch_lora_weights.safetensors`.
        repo_id (`str`, *optional*, defaults to `"org/name"`): Hub id in the loading examples; `publish` sets it.
        base_model (`str`, *optional*):
            Hub id or shipped name of the generator that it adapts; by default what the record names, unless that is a
            folder, which nobody else has.
        results, training, datasets (*optional*): As for [`render_pipeline_card`].
        license (`str`, *optional*):
            Licence of the adapter, as the Hub spells it. `"apache-2.0"` when a shipped generator was adapted to
            simulated pairs alone; otherwise it must be given.

    Returns:
        `ModelCard`: Its `data` holds the metadata.

    Raises:
        ValueError: When the folder holds no adapter, or its base or licence cannot be known.
    """
    path = Path(path)
    facts = adapter_facts(path)
    results = stored_results(path) if results is None else results
    training = read_record(path, RECORD_NAME) if training is None else training
    base_model = _base_model(path, training, base_model)
    is_shipped = base_model in (GENERATOR, *shipped_names())
    trained_on = find_training_sets(training, path, datasets)
    license = _license(path, license, is_known=is_shipped and trained_on.only_simulated)
    title = "Adapter of a generator of chest radiographs" if repo_id == PLACEHOLDER else repo_id.split("/")[-1]
    data = _metadata(title, license, trained_on, results, tags=["text-to-image", "diffusers", "lora"])
    if not is_shipped:
        data.base_model = base_model
        data["base_model_relation"] = "adapter"
    body = render_template(
        "adapter_card.md.j2",
        title=title,
        repo_id=repo_id,
        base_model=base_model,
        is_shipped=is_shipped,
        model_facts=[("adapted generator", base_model), *facts.items(), ("licence of the adapter", license)],
        citations=generator_citations("", is_adapter=True),
        **_shared_content(path, trained_on, results),
        **generator_training(training, objective=_base_objective(path, training, base_model)),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}")


def _license(path: Path, license: str | None, *, is_known: bool) -> str:
    if license is None and not is_known:
        raise ValueError(
            f"{path}: its licence follows from what it was trained on, which is not known to be simulated alone; give "
            "license (--license)."
        )
    return license or "apache-2.0"


def _base_model(path: Path, training: Mapping[str, Any], given: str | None) -> str:
    """What to load before the adapter; a name that stands in code on the card."""
    name = given or str((training.get("request") or {}).get("model_name_or_path") or "")
    is_folder = given is None and local_folder(name, path, holding=INDEX_NAME) is not None
    if name in (GENERATOR, *shipped_names()) or (is_hub_id(name) and not is_folder):
        return name
    which = f"adapts {name!r:.100}, which is no Hub id and no shipped generator" if name else "names no generator"
    raise ValueError(f"{path / RECORD_NAME} {which}; give base_model (--base-model).")


def _base_objective(path: Path, training: Mapping[str, Any], base_model: str) -> str | None:
    """What the adapted generator has learnt, where it lies on this machine."""
    asked = str((training.get("request") or {}).get("model_name_or_path") or base_model)
    base = local_folder(shipped_checkpoint(asked), path, holding=INDEX_NAME)
    return None if base is None else objective(base)


def _metadata(
    title: str, license: str, trained_on: TrainingSets, results: Sequence[Result], *, tags: Sequence[str]
) -> ModelCardData:
    others = [result for result in results if result.task != TASK]
    index = [*fidelity_entries(results), *model_index_entries(others)]
    return ModelCardData(
        language="en",
        license=license,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=[*_TAGS, *tags, *(f"trained-on-{origin}" for origin in trained_on.origins)],
        datasets=trained_on.hub_ids or None,
        metrics=sorted({entry.metric_type for entry in index}) or None,
        model_name=title,
        eval_results=index or None,
    )


def _shared_content(path: Path, trained_on: TrainingSets, results: Sequence[Result]) -> dict[str, Any]:
    others = [result for result in results if result.task != TASK]
    return {
        "compositions": trained_on.compositions,
        "only_simulated": trained_on.only_simulated,
        "maybe_real": not trained_on.is_complete or "real" in trained_on.origins,
        "fidelity": fidelity_content(results),
        "searched_copies": any(result.metric_name == "share_near_training" for result in results),
        "results": results_content(others) if others else None,
        "figures": figures(path),
    }
