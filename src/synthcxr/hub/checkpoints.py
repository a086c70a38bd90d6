"""Checkpoint folders: what they are, how they were trained, and which of their files travel to the Hub."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


RECORD_NAME = "pretraining.json"
CLASSIFIER_RECORD_NAME = "adaptation.json"

# What the Hub gets of a checkpoint besides its code. Everything else (optimizer states, logs, the record with its
# local paths) stays at home; the card says what matters of it.
_PUBLISHED = (
    *("README.md", "LICENSE*", "config.json", "generation_config.json", "results.json"),
    *("*.safetensors", "*.safetensors.index.json"),
    *("processor_config.json", "preprocessor_config.json", "chat_template.jinja"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    *("figures/*.png", "examples/*.png"),
)
_NEEDED = ("config.json", "tokenizer_config.json")
_NEEDED_BY_CLASSIFIERS = ("config.json", "preprocessor_config.json")
_USUAL_ARGUMENTS = (
    *("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("weight_decay", "warmup_steps", "lr_scheduler_type", "optim", "bf16", "seed"),
)
_TIMINGS = ("_runtime", "_per_second", "epoch", "total_flos")
# Where `save_pretrained` notes what a component was loaded from.
_LOCAL_NAMES = re.compile(r"(_?name_or_path|base_model_name_or_path|tokenizer_file)")
# Where a run wrote and how it was watched says nothing about the model, and may name the machine.
_HOST_ARGUMENTS = ("output_dir", "logging_dir", "run_name", "hub_token", "hub_model_id", "push_to_hub_token")


def read_config(path: str | Path) -> dict[str, Any]:
    """
    The configuration of a checkpoint folder.

    Raises:
        ValueError: When there is none.
    """
    return read_json(Path(path) / "config.json")


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is of a classifier of images, which reads no text."""
    return config.get("model_type") == "cxr_classification"


def read_record(path: str | Path, name: str = RECORD_NAME) -> dict[str, Any]:
    """
    The record that a training left in a folder; empty when there is none.

    Args:
        path (`str` or `Path`): Folder of a checkpoint.
        name (`str`, *optional*, defaults to `"pretraining.json"`): File of the record.

    Raises:
        ValueError: When the file is damaged.
    """
    file = Path(path) / name
    record = read_json(file) if file.exists() else {}
    for key in ("request", "metrics", "environment"):
        if not isinstance(record.get(key) or {}, dict):
            raise ValueError(f"{file} is damaged: {key} is {record[key]!r:.40}; expected an object.")
    return record


