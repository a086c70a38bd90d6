"""What the card templates show of results and datasets, as plain rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from huggingface_hub import EvalResult

from ..evaluation.results import Result
from ..ontology import FINDING_IDS
from .dataset_build import shipped_sources
from .dataset_statistics import SplitStatistics


Content = dict[str, Any]

_TASK_TYPES = {"zero_shot_classification": "zero-shot-image-classification"}
_NOT_INDEXED = ("image_to_report_recall_at_1", "image_to_report_recall_at_5")
_NOT_DETAILED = ("auprc",)  # of one finding it says little without the finding's prevalence
_MEAN_OF = "; mean of "
_ACRONYMS = {"auroc", "auprc"}
_MAX_SOURCES = 12
_SIMULATION = f"synthcxr {version('synthcxr')} simulation, Apache-2.0"
_SHIPPED = f"generator that comes with synthcxr {version('synthcxr')}, Apache-2.0"


def results_content(results: Sequence[Result]) -> Content:
    """
    Results by dataset, in order of appearance: what is said of each at a glance, its details, and all protocols.

    A dataset may be measured in many ways. The first one of a task (its prompts and negatives, in all its strata)
    leads: the details are of that one; of the others only the main metrics are shown. `results.json` has them all, and
    the way back from reports to images.

    Args:
        results (`Sequence[Result]`): In the order of `results.json`.
    """
    sections: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        sections.setdefault((result.dataset, result.dataset_revision or ""), []).append(result)
    leading = _leading_ways(results)
    led = [result for result in results if _is_main(result) and _way(result) == leading[_place(result)]]
    protocols = [result.protocol.partition(_MEAN_OF)[0] for result in led]
    return {
        "sections": [_result_section(group) for group in sections.values()],
        "protocols": list(dict.fromkeys(protocols)),
    }


def model_index_entries(results: Sequence[Result]) -> list[EvalResult]:
    """
    The main metrics as entries of a card's `model-index`; the protocol and the interval go with every number.

    Details by finding, chance, the smaller cut-offs of recall, the way back from reports to images and all but the
    leading way to measure a dataset are left to `results.json`.
    """
    leading = _leading_ways(results)
    return [
        EvalResult(
            task_type=_TASK_TYPES.get(result.task, result.task.replace("_", "-")),
            task_name=_words(result.task),
            dataset_type=result.dataset,
            dataset_name=_words(result.dataset),
            dataset_revision=result.dataset_revision,
            metric_type=result.metric_name,
            metric_name=", ".join(filter(None, (_metric(result), _comparison(result)))),
            metric_value=round(result.value, 4),
            metric_args=_metric_arguments(result),
        )
        for result in results
        if _is_main(result) and result.metric not in _NOT_INDEXED and _way(result) == leading[_place(result)]
    ]


def composition(
    splits: Mapping[str, SplitStatistics], *, name: str = "", licenses: Mapping[str, str] | None = None
) -> Content:
    """
    Rows of a dataset by split, origin and source.

    Args:
        splits (`Mapping[str, SplitStatistics]`): Counts per split.
        name (`str`, *optional*): Name of the dataset.
        licenses (`Mapping[str, str]`, *optional*):
            Licence per source; simulated rows are the simulation's, those of shipped generators are known.
    """
    has_drawn = any(split.origins["synthetic"] for split in splits.values())
    licenses = dict.fromkeys(shipped_sources() if has_drawn else (), _SHIPPED) | dict(licenses or {})
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
        "kind": _kind(splits),
    }


def _kind(splits: Mapping[str, SplitStatistics]) -> str:
    """Origin of every row in one word; `"mixed"` where they differ."""
    origins = {origin for split in splits.values() for origin in split.origins}
    return str(origins.pop() or "mixed") if len(origins) == 1 else "mixed"


def _result_section(group: Sequence[Result]) -> Content:
    leading = _leading_ways(group)
    led = [result for result in group if _way(result) == leading[_place(result)]]
    chance = {(result.metric_name, result.protocol): result.value for result in group if result.subject == "chance"}
    parts = [part for result in group for part in result.protocol.split("; ")]
    origin = next((part.removeprefix("images=") for part in parts if part.startswith("images=")), None)
    return {
        "dataset": group[0].dataset,
        "revision": group[0].dataset_revision,
        "origin": origin,
        "summary": [
            {
                "metric": _metric(result),
                "comparison": _comparison(result),
                "value": _interval(result),
                "chance": _chance(result, chance),
                "num_samples": result.num_samples,
            }
            for result in group
            if _is_main(result)
        ],
        "details": _details(led),
    }


def _details(results: Sequence[Result]) -> Content:
    """A table with a row for each subject; the columns are the metrics, within each kind of strata, and baselines."""
    columns: dict[tuple[str, str], str] = {}
    subjects: dict[str, dict[tuple[str, str], Result]] = {}
    for result in results:
        if result.subject not in ("", "chance") and result.metric_name not in _NOT_DETAILED:
            column = (result.metric_name, _comparison(result))
            columns[column] = ", ".join(filter(None, (_metric(result), column[1])))
            subjects.setdefault(result.subject, {})[column] = result
    lists = [result.protocol.partition(_MEAN_OF)[2] for result in results if not result.subject]
    averaged = set(next(filter(None, lists), "").split(", ")) & set(subjects)
    return {
        "columns": list(columns.values()),
        "rows": [
            {
                "subject": _words(name),
                "outside": bool(averaged) and name not in averaged,
                "numbers": [_interval(found[column]) if column in found else None for column in columns],
                "num_samples": next(iter(found.values())).num_samples,
            }
            for name, found in subjects.items()
        ],
        "any_baseline": any(name.endswith("alone") or " alone, " in name for name in columns.values()),
        "any_outside": bool(averaged) and len(averaged) < len(subjects),
    }


def _is_main(result: Result) -> bool:
    return not result.subject and not result.metric.startswith("report_to_image_")


def _place(result: Result) -> tuple[str, str, str]:
    return result.task, result.dataset, result.dataset_revision or ""


def _way(result: Result) -> tuple[str, ...]:
    """What of the protocol differs from the plain one, whatever the strata."""
    return tuple(part for part in result.variant.split(", ") if part and not part.startswith("strata="))


def _leading_ways(results: Sequence[Result]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Per task and dataset the way that was measured first: against all negatives, with the first prompt set."""
    leading: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for result in results:
        leading.setdefault(_place(result), _way(result))
    return leading


