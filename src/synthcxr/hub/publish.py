"""Publishing: stage exactly the folder that the Hub gets, check it, push it."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from huggingface_hub import DatasetCard, HfApi, ModelCard
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from .cards import read_card, render_dataset_card, render_model_card, set_repo_id
from .checkpoints import checkpoint_files, read_json, without_local_names
from .dataset_build import check_complete
from .dataset_statistics import dataset_shards, describe_dataset
from .generator_cards import render_adapter_card, render_pipeline_card
from .generators import adapter_files, pipeline_files


Kind = Literal["model", "pipeline", "adapter", "dataset"]

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
# What a training leaves beside a model to resume from; it never travels, so it need not be refused.
_TRAINER_STATE = ("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "latents.npy")
# Files of an older version that would otherwise stay and be loaded beside the new ones; `*` goes into folders, too.
_CHECKPOINT = ["*.safetensors", "*.safetensors.index.json", "*.py"]
_REPLACED = {"model": _CHECKPOINT, "pipeline": _CHECKPOINT, "adapter": _CHECKPOINT, "dataset": ["data/*"]}
# What `save_pretrained` writes, the folder that it loaded from included.
_CONFIGURATIONS = ("model_index.json", "config.json", "scheduler_config.json", "tokenizer_config.json")
# A dataset's README as its builder leaves it: no card yet.
_BUILDERS_README = re.compile(
    r"\s*# [^\n]+\n\nFor research only; not for clinical use\.\n\n\| split \| rows \|\n\|---\|---\|\n"
    r"(\|[^\n]*\|\n)*\n```python\n[^`]*```\s*"
)


@dataclass(frozen=True)
class Publication:
    """
    What was staged, and where it went.

    Args:
        kind (`str`): `"model"`, `"pipeline"`, `"adapter"` or `"dataset"`.
        repo_id (`str`): Hub id.
        path (`Path`, *optional*): The staged folder, when it was kept.
        files (`tuple[tuple[str, int], ...]`): Every file of the folder with its size in bytes, sorted.
        left_out (`tuple[str, ...]`): Files of the source that are not published.
        url (`str`, *optional*): Where it lies on the Hub; `None` after a dry run.
    """

    kind: str
    repo_id: str
    path: Path | None
    files: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    url: str | None = None


def publish(
    kind: Kind,
    path: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    dry_run: bool = False,
    output_dir: str | Path | None = None,
    license: str | None = None,
    base_model: str | None = None,
) -> Publication:
    """
    Check an artefact, stage the folder that the Hub gets, and push it.

    A folder without a card gets one, rendered from its data; a card that is there is kept, with `repo_id` in its
    loading examples. The staged folder appears in one step, after every check has passed.

    Args:
        kind (`str`): `"model"`, `"pipeline"` (a generator), `"adapter"` (of a generator) or `"dataset"`.
        path (`str` or `Path`): Checkpoint or dataset folder; never changed.
        repo_id (`str`): `"org/name"`.
        private (`bool`, *optional*, defaults to `True`): Whether only members of the organisation see it.
        dry_run (`bool`, *optional*, defaults to `False`): Stage and check, push nothing.
        output_dir (`str` or `Path`, *optional*):
            Where the staged folder is kept; by default `<path>-publish` for a dry run, nowhere for a push.
        license (`str`, *optional*):
            As the Hub spells it, for a card that is rendered; needed where it does not follow from the data.
        base_model (`str`, *optional*):
            Of an adapter whose card is rendered: Hub id of the generator, where the record names a folder.

    Returns:
        `Publication`: The staged files and where they went.

    Raises:
        ValueError: When a check fails; the message names the file and what to do.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"{kind!r} cannot be published; expected one of {', '.join(get_args(Kind))}.")
    path = Path(path).resolve()
    _check_repo_id(repo_id)
    if not path.is_dir():
        raise ValueError(f"{path} is no folder; expected the {kind} to publish.")
    refuse_pickles(path)
    if base_model is not None and kind != "adapter":
        raise ValueError(f"base_model is for adapters; a {kind} has none.")
    sources = _LISTINGS[kind](path)
    if dry_run and output_dir is None:
        output_dir = path.with_name(f"{path.name}-publish")
    target = None if output_dir is None else Path(output_dir).resolve()
    if target is not None:
        _check_target(target, path, {*sources, "README.md"})

    with _staging_folder(target) as staged:
        for name, source in sources.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staged / name)
            _drop_local_names(staged / name)
        options = {"license": license, "base_model": base_model}
        chosen = {name: value for name, value in options.items() if value is not None}
        card = set_repo_id(_card(kind, path, repo_id, chosen), repo_id)
        (staged / "README.md").write_text(card, encoding="utf-8")
        files = tuple(sorted((_name(file, staged), file.stat().st_size) for file in _files(staged)))
        url = None if dry_run else _push(kind, staged, repo_id, private=private)
        if target is not None:
            _replace(staged, target)
    left_out = tuple(sorted({_name(file, path) for file in _files(path)} - {name for name, _ in files}))
    return Publication(kind=kind, repo_id=repo_id, path=target, files=files, left_out=left_out, url=url)


