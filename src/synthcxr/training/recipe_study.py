"""What each part of the low-data recipe brings: models trained with and without, on little and much, several seeds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table

from ..data.bfloat16 import computes_in_bfloat16
from ..data.build_pairs import build_pairs
from ..data.pairs import load_pairs
from ..data.whole_files import write_json
from ..evaluation.encoder import embed_dataset, load_encoder
from ..evaluation.retrieval import measure_retrieval
from ..evaluation.zero_shot import ClassificationProtocol, measure_zero_shot
from ..simulation import sample_cohort
from .arguments import PretrainingArguments, PretrainingScriptArguments
from .pretrain import MODEL_TYPES, pretrain


logger = logging.getLogger(__name__)

# The parts that act while pairs are learnt, each as the settings that switch it on. Adapting the encoders beforehand
# is a job of its own (`training_scripts/adapt_*.py`). Two views of a text differ by its augmentation, so `views` is to
# be compared with `text_augmentation`.
PARTS: dict[str, dict[str, Any]] = {
    "local_loss": {"local_loss_weight": 1.0},
    "image_self_supervision": {"image_self_supervision_weight": 1.0},
    "masked_language": {"masked_language_weight": 0.5},
    "views": {"num_image_views": 2, "num_text_views": 2, "text_augmentation": True},
    "text_augmentation": {"text_augmentation": True},
    "neighbours": {"neighbour_weight": 0.5},
}
MEASURES = ("macro_auroc", "image_to_report_recall_at_10")
RESAMPLES_NAME = "measures.json"


@dataclass
class RecipeStudyArguments:
    """How large the study is; the defaults take a few hours on two CPU cores."""

    output_dir: str = field(metadata={"help": "Gets the pairs, a folder per run and summary.json."})
    num_studies: int = field(default=4000, metadata={"help": "Simulated studies of the hospital cohort."})
    image_size: int = field(default=64, metadata={"help": "Side of the images, in pixels."})
    model_types: list[str] = field(
        default_factory=lambda: sorted(MODEL_TYPES), metadata={"help": "Models that are compared."}
    )
    part_model_type: str = field(default="convirt", metadata={"help": "The model that gets every part alone."})
    percentages: list[int] = field(
        default_factory=lambda: [1, 10, 100], metadata={"help": "Shares of the training pairs that are learnt from."}
    )
    num_passes: list[int] = field(
        default_factory=lambda: [2000, 6000, 12000],
        metadata={"help": "Pairs that are shown in a training, for each of --percentages."},
    )
    part_percentage: int = field(default=10, metadata={"help": "Share of the pairs on which parts are tried alone."})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Of weights, order and views."})
    batch_size: int = field(default=64, metadata={"help": "Pairs in a step; fewer where there are not as many."})
    text_column: Literal["report", "findings", "impression"] = field(
        default="impression", metadata={"help": "What the text tower reads."}
    )
    use_cpu: bool = field(default=False, metadata={"help": "Leave a GPU alone."})

    def __post_init__(self) -> None:
        if len(self.num_passes) != len(self.percentages):
            raise ValueError(f"--num-passes has {len(self.num_passes)} numbers for {len(self.percentages)} shares.")
        if self.part_percentage not in self.percentages:
            raise ValueError(f"--part-percentage {self.part_percentage} is none of --percentages.")
        unknown = [name for name in (*self.model_types, self.part_model_type) if name not in MODEL_TYPES]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no model type; expected one of {', '.join(MODEL_TYPES)}.")


@dataclass(frozen=True)
class Arm:
    """
    One way to train.

    Args:
        model_type (`str`): Model.
        recipe (`str`): `"plain"`, `"whole"` or the name of one of `PARTS`.
        percentage (`int`): Share of the training pairs.
    """

    model_type: str
    recipe: str
    percentage: int

    def settings(self) -> dict[str, Any]:
        """The script's arguments that make it so."""
        if self.recipe == "plain":
            return {}
        parts = [PARTS[self.recipe]] if self.recipe in PARTS else PARTS.values()
        settings = {name: value for part in parts for name, value in part.items()}
        if self.model_type in ("gloria", "mgca"):
            settings.pop("local_loss_weight", None)  # they have their own
        return settings


def run_recipe_study(args: RecipeStudyArguments) -> list[dict[str, Any]]:
    """
    Train and measure every arm with every seed, then compare; run again, it reuses what is finished.

    All are measured on the same held-out studies. An interval covers held-out patients and seeds: both are resampled
    (few seeds make it too narrow). It does not cover which pairs are learnt from: a share is the same first pairs for
    all seeds. The difference from the plain training of the same model is taken within a seed and a resample.

    Args:
        args (`RecipeStudyArguments`): Size.

    Returns:
        `list[dict]`: Per arm and measure `value`, `ci_low`, `ci_high` and the same of the `difference` from plain.
    """
    folder = Path(args.output_dir)
    pairs = build_pairs(
        sample_cohort(args.num_studies, preset="hospital", seed=0),
        image_size=args.image_size,
        output_dir=folder / "pairs",
        splits={"train": 0.8, "validation": 0.1, "test": 0.1},
        regions=("heart",),
    )
    num_train = len(load_pairs(pairs, split="train"))
    test = load_pairs(pairs, split="test")
    measured: dict[Arm, list[dict[str, Any]]] = {}
    runs = [(arm, seed) for seed in args.seeds for arm in arms(args)]
    for number, (arm, seed) in enumerate(runs, start=1):
        logger.warning("Run %d of %d: %s, seed %d", number, len(runs), arm, seed)
        measured.setdefault(arm, []).append(_run(arm, seed, folder, pairs, num_train, test, args))
    summary = summarise(measured)
    write_json(folder / "summary.json", summary)
    Console().print(study_table(summary))
    return summary


