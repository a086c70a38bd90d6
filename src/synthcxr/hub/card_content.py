"""What the card templates show: results, counts and settings as plain rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..evaluation.results import Result
from ..ontology import FINDING_IDS
from .dataset_statistics import SplitStatistics


Content = dict[str, Any]

_TASK_TYPES = {"zero_shot_classification": "zero-shot-image-classification"}
_MAX_SOURCES = 12
_SIMULATION = f"synthcxr {version('synthcxr')} simulation, Apache-2.0"
_USUAL_ARGUMENTS = (
    *("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("weight_decay", "warmup_steps", "lr_scheduler_type", "optim", "bf16", "seed"),
)
_TIMINGS = ("_runtime", "_per_second", "epoch", "total_flos")
# Where a run wrote and how it was watched says nothing about the model, and may name the machine.
_HOST_ARGUMENTS = ("output_dir", "logging_dir", "run_name", "hub_token", "hub_model_id", "push_to_hub_token")


def result_groups(results: Sequence[Result]) -> list[Content]:
    """Results that share task, dataset, revision and protocol, in order of appearance: a table by subject each."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        key = (result.task, result.dataset, result.dataset_revision or "", result.protocol)
        groups.setdefault(key, []).append(result)
    return [_result_group(group) for group in groups.values()]


def model_index_entries(results: Sequence[Result]) -> list[EvalResult]:
    """The results as entries of a card's `model-index`; the protocol and the interval go with every number."""
    return [
        EvalResult(
            task_type=_TASK_TYPES.get(result.task, result.task.replace("_", "-")),
            task_name=_words(result.task),
            dataset_type=result.dataset,
            dataset_name=_words(result.dataset),
            dataset_revision=result.dataset_revision,
            metric_type=result.metric_name,
            metric_name=_metric(result),
            metric_value=round(result.value, 4),
            metric_args=_metric_arguments(result),
        )
        for result in results
    ]


def composition(
    splits: Mapping[str, SplitStatistics], *, name: str = "", licenses: Mapping[str, str] | None = None
) -> Content:
    """
    Rows of a dataset by split, origin and source.

    Args:
        splits (`Mapping[str, SplitStatistics]`): Counts per split.
        name (`str`, *optional*): Name of the dataset.
        licenses (`Mapping[str, str]`, *optional*): Licence per source; simulated rows are the simulation's.
    """
    licenses = licenses or {}
    origins = [
        origin
        for origin in ("real", "simulated", "synthetic", None)
        if origin is not None or any(split.origins[None] for split in splits.values())
    ]
    sources: dict[tuple[str | None, str | None], int] = {}
    for split in splits.values():
        for source, count in split.sources.items():
            sources[source] = sources.get(source, 0) + count
    ranked = sorted(sources.items(), key=lambda item: (-item[1], str(item[0])))
    return {
        "name": name,
        "origins": [origin or "not stated" for origin in origins],
        "splits": [
            {
                "name": split_name,
                "num_rows": split.num_rows,
                "num_patients": split.num_patients,
                "origins": [split.origins[origin] for origin in origins],
            }
            for split_name, split in splits.items()
        ],
        "sources": [
            {
                "origin": origin or "not stated",
                "name": source or "not stated",
                "license": licenses.get(source or "", _SIMULATION if origin == "simulated" else "not stated"),
                "num_rows": count,
            }
            for (origin, source), count in ranked[:_MAX_SOURCES]
        ],
        "num_more_sources": len(ranked[_MAX_SOURCES:]),
    }


def dataset_content(splits: Mapping[str, SplitStatistics], *, licenses: Mapping[str, str] | None = None) -> Content:
    """Everything that a dataset card counts; `licenses` as for [`composition`]."""
    present = [finding for finding in FINDING_IDS if any(_states(split, finding) for split in splits.values())]
    return {
        "splits": list(splits),
        "first_split": next(iter(splits)),
        "num_rows": sum(split.num_rows for split in splits.values()),
        "composition": composition(splits, licenses=licenses),
        "people": _people(splits),
        "findings": [{"finding": finding, "counts": _finding_counts(splits, finding)} for finding in present],
        "absent_findings": [finding for finding in FINDING_IDS if finding not in present] if present else [],
        "reports": [_report_row(name, split) for name, split in splits.items() if split.report_words],
        "entities": [
            {"type": kind, "counts": [split.entities[kind] for split in splits.values()]}
            for kind in sorted({kind for split in splits.values() for kind in split.entities})
        ],
        "quality_words": _quality_words(splits),
        "quality_scores": _quality_scores(splits),
        "simulated_only": all(set(split.origins) == {"simulated"} for split in splits.values()),
    }


def training_content(record: Mapping[str, Any]) -> Content:
    """The record of a pre-training run as facts and settings; folders are named without their path."""
    request = dict(record.get("request") or {})
    settings = dict(request.pop("training", None) or {})
    environment = dict(record.get("environment") or {})
    facts = {
        "trained on": ", ".join(_folder_name(name) for name in request.pop("dataset", None) or ()),
        "dataset revision": request.pop("dataset_revision", None),
        "first and last pair": " to ".join(
            filter(None, (request.pop("first_pair", ""), request.pop("last_pair", "")))
        ),
        "pairs": _count(record.get("num_pairs") or request.pop("num_pairs", None)),
        "pairs shuffled (a control that must end at chance)": "yes" if request.get("shuffle_pairs") else None,
        "started from": _folder_name(request.pop("model_name_or_path", None) or "") or None,
        "seed": settings.get("seed"),
        "wall time": _duration(record.get("runtime_seconds")),
        "pairs per second": record.get("pairs_per_second"),
        "hardware": environment.pop("device", None),
        "versions": ", ".join(f"{name} {number}" for name, number in environment.items()) or None,
    }
    for name, value in (record.get("metrics") or {}).items():
        if not name.endswith(_TIMINGS):
            facts[_words(name.replace("eval_", "validation: "))] = _number(value)
    chosen = {name: value for name, value in request.items() if _is_setting(value) and name != "num_pairs"}
    return {
        "training_facts": [(name, value) for name, value in facts.items() if value not in (None, "")],
        "arguments": sorted((chosen | _changed_settings(settings)).items()),
    }


