"""`pretrain`, `evaluate` and `demo`: the verbs that learn and measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, OutputOption, SeedOption


# `pretrain` takes every flag of `TrainingArguments`: they go through untouched and are checked where they are defined.
PASS_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def pretrain(context: typer.Context) -> None:
    """Pre-train a vision-language model (all flags of transformers' TrainingArguments too)."""
    from ...training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
    from ...training.pretrain import pretrain as run

    arguments = parse_arguments(
        [PretrainingScriptArguments, PretrainingArguments], context.args, program="synthcxr pretrain"
    )
    record = run(*arguments)
    print(f"{arguments[1].output_dir}: {record['num_pairs']} pairs, {record['runtime_seconds']} s")


def evaluate(
    dataset: Annotated[list[str], typer.Option(help="Folder or Hub id of pairs; may be given more than once.")],
    output_dir: OutputOption,
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder or Hub id of a dual encoder; for fidelity of an image encoder (the shipped classifier)."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="zero_shot_classification, image_report_retrieval; both by default. Or fidelity, alone."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to measure on; fidelity takes all.")] = "test",
    reference: Annotated[
        str | None, typer.Option(help="For fidelity: pairs with a test split, and the generator's training split.")
    ] = None,
    vision_language_model: Annotated[
        str | None, typer.Option(help="For fidelity: dual encoder that says whether images go with their reports.")
    ] = None,
    prompt_set: Annotated[list[str] | None, typer.Option(help="Zero-shot prompt sets; 'name' by default.")] = None,
    text_column: Annotated[str, typer.Option(help="Texts to retrieve: report, findings or impression.")] = "report",
    num_bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of patients behind the intervals.")] = 1000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images or texts embedded at once.")] = 64,
    seed: SeedOption = 0,
    config: ConfigOption = None,
) -> None:
    """Run named tasks on a model and datasets; writes results.json."""
    from ...data.shipped import CLASSIFIER
    from ...evaluation import run
    from ...evaluation.image_fidelity import TASK
    from ..tables import print_results

    common = {"output_dir": output_dir, "num_bootstrap": num_bootstrap, "seed": seed, "batch_size": batch_size}
    if TASK in (task or ()):
        if task != [TASK] or reference is None:
            raise ValueError("--task fidelity has a model of its own: run it alone, and give --reference.")
        results = run.evaluate_fidelity(
            model or CLASSIFIER,
            dataset,
            reference=reference,
            vision_language_model=vision_language_model,
            **common,
        )
    else:
        if model is None or reference or vision_language_model:
            raise ValueError("give --model; --reference and --vision-language-model belong to --task fidelity.")
        results = run.evaluate(
            model, dataset, tasks=task, split=split, prompt_sets=prompt_set, text_column=text_column, **common
        )
    print_results(results)
    print(output_dir / "results.json")


def demo(
    output_dir: OutputOption,
    real: Annotated[
        list[str] | None, typer.Option(help="Real images to read too, as NAME=FOLDER (nih_chestxray14=...).")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """The main job end to end on the embedded default: simulate, pretrain, evaluate, cards."""
    from ..demo import run_demo

    run_demo(output_dir, real_folders=dict(_split_assignment(item) for item in real or []))


def _split_assignment(item: str) -> tuple[str, Path]:
    name, _, folder = item.partition("=")
    if not folder:
        raise ValueError(f"--real {item!r} is not NAME=FOLDER.")
    return name, Path(folder)
