"""The main job end to end: simulate, pretrain, evaluate, cards and figures; run again, it reuses what is finished."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..data import build_pairs, load_pairs, prepare_source
from ..data.bfloat16 import computes_in_bfloat16
from ..evaluation.figures import plot_examples, plot_roc
from ..evaluation.results import Result
from ..evaluation.run import evaluate
from ..evaluation.zero_shot import zero_shot_scores
from ..hub.cards import render_dataset_card, render_model_card, save_card
from ..simulation import sample_cohort
from ..training.arguments import PretrainingArguments, PretrainingScriptArguments
from ..training.pretrain import build_model, pretrain
from ..training.training_pairs import load_splits
from .tables import demo_table


# Sentences of reports: the text tower has read nothing else.
PROMPT_SET = "report"


@dataclass(frozen=True)
class DemoSettings:
    """
    How large the demo is. The defaults aim at ten minutes on two CPU cores.

    Args:
        num_studies (`int`): Simulated studies of the balanced cohort; a fifth is held out, half of it for the test.
        num_shifted (`int`): Studies of the second hospital, all for the test.
        image_size (`int`): Side of the images, in pixels.
        num_train_epochs (`float`): Passes over the training pairs.
        batch_size (`int`): Pairs in a step.
        num_bootstrap (`int`): Resamples of patients behind each interval.
        seed (`int`): Of everything.
    """

    num_studies: int = 10_000
    num_shifted: int = 500
    image_size: int = 64
    num_train_epochs: float = 9
    batch_size: int = 64
    num_bootstrap: int = 1000
    seed: int = 0


def run_demo(
    output_dir: Path, *, real_folders: Mapping[str, Path] | None = None, settings: DemoSettings | None = None
) -> list[Result]:
    """
    Do the main job in a folder.

    Args:
        output_dir (`Path`): Gets `pairs`, `second_hospital`, `model` and `untrained`.
        real_folders (`Mapping[str, Path]`, *optional*): Local copies of public datasets of real images, by source
            name; they are read, within view, and never trained on.
        settings (`DemoSettings`, *optional*): Its size.

    Returns:
        `list[Result]`: What is printed.
    """
    settings = settings or DemoSettings()
    console = Console()
    console.rule("1/4 Simulate")
    tests = _build_datasets(output_dir, real_folders or {}, settings)
    console.rule("2/4 Pretrain")
    script_args, training_args = _training_arguments(output_dir, settings)
    record = pretrain(script_args, training_args)
    console.rule("3/4 Evaluate")
    results = _evaluate(output_dir, tests, script_args, settings)
    console.rule("4/4 Cards and figures")
    made = _write_cards(output_dir, settings)
    console.print(demo_table(results, record))
    for path in made:
        console.print(str(path), soft_wrap=True, highlight=False)
    return [result for group in results.values() for result in group]


def _build_datasets(output_dir: Path, real_folders: Mapping[str, Path], settings: DemoSettings) -> dict[str, Path]:
    common: dict[str, Any] = {"image_size": settings.image_size, "num_proc": os.cpu_count() or 1}
    common["regions"] = ("right_lung", "left_lung", "heart")
    pairs = build_pairs(
        sample_cohort(settings.num_studies, preset="balanced", seed=settings.seed),
        output_dir=output_dir / "pairs",
        splits={"train": 0.8, "validation": 0.1, "test": 0.1},
        **common,
    )
    shifted = build_pairs(
        sample_cohort(settings.num_shifted, preset="second_hospital", seed=settings.seed + 1),
        output_dir=output_dir / "second_hospital",
        splits={"test": 1.0},
        **common,
    )
    tests = {"simulated_test": pairs, "second_hospital": shifted}
    for name, folder in real_folders.items():
        tests[name] = prepare_source(name, folder, output_dir=output_dir / name)
    return tests


def _training_arguments(
    output_dir: Path, settings: DemoSettings
) -> tuple[PretrainingScriptArguments, PretrainingArguments]:
    script_args = PretrainingScriptArguments(
        dataset=[str(output_dir / "pairs")],
        image_size=settings.image_size,
        histogram_equalisation="global",
        text_column="findings",
        num_sentences=6,
        agreement_weight=6.0,
        outline_weight=7.0,
        augmentation_strength=0.4,
        attn_implementation="eager",
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training_args = PretrainingArguments(
        output_dir=str(output_dir / "model"),
        num_train_epochs=settings.num_train_epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=2e-3,
        muon_learning_rate=0.04,
        eval_strategy="epoch",
        save_strategy="epoch",
        bf16=computes_in_bfloat16(device),
        use_cpu=device.type == "cpu",
        seed=settings.seed,
    )
    return script_args, training_args


def _evaluate(
    output_dir: Path, tests: Mapping[str, Path], script_args: PretrainingScriptArguments, settings: DemoSettings
) -> dict[str, list[Result]]:
    """The trained model on every test set, and the same model untrained on the simulated one."""
    options: dict[str, Any] = {"num_bootstrap": settings.num_bootstrap, "seed": settings.seed}
    options |= {"text_column": script_args.text_column, "prompt_sets": (PROMPT_SET,)}
    trained = evaluate(output_dir / "model", tests, output_dir=output_dir / "model", **options)
    train, *_ = load_splits(script_args)
    untrained, processor = build_model(script_args, texts=train.unique("report"), seed=settings.seed)
    baseline = evaluate(
        untrained,
        {"simulated_test": tests["simulated_test"]},
        output_dir=output_dir / "untrained",
        processor=processor,
        **options,
    )
    return {"trained": trained, "untrained": baseline}


def _write_cards(output_dir: Path, settings: DemoSettings) -> list[Path]:
    from transformers import AutoModel, AutoProcessor

    folder = output_dir / "model"
    test = load_pairs(output_dir / "pairs", split="test")
    (folder / "figures").mkdir(exist_ok=True)
    scores = zero_shot_scores(folder, test, prompt_set=PROMPT_SET)
    plot_roc(scores, test, folder / "figures" / "roc.png", title="simulated test set, zero-shot")
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    plot_examples(model, processor, test, folder / "figures" / "examples.png")
    cards = [save_card(render_model_card(folder), folder)]
    for name in ("pairs", "second_hospital"):
        cards.append(save_card(render_dataset_card(output_dir / name), output_dir / name))
    return [*cards, folder / "results.json", folder / "figures" / "roc.png", folder / "figures" / "examples.png"]