def _result_group(group: Sequence[Result]) -> Content:
    columns = list(dict.fromkeys(result.metric_name for result in group if result.subject))
    subjects: dict[str, dict[str, Result]] = {}
    for result in group:
        if result.subject:
            subjects.setdefault(result.subject, {})[result.metric_name] = result
    first = group[0]
    return {
        "task": _words(first.task),
        "dataset": first.dataset,
        "revision": first.dataset_revision,
        "protocol": first.protocol,
        "seeds": ", ".join(str(seed) for seed in sorted({result.seed for result in group})),
        "overall": [
            {"metric": _words(result.metric_name), "value": _interval(result), "num_samples": result.num_samples}
            for result in group
            if not result.subject
        ],
        "columns": [_words(name) for name in columns],
        "subjects": [
            {
                "name": _words(name),
                "numbers": [_interval(found[column]) if column in found else None for column in columns],
                "num_samples": max(result.num_samples for result in found.values()),
            }
            for name, found in subjects.items()
        ],
    }


def _interval(result: Result) -> str:
    """The number, and its 95 % interval in brackets."""
    digits = ".3f" if abs(result.value) < 100 else ",.1f"
    number = format(result.value, digits)
    if result.ci_low is None:
        return number
    return f"{number} ({result.ci_low:{digits}} to {result.ci_high:{digits}})"


def _metric(result: Result) -> str:
    return f"{_words(result.metric_name)}, {_words(result.subject)}" if result.subject else _words(result.metric_name)


def _metric_arguments(result: Result) -> Content:
    arguments: Content = {"protocol": result.protocol, "num_samples": result.num_samples, "seed": result.seed}
    if result.ci_low is not None:
        arguments |= {"ci_low": round(result.ci_low, 4), "ci_high": round(result.ci_high, 4)}
    return arguments


def _states(split: SplitStatistics, finding: str) -> bool:
    return bool(split.present[finding] or split.uncertain[finding])


def _finding_counts(splits: Mapping[str, SplitStatistics], finding: str) -> list[Content]:
    return [
        {
            "present": split.present[finding],
            "share": split.present[finding] / max(split.num_rows, 1),
            "uncertain": split.uncertain[finding],
        }
        for split in splits.values()
    ]


def _people(splits: Mapping[str, SplitStatistics]) -> list[tuple[str, str]]:
    ages = sorted(age for split in splits.values() for age in split.ages)
    rows = []
    if ages:
        low, high = ages[round(0.05 * (len(ages) - 1))], ages[round(0.95 * (len(ages) - 1))]
        rows.append(("age, years", f"median {statistics.median(ages):.0f}, 5 to 95 %: {low:.0f} to {high:.0f}"))
    for title, column in (("sex", "sexes"), ("view", "views")):
        counts: dict[str, int] = {}
        for split in splits.values():
            for value, count in getattr(split, column).items():
                counts[value] = counts.get(value, 0) + count
        if counts:
            rows.append((title, ", ".join(f"{value} {count:,}" for value, count in sorted(counts.items()))))
    return rows


def _report_row(name: str, split: SplitStatistics) -> Content:
    words = sorted(split.report_words)
    return {
        "split": name,
        "num_reports": len(words),
        "num_distinct": split.num_distinct_reports,
        "median": round(statistics.median(words)),
        "low": words[round(0.05 * (len(words) - 1))],
        "high": words[round(0.95 * (len(words) - 1))],
    }


def _quality_words(splits: Mapping[str, SplitStatistics]) -> list[Content]:
    keys = sorted({(name, word) for s in splits.values() for name, words in s.quality_words.items() for word in words})
    rows = []
    for name, word in keys:
        counts = [split.quality_words.get(name, {}).get(word, 0) for split in splits.values()]
        shares = [
            {"rows": count, "share": count / max(split.num_rows, 1)}
            for count, split in zip(counts, splits.values(), strict=True)
        ]
        rows.append({"field": name, "value": word, "counts": shares})
    return rows


def _quality_scores(splits: Mapping[str, SplitStatistics]) -> list[Content]:
    names = sorted({name for split in splits.values() for name in split.quality_scores})
    return [
        {
            "field": name,
            "counts": [
                {"rows": len(scores), "mean": statistics.fmean(scores) if scores else None}
                for scores in (split.quality_scores.get(name, []) for split in splits.values())
            ],
        }
        for name in names
    ]


def _changed_settings(settings: Mapping[str, Any]) -> Content:
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
        and (name in _USUAL_ARGUMENTS or _is_setting(value) or stock.get(name) is True)
        and (name in _USUAL_ARGUMENTS or (name in stock and value != stock[name]))
        and value is not None
    }


def _is_setting(value: Any) -> bool:
    """Whether a value is worth a line: not absent, off or a bundle of further settings."""
    return value is not None and value is not False and value != "" and not isinstance(value, dict | list)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _folder_name(name: str) -> str:
    """A Hub id as it is; a folder by its own name, since its path names somebody's machine."""
    return name if name.count("/") == 1 and not Path(name).is_absolute() and name[0] != "." else Path(name).name


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _number(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