def refuse_pickles(path: str | Path) -> None:
    """
    Refuse a folder with files that run code when they are loaded.

    Raises:
        ValueError: Names the first such file. What `Trainer` keeps to resume from is passed over: it is not published.
    """
    path = Path(path)
    for file in sorted(_files(path)):
        folders = file.relative_to(path).parent.parts
        resuming = file.name in _TRAINER_STATE or file.name.startswith("rng_state")
        resuming = resuming or any("checkpoint-" in name for name in folders)
        if file.suffix.lower() in _PICKLES and not resuming:
            raise ValueError(
                f"{file} may hold a pickle, which runs code when loaded; keep the weights as safetensors."
            )


def check_origins(path: str | Path) -> None:
    """
    Refuse a dataset with rows that came from a patient, or that do not say where they came from.

    Raises:
        ValueError: Names the split and how many rows and patients it concerns.
    """
    for split, counts in describe_dataset(path).items():
        if counts.origins[None]:
            raise ValueError(
                f"{path}: {counts.origins[None]} rows of {split} have no origin; origin is never guessed."
            )
        if counts.origins["real"]:
            raise ValueError(
                f"{path}: {counts.origins['real']} rows of {split} are real (patient_id names "
                f"{counts.num_real_patients} patients); only simulated and synthetic rows are published, remove them."
            )


def _check_repo_id(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no Hub id: {error}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} is no Hub id of an organisation or user; expected 'org/name'.")


def _model_listing(path: Path) -> dict[str, Path]:
    return {name.as_posix(): path / name for name in checkpoint_files(path)}


def _dataset_listing(path: Path) -> dict[str, Path]:
    check_origins(path)
    check_complete(path)
    shards = [shard for shards in dataset_shards(path).values() for shard in shards]
    others = [file for pattern in ("figures/*.png", "LICENSE*", "results.json") for file in path.glob(pattern)]
    return {_name(file, path): file for file in sorted((*shards, *others))}


_LISTINGS: dict[str, Callable[[Path], dict[str, Path]]] = {
    "model": _model_listing,
    "pipeline": pipeline_files,
    "adapter": adapter_files,
    "dataset": _dataset_listing,
}
_RENDERERS: dict[str, Callable[..., ModelCard | DatasetCard]] = {
    "model": render_model_card,
    "pipeline": render_pipeline_card,
    "adapter": render_adapter_card,
    "dataset": render_dataset_card,
}


def _drop_local_names(file: Path) -> None:
    """Take the folders of this machine out of a configuration."""
    if file.name not in _CONFIGURATIONS:
        return
    config = read_json(file)
    cleaned = without_local_names(config)
    if cleaned != config:
        file.write_text(json.dumps(cleaned, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _card(kind: str, path: Path, repo_id: str, options: Mapping[str, str]) -> str:
    """The folder's card, or one rendered from its data when its `README.md` is none."""
    file = path / "README.md"
    card = read_card(path, DatasetCard if kind == "dataset" else ModelCard)
    if card is None or not card.text.strip() or _BUILDERS_README.fullmatch(card.text):
        card = _RENDERERS[kind](path, repo_id=repo_id, **options)
    if "not for clinical use" not in card.text.lower():
        raise ValueError(
            f"{file} does not say 'Not for clinical use'; add it, or remove the file to have it rendered."
        )
    if not card.data.get("license"):
        raise ValueError(f"{file} names no license; add it, or remove the card to get a new one.")
    return str(card)


@contextmanager
def _staging_folder(target: Path | None) -> Iterator[Path]:
    """A folder to fill, beside the target so that it can be renamed to it; removed unless it was."""
    if target is None:
        with tempfile.TemporaryDirectory(prefix="synthcxr-publish-") as folder:
            yield Path(folder)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name is always the same: what a killed run left behind is removed by the next one.
    staged = target.with_name(f".{target.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_target(target: Path, source: Path, expected: set[str]) -> None:
    if target == source or target in source.parents or source in target.parents:
        raise ValueError(f"{target} overlaps the folder to publish; choose another output_dir.")
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; expected a folder for output_dir.")
    strange = sorted({_name(file, target) for file in _files(target)} - expected) if target.exists() else []
    if strange:
        raise ValueError(f"{target} holds {strange[0]}, which is not part of this publication; choose another folder.")


def _replace(staged: Path, target: Path) -> None:
    """Put the staged folder in its place; an earlier one, of the same file names, makes room."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(staged, target)
    shutil.rmtree(old, ignore_errors=True)


def _push(kind: str, staged: Path, repo_id: str, *, private: bool) -> str:
    api = HfApi()
    repo_type = "dataset" if kind == "dataset" else "model"
    if private:
        try:
            public = not api.repo_info(repo_id, repo_type=repo_type).private
        except RepositoryNotFoundError:
            public = False
        if public:
            raise ValueError(f"{repo_id} exists and is public; pass private=False to push to it all the same.")
    url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
    api.upload_folder(
        repo_id=repo_id,
        repo_type=repo_type,
        folder_path=staged,
        commit_message=f"Publish the {kind} with synthcxr",
        delete_patterns=_REPLACED[kind],
    )
    return str(url)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()
