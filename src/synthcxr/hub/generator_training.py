"""How a generator or its adapter was trained, from the record in its folder: facts, settings, and the command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from ..training.text_to_cxr_arguments import (
    FlowDistillationArguments,
    TextToCxrArguments,
    TextToCxrLoraArguments,
)
from .checkpoints import folder_name, format_duration, format_number, is_setting


RECORD_NAME = "training.json"

_OBJECTIVES = {
    "flow": "rectified flow, times logit-normal",
    "epsilon": "diffusion, the noise is predicted",
    "v_prediction": "diffusion, the velocity is predicted",
}
_FOLDERS = ("dataset", "model_name_or_path", "text_model", "autoencoder")
# Settings that belong to one objective only; the record has them all.
_UNUSED = {"flow": ("min_snr_gamma",), "epsilon": ("time_mean", "time_std", "sampling_shift")}
_UNUSED["v_prediction"] = _UNUSED["epsilon"]
_SAID = ("dataset", "dataset_revision", "model_name_or_path", "seed", "max_steps", "objective")


def generator_training(record: Mapping[str, Any], *, objective: str | None = None) -> dict[str, Any]:
    """
    The record of a training as rows of a card; folders are named without their path.

    Args:
        record (`Mapping`): `training.json`: `request`, `num_pairs`, `metrics`, `runtime_seconds`, `environment`, and
            `started_from`, such a record of the generator that the training began with.
        objective (`str`, *optional*): What the checkpoint's scheduler says was learnt, where it decides instead of the
            request: of adapters the request says nothing.

    Returns:
        `dict`: `training_facts` and `arguments`, as pairs of a name and a value, and `command`, with that of the
        generator it began with before it; all empty without a record.
    """
    request = dict(record.get("request") or {})
    if not request:
        return {"training_facts": [], "arguments": [], "command": ""}
    metrics, environment = dict(record.get("metrics") or {}), dict(record.get("environment") or {})
    if objective is None and not request.get("model_name_or_path"):
        objective = request.get("objective")
    steps = metrics.get("steps") or request.get("max_steps")
    per_step = request.get("per_device_train_batch_size", 0) * request.get("gradient_accumulation_steps", 1)
    facts = {
        "learns": _OBJECTIVES.get(objective or "", objective),
        "trained on": ", ".join(folder_name(name) for name in request.get("dataset") or ()),
        "dataset revision": request.get("dataset_revision"),
        "pairs": format_number(record.get("num_pairs")),
        "started from": folder_name(request.get("model_name_or_path") or "") or None,
        "optimiser steps": format_number(steps),
        "images seen by each process": format_number(steps * per_step) if steps and per_step else None,
        "seed": request.get("seed"),
        "wall time": format_duration(record.get("runtime_seconds")),
        "images per second": metrics.get("images_per_second"),
        "validation loss": format_number(metrics.get("eval_loss")),
        "hardware": environment.pop("device", None),
        "versions": ", ".join(f"{name} {number}" for name, number in environment.items()) or None,
        "finished": "no, these are weights on the way" if record.get("finished") is False else None,
    }
    settings = {
        name: _shown(name, value)
        for name, value in request.items()
        if name not in (*_SAID, *_UNUSED.get(objective or "", ())) and (is_setting(value) or isinstance(value, list))
    }
    return {
        "training_facts": [(name, value) for name, value in facts.items() if value not in (None, "")],
        "arguments": sorted((name, value) for name, value in settings.items() if value != ""),
        "command": "\n".join(_commands(record)),
    }


def _commands(record: Mapping[str, Any], output: str | None = None) -> list[str]:
    """The command of a record, after those of the generators that it began with."""
    request, started_from = record["request"], record.get("started_from") or {}
    steps = (record.get("metrics") or {}).get("steps") or request.get("max_steps")
    before = _commands(started_from, folder_name(request["model_name_or_path"])) if started_from.get("request") else []
    return [*before, training_command({**request, "max_steps": steps}, output=output)]


def training_command(request: Mapping[str, Any], *, output: str | None = None) -> str:
    """
    The command that trains so: every setting that is not the default as a flag.

    Args:
        request (`Mapping`): Settings of a record. Folders are named without their path.
        output (`str`, *optional*): Folder that it writes to; named by what it makes if not given.

    Returns:
        `str`: For a shell; ends with the folder that it writes to.
    """
    if "num_windows" in request:
        kind, script, made = FlowDistillationArguments, "distil_text_to_cxr.py", "generator"
    elif request.get("model_name_or_path"):
        kind, script, made = TextToCxrLoraArguments, "train_text_to_cxr_lora.py", "adapter"
    else:
        kind, script, made = TextToCxrArguments, "train_text_to_cxr.py", "generator"
    defaults = {item.name: _default(item) for item in fields(kind)}
    lines = [f"accelerate launch training_scripts/{script}"]
    for name, value in request.items():
        if name == "output_dir" or value in (None, "") or (name in defaults and value == defaults[name]):
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            lines += [f"--{flag}"] if value else [f"--no-{flag}"] if name in defaults else []
            continue
        values = [_named(name, item) for item in (value if isinstance(value, list) else [value])]
        lines.append(f"--{flag} {' '.join(shlex.quote(item) for item in values)}")
    return " \\\n    ".join([*lines, f"--output-dir {output or made}"])


def _shown(name: str, value: Any) -> str:
    return ", ".join(_named(name, item) for item in (value if isinstance(value, list) else [value]))


def _named(name: str, value: Any) -> str:
    return folder_name(str(value)) if name in _FOLDERS else str(value)


def _default(item: Field) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return None if item.default is MISSING else item.default