def _comparison(result: Result) -> str:
    """Which images stand against which, in words; empty for all against all."""
    words = []
    for part in filter(None, result.variant.split(", ")):
        name, _, value = part.partition("=")
        if name == "strata":
            column, _, matched = value.partition(" x ")
            words.append(f"within {column}" + (" and brightness" if matched else ""))
        elif name == "negatives":
            words.append(f"against {_words(value)} only")
        elif name == "score" and not value.startswith("logit of "):  # the classifier's own score is the plain one
            words.append(f"{_words(value)} alone")
        elif name != "score":
            words.append(f"{name}: {value}")
    return ", ".join(words)


def _chance(result: Result, chance: Mapping[tuple[str, str], float]) -> str | None:
    if result.metric_name.endswith("auroc"):
        return "0.5"  # by definition
    value = chance.get((result.metric_name, result.protocol))
    return None if value is None else format(value, _digits(result))


def _interval(result: Result) -> str:
    """The number, and its 95 % interval in brackets."""
    digits = _digits(result)
    number = format(result.value, digits)
    if result.ci_low is None:
        return number
    return f"{number} ({result.ci_low:{digits}} to {result.ci_high:{digits}})"


def _digits(result: Result) -> str:
    return ",.1f" if result.metric_name.endswith("rank") or abs(result.value) >= 100 else ".3f"


def _metric(result: Result) -> str:
    """A metric as the field writes it: macro AUROC, image to report R@10."""
    name = _words(result.metric_name).replace("recall at ", "R@")
    return " ".join(word.upper() if word in _ACRONYMS else word for word in name.split())


def _metric_arguments(result: Result) -> Content:
    protocol, mean_of, findings = result.protocol.partition(_MEAN_OF)
    if mean_of:
        protocol += f"{mean_of}{len(findings.split(', '))} findings"  # results.json names them
    arguments: Content = {"protocol": protocol, "num_samples": result.num_samples, "seed": result.seed}
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


def _words(name: str) -> str:
    return name.replace("_", " ")
