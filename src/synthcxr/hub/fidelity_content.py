"""What cards show of the fidelity of generated images: every number beside its floor, with N and size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult

from ..evaluation.results import Result


Content = dict[str, Any]

TASK = "fidelity"
"""Task of the results that are of generated images."""

_NAMES = {
    "fid": "FID",
    "kid": "KID",
    "ms_ssim_within_prompt": "MS-SSIM within a prompt",
    "ms_ssim_across_prompts": "MS-SSIM across prompts",
    "share_near_training": "share suspiciously near a training image",
    "nearest_distance_ratio": "distance to the nearest training image, against held-out images",
    "macro_auroc": "macro AUROC of the findings asked for",
    "macro_side_accuracy": "side of the findings asked for, correct",
    "macro_side_auroc": "left from right, AUROC",
    "report_match": "own report preferred to another's",
}
# Of the images that are compared with, the same number stands beside that of the generated ones.
_BESIDE = ("floor", "reference")
_SPACES = ("", "pixels")
_BY_FINDING = ("auroc", "side_accuracy")


def fidelity_content(results: Sequence[Result]) -> list[Content]:
    """
    One section per set of generated images, in order of appearance.

    Args:
        results (`Sequence[Result]`): Of any tasks; those of `fidelity` are taken.
    """
    return [_section(results, *names) for names in _generated(results)]


def fidelity_entries(results: Sequence[Result]) -> list[EvalResult]:
    """The main numbers of generated images as entries of a card's `model-index`, each with its floor."""
    return [
        EvalResult(
            task_type="text-to-image",
            task_name=TASK,
            dataset_type=reference,
            dataset_name=reference.replace("_", " "),
            metric_type=result.metric_name,
            metric_name=", ".join(filter(None, (_title(result), _seen_by(result)))),
            metric_value=float(f"{result.value:.4g}"),
            metric_args=_arguments(result, _beside(results, result, reference)),
        )
        for dataset, reference in _generated(results)
        for result in _main(results, dataset)
    ]


def _generated(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Names of generated sets and of what each was compared with; a reference has results of its own as well."""
    pairs = ((result.dataset, _part(result, "reference")) for result in results if result.task == TASK)
    return list(dict.fromkeys((dataset, reference) for dataset, reference in pairs if reference))


def _section(results: Sequence[Result], dataset: str, reference: str) -> Content:
    own = [result for result in results if result.task == TASK and result.dataset == dataset]
    main = list(_main(results, dataset))
    return {
        "dataset": dataset,
        "reference": reference,
        "origin": next(filter(None, (_part(result, "images") for result in own)), None),
        "size": next(filter(None, ((_part(result, "size") or "").partition(",")[0] for result in own)), None),
        "rows": [
            {
                "metric": _title(result),
                "seen_by": _seen_by(result),
                "value": _interval(result),
                "beside": _beside_in_words(result, _beside(results, result, reference)),
                "num_samples": result.num_samples,
            }
            for result in main
        ],
        "findings": _findings(results, own, reference),
        "protocols": list(dict.fromkeys(result.protocol.partition("; mean of ")[0] for result in main)),
    }


def _main(results: Sequence[Result], dataset: str) -> Iterator[Result]:
    for result in results:
        if result.task == TASK and result.dataset == dataset and result.subject in _SPACES:
            yield result


def _beside(results: Sequence[Result], result: Result, reference: str) -> Result | None:
    """The floor of a number, or the same number of the reference's own images."""
    for other in results:
        if other.task != TASK or other.metric_name != result.metric_name or _seen_by(other) != _seen_by(result):
            continue
        if other.dataset == result.dataset and other.subject in _BESIDE and not result.subject:
            if _part(other, "reference") == _part(result, "reference"):
                return other
        if other.dataset == reference != result.dataset and other.subject == result.subject:
            return other
    return None


def _beside_in_words(result: Result, beside: Result | None) -> str | None:
    if beside is not None:
        return _interval(beside)
    if result.metric_name == "nearest_distance_ratio":
        return "1 by definition"
    quantile = re.search(r"nearer than the ([\d.e-]+) quantile", result.protocol)
    return f"{quantile[1]} by definition" if quantile else None


def _findings(results: Sequence[Result], own: Sequence[Result], reference: str) -> list[Content]:
    """Per finding what a classifier says of generated images, beside the reference's own."""
    rows: dict[str, Content] = {}
    for result in own:
        if result.metric_name in _BY_FINDING and result.subject:
            row = rows.setdefault(result.subject, {"num_samples": result.num_samples})
            beside = _beside(results, result, reference)
            row[result.metric_name] = _interval(result)
            row[f"{result.metric_name}_beside"] = None if beside is None else _interval(beside)
    columns = [f"{name}{end}" for name in _BY_FINDING for end in ("", "_beside")]
    return [
        {
            "finding": finding.replace("_", " "),
            "numbers": [row.get(column) for column in columns],
            "num_samples": row["num_samples"],
        }
        for finding, row in rows.items()
    ]


def _part(result: Result, name: str) -> str | None:
    """A `name=value` of the protocol."""
    for part in result.protocol.partition("; mean of ")[0].split("; "):
        if part.startswith(f"{name}="):
            return part.removeprefix(f"{name}=")
    return None


def _seen_by(result: Result) -> str | None:
    """The encoder or classifier behind a number; nothing where pixels are compared."""
    if result.metric_name.startswith("ms_ssim") or result.subject == "pixels":
        return None
    return _part(result, "encoder") or (_part(result, "score") or "").removeprefix("logit of ") or None


def _title(result: Result) -> str:
    name = _NAMES.get(result.metric_name, result.metric_name.replace("_", " "))
    return f"{name} ({result.subject})" if result.subject in _SPACES and result.subject else name


def _interval(result: Result) -> str:
    if result.ci_low is None:
        return f"{result.value:.4g}"
    return f"{result.value:.4g} ({result.ci_low:.3g} to {result.ci_high:.3g})"


def _arguments(result: Result, beside: Result | None) -> Mapping[str, Any]:
    arguments: Content = {
        "protocol": result.protocol.partition("; mean of ")[0],
        "num_samples": result.num_samples,
        "seed": result.seed,
    }
    if result.ci_low is not None:
        arguments |= {"ci_low": float(f"{result.ci_low:.4g}"), "ci_high": float(f"{result.ci_high:.4g}")}
    if beside is not None:
        arguments[beside.subject or "reference"] = float(f"{beside.value:.4g}")
    return arguments