def training_content(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a pre-training run as facts and settings; folders are named without their path."""
    request = dict(record.get("request") or {})
    settings = dict(request.pop("training", None) or {})
    environment = dict(record.get("environment") or {})
    facts = {
        "trained on": ", ".join(folder_name(name) for name in request.pop("dataset", None) or ()),
        "dataset revision": request.pop("dataset_revision", None),
        "first and last pair": " to ".join(
            filter(None, (request.pop("first_pair", ""), request.pop("last_pair", "")))
        ),
        "pairs": format_number(record.get("num_pairs") or request.pop("num_pairs", None)),
        "pairs shuffled (a control that must end at chance)": "yes" if request.get("shuffle_pairs") else None,
        "started from": folder_name(request.pop("model_name_or_path", None) or "") or None,
        "seed": settings.get("seed", request.pop("seed", None)),
        "wall time": format_duration(record.get("runtime_seconds")),
        "pairs per second": record.get("pairs_per_second"),
        "hardware": environment.pop("device", None),
        "versions": ", ".join(f"{name} {number}" for name, number in environment.items()) or None,
    }
    for name, value in (record.get("metrics") or {}).items():
        if not name.endswith(_TIMINGS) and "report_to_image" not in name:
            facts[name.replace("eval_", "validation: ").replace("_", " ")] = format_number(value)
    chosen = {name: value for name, value in request.items() if is_setting(value) and name != "num_pairs"}
    return {
        "training_facts": [(name, value) for name, value in facts.items() if value not in (None, "")],
        "arguments": sorted((chosen | _changed_settings(settings)).items()),
    }


def count_parameters(path: str | Path) -> int:
    """
    Parameters and buffers in the safetensors of a folder, from their headers.

    Raises:
        ValueError: When there are no weights, or a file is damaged.
    """
    return sum(math.prod(shape) for shape, _ in tensor_types(path).values())


def tensor_types(path: str | Path) -> dict[str, tuple[list[int], str]]:
    """
    Shape and type of every tensor in the safetensors of a folder; of weights in several variants, of the last one.

    Raises:
        ValueError: When there are no weights, or a file is damaged.
    """
    files = sorted(Path(path).glob("*.safetensors"))
    if not files:
        raise ValueError(f"{path} has no *.safetensors; expected the weights of a model.")
    tensors = {}
    for file in files:
        try:
            with safe_open(file, framework="np") as weights:
                for name in weights.keys():
                    tensor = weights.get_slice(name)
                    tensors[name] = tensor.get_shape(), tensor.get_dtype()
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} is no complete safetensors file: {error}.") from error
    return tensors


def checkpoint_files(path: str | Path) -> list[Path]:
    """
    The files of a checkpoint folder that its publication needs, relative to it.

    Args:
        path (`str` or `Path`): Folder that `save_pretrained` of a model and of its processor wrote.

    Returns:
        `list[Path]`: Sorted; with the modules that `auto_map` names and what they import.

    Raises:
        ValueError: When something is missing that a user without synthcxr needs to load it.
    """
    path = Path(path)
    for name in _NEEDED_BY_CLASSIFIERS if is_classifier(read_config(path)) else _NEEDED:
        if not (path / name).is_file():
            raise ValueError(f"{path} has no {name}; save the model and its processor there with save_pretrained.")
    count_parameters(path)
    check_shards(path)
    chosen = {file.relative_to(path) for pattern in _PUBLISHED for file in path.glob(pattern) if file.is_file()}
    return sorted(chosen | {Path(name) for name in _code_files(path)})


def read_json(file: Path) -> dict[str, Any]:
    """
    An object from a JSON file of a checkpoint folder.

    Raises:
        ValueError: When the file is absent, no JSON or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{file.parent} has no {file.name}; expected the folder of a model.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected an object.")
    return content


def without_local_names(config: Any) -> Any:
    """
    A configuration without the folders of this machine that `save_pretrained` writes into it.

    Args:
        config (`dict`): From a JSON file.

    Returns:
        `dict`: The same object where nothing had to go.
    """
    if isinstance(config, list):
        return [without_local_names(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        name: without_local_names(value)
        for name, value in config.items()
        if not (_LOCAL_NAMES.fullmatch(name) and isinstance(value, str) and _is_local(value))
    }


def check_shards(path: Path) -> None:
    """
    Refuse a folder whose index of weights names a file that is not there.

    Raises:
        ValueError: Names the file.
    """
    for index in path.glob("*.safetensors.index.json"):
        for shard in sorted(set(read_json(index).get("weight_map", {}).values())):
            if not (path / shard).is_file():
                raise ValueError(f"{path} lacks {shard}, which {index.name} names.")


def _code_files(path: Path) -> set[str]:
    """Modules named by the `auto_map` of the configuration files, and the siblings that they import."""
    references = []
    for name in ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (path / name).is_file():
            references += _auto_map_references(read_json(path / name))
    modules = {reference.rpartition("--")[2].rpartition(".")[0] for reference in references}
    if not any(module.startswith("modeling_") for module in modules):
        raise ValueError(
            f"{path}/config.json has no auto_map to a model; save it with save_pretrained of a synthcxr model class, "
            "so that its code travels with it."
        )
    return code_files(path, modules, named_by="an auto_map")


def code_files(path: Path, modules: Iterable[str], *, named_by: str) -> set[str]:
    """
    Modules of a folder and the siblings that they import, as file names.

    Args:
        path (`Path`): Folder of the checkpoint.
        modules (`Iterable[str]`): Names without `.py`.
        named_by (`str`): What names them, for messages.

    Raises:
        ValueError: When one lies elsewhere, or nowhere.
    """
    waiting, found = sorted(modules), set()
    while waiting:
        module = waiting.pop()
        # A name comes from the folder itself: a path in it would take files from elsewhere along.
        if not module.isidentifier():
            raise ValueError(f"{path} names the module {module!r} in {named_by} or code; expected a sibling file.")
        name = f"{module}.py"
        if name in found:
            continue
        if not (path / name).is_file():
            raise ValueError(f"{path} lacks {name}, which {named_by} or code names.")
        found.add(name)
        waiting += _siblings(path / name)
    return found


def _auto_map_references(config: dict[str, Any]) -> list[str]:
    """Every `module.Class` of every `auto_map`, at any depth: processors nest theirs."""
    references = []
    for key, value in config.items():
        if key == "auto_map" and isinstance(value, dict):
            for entry in value.values():
                entries = entry if isinstance(entry, list | tuple) else [entry]
                references += [item for item in entries if isinstance(item, str)]
        elif isinstance(value, dict):
            references += _auto_map_references(value)
    return references


def _siblings(file: Path) -> list[str]:
    try:
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{file} is no Python: {' '.join(str(error).split())}.") from error
    return [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module]


def _changed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Training arguments that differ from the stock ones, and those that everybody asks for."""
    from transformers import TrainingArguments  # takes seconds to import; most cards have no training to show

    stock = {
        item.name: item.default if item.default is not MISSING else None
        for item in fields(TrainingArguments)
        if item.default_factory is MISSING
    }
    return {
        name: value
        for name, value in settings.items()
        if name not in _HOST_ARGUMENTS
        and (name in _USUAL_ARGUMENTS or is_setting(value) or stock.get(name) is True)
        and (name in _USUAL_ARGUMENTS or (name in stock and value != stock[name]))
        and value is not None
    }


def is_setting(value: Any) -> bool:
    """Whether a value is worth a line: not absent, off or a bundle of further settings."""
    return value is not None and value is not False and value != "" and not isinstance(value, dict | list)


def _is_local(name: str) -> bool:
    return name.startswith(("/", ".", "~", "\\")) or name.count("/") > 1 or re.match(r"[A-Za-z]:\\", name) is not None


def folder_name(name: str) -> str:
    """A Hub id as it is; a folder by its own name, since its path names somebody's machine."""
    return name if name.count("/") == 1 and not Path(name).is_absolute() and name[0] != "." else Path(name).name


def format_number(value: Any) -> Any:
    """A count with its thousands apart, a measure with four digits, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value


def format_duration(seconds: float | None) -> str | None:
    """Seconds in words; nothing of nothing."""
    if seconds is None:
        return None
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