def arms(args: RecipeStudyArguments) -> Iterator[Arm]:
    """Every model plain and with the whole recipe at every share; one model with every part alone at one share."""
    for percentage in args.percentages:
        for model_type in args.model_types:
            for recipe in ("plain", "whole"):
                yield Arm(model_type, recipe, percentage)
    if args.part_model_type not in args.model_types:
        yield Arm(args.part_model_type, "plain", args.part_percentage)
    for part in PARTS:
        yield Arm(args.part_model_type, part, args.part_percentage)


def summarise(measured: Mapping[Arm, Sequence[Mapping[str, Any]]], *, seed: int = 0) -> list[dict[str, Any]]:
    """
    Means over seeds with 95 % intervals, and what every arm gains over the plain training of its model.

    Args:
        measured (`Mapping`): Per arm, for each seed in the same order: per measure `value` and `samples`
            `(num_resamples,)`, of the same resamples everywhere.
        seed (`int`, *optional*, defaults to 0): Of the choice of seeds in a resample.
    """
    summary = []
    for arm, runs in measured.items():
        plain = measured.get(Arm(arm.model_type, "plain", arm.percentage), ())
        for name in MEASURES:
            row = {"model_type": arm.model_type, "recipe": arm.recipe, "percentage": arm.percentage, "metric": name}
            values, samples = _of_runs(runs, name)
            row |= _interval(values, samples, seed) | {"per_seed": values.tolist()}
            if arm.recipe != "plain" and len(plain) == len(runs):
                plain_values, plain_samples = _of_runs(plain, name)
                row["difference"] = _interval(values - plain_values, samples - plain_samples, seed)
            summary.append(row)
    return summary


def study_table(summary: Sequence[Mapping[str, Any]]) -> Table:
    """The summary for a terminal."""
    table = Table(title="Simulated hospital cohort; research only, not for clinical use")
    for name in ("pairs", "model", "recipe", "metric", "value", "gain over plain"):
        table.add_column(name)
    for row in sorted(summary, key=lambda row: (row["metric"], row["percentage"])):
        gain = row.get("difference")
        name = row["metric"].replace("_", " ")
        shown = (f"{row['percentage']} %", row["model_type"], row["recipe"].replace("_", " "), name)
        table.add_row(*shown, _shown(row), _shown(gain, sign="+") if gain else "")
    return table


def _run(
    arm: Arm, seed: int, folder: Path, pairs: Path, num_train: int, test: Dataset, args: RecipeStudyArguments
) -> dict[str, Any]:
    output_dir = folder / "runs" / f"{arm.model_type}-{arm.recipe}-{arm.percentage}-{seed}"
    num_pairs = max(2, round(num_train * arm.percentage / 100))
    batch_size = min(args.batch_size, num_pairs)
    script_args = PretrainingScriptArguments(
        dataset=[str(pairs)],
        model_type=arm.model_type,
        image_size=args.image_size,
        histogram_equalisation="global",
        text_column=args.text_column,
        augmentation_strength=0.4,
        attn_implementation="eager",
        max_train_samples=num_pairs,
        **arm.settings(),
    )
    device = torch.device("cuda" if torch.cuda.is_available() and not args.use_cpu else "cpu")
    training_args = PretrainingArguments(
        output_dir=str(output_dir),
        max_steps=max(1, args.num_passes[args.percentages.index(arm.percentage)] // batch_size),
        per_device_train_batch_size=batch_size,
        learning_rate=2e-3,
        muon_learning_rate=0.06,
        bf16=computes_in_bfloat16(device),
        use_cpu=device.type == "cpu",
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    pretrain(script_args, training_args)
    path = output_dir / RESAMPLES_NAME
    if not path.exists():
        write_json(path, _measure(output_dir, test, args.text_column))
    return json.loads(path.read_text())


def _measure(model: Path, test: Dataset, text_column: str) -> dict[str, Any]:
    embeddings = embed_dataset(load_encoder(model), test)
    items = measure_zero_shot(embeddings, test, prompt_set="report", protocol=ClassificationProtocol())
    items += measure_retrieval(embeddings, test, text_column=text_column)
    found = {item.metric: item for item in items if item.metric in MEASURES}
    if len(found) < len(MEASURES):
        raise ValueError(f"{len(test)} held-out studies have no finding often enough; give more --num-studies.")
    return {
        name: {
            "value": item.estimate.value,
            "samples": [None if np.isnan(sample) else round(sample, 5) for sample in item.estimate.samples.tolist()],
            "num_samples": item.num_samples,
            "protocol": item.protocol,
        }
        for name, item in found.items()
    }


def _of_runs(runs: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values `(num_seeds,)` and samples `(num_seeds, num_resamples)`."""
    values, samples = ([run[name][field] for run in runs] for field in ("value", "samples"))
    return np.array(values), np.array(samples, dtype=np.float64)  # without a value in JSON is NaN here


def _interval(values: np.ndarray, samples: np.ndarray, seed: int) -> dict[str, float]:
    """Seeds and patients resampled together."""
    num_seeds, num_resamples = samples.shape
    drawn = np.random.default_rng(seed).integers(num_seeds, size=(num_seeds, num_resamples))
    means = np.take_along_axis(samples, drawn, axis=0).mean(0)
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return {"value": float(values.mean()), "ci_low": float(low), "ci_high": float(high)}


def _shown(row: Mapping[str, float], *, sign: str = "") -> str:
    return f"{row['value']:{sign}.3f} ({row['ci_low']:{sign}.3f} to {row['ci_high']:{sign}.3f})"
