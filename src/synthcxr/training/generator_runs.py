"""A training of a generator as a run: its folder is reused, gone on with or refused; its pairs, batches, record."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState
from datasets import Dataset

from ..data.shipped import shipped_checkpoint
from ..data.whole_files import write_json
from ..pipelines import CxrSynthesisPipeline
from .adaptation import load_rows
from .diffusion_draws import DiffusionDraws, PairOrder
from .diffusion_trainer import ConditionedDenoiser, DiffusionCollator, DiffusionTrainer
from .finding_focus import FindingFocus
from .generator_samples import GeneratorExport
from .latent_source import CachedLatents, EncodedLatents, PixelLatents
from .run_records import describe_environment, refuse_other_settings
from .text_to_cxr_arguments import DiffusionTrainingArguments


logger = logging.getLogger(__name__)

RECORD_NAME = "training.json"
# Settings that say where, how long and how often, not what is learnt: changing them does not make another run.
_REPORTING = {"output_dir", "max_steps", "checkpointing_steps", "save_total_limit", "sample_steps", "sample_prompts"}
_REPORTING |= {"logging_steps", "disable_tqdm", "dataloader_num_workers"}


class GeneratorTraining(NamedTuple):
    """
    What a run trains, and with what.

    Args:
        trainer (`DiffusionTrainer`): Trains.
        export (`GeneratorExport`): Writes what was trained.
    """

    trainer: DiffusionTrainer
    export: GeneratorExport


def run_generator_training(
    args: DiffusionTrainingArguments, build: Callable[[Dataset, Dataset | None], GeneratorTraining]
) -> dict[str, Any]:
    """
    Train and save in `args.output_dir`, with a record; or reuse or go on with what is there.

    A folder with a finished run of the same settings is reused, and goes on where `max_steps` was raised; one that was
    stopped goes on from its last checkpoint.

    Args:
        args (`DiffusionTrainingArguments`): Become the request of the record.
        build (`Callable`): From training and validation pairs to the training; not called where a run is reused.

    Returns:
        `dict`: The record: `request`, `num_pairs`, `num_parameters` (those that are trained), `metrics`,
        `num_processes`, `runtime_seconds`, `environment`, `finished`, and `started_from`, the record of the generator
        that a training began with, where its folder has one.

    Raises:
        ValueError: If the folder holds a run of other settings, or the data are not pairs.
    """
    output_dir, request = Path(args.output_dir), run_request(args)
    previous = check_previous(output_dir, request)
    if previous is not None and previous["finished"] and previous["metrics"]["steps"] >= args.max_steps:
        logger.warning("%s already holds this run; it is reused.", output_dir)
        return previous
    train, validation = load_rows(args, "train"), load_rows(args, "validation")
    trainer, export = build(train, validation)
    output_dir.mkdir(parents=True, exist_ok=True)
    record = {"request": request, "num_pairs": len(train), "finished": False, **_started_from(request)}
    if previous is None:
        write_json(output_dir / RECORD_NAME, record)
    metrics = trainer.train()
    if trainer.accelerator.is_main_process:
        export.finish(trainer.last_checkpoint())
        record |= {
            "num_parameters": sum(parameter.numel() for parameter in trainer.parameters),
            "metrics": metrics,
            "num_processes": trainer.accelerator.num_processes,
            "runtime_seconds": metrics.pop("runtime_seconds"),
            "environment": describe_environment(),
            "finished": True,
        }
        write_json(output_dir / RECORD_NAME, record)
    return record


def _started_from(request: Mapping[str, Any]) -> dict[str, Any]:
    name = request.get("model_name_or_path")
    path = Path(shipped_checkpoint(name)) / RECORD_NAME if name else None
    if path is None or not path.is_file():
        return {}
    try:
        return {"started_from": json.loads(path.read_text(encoding="utf-8"))}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def build_training(
    args: DiffusionTrainingArguments,
    export: GeneratorExport,
    denoiser: ConditionedDenoiser,
    objective: Any,
    train: Dataset,
    validation: Dataset | None,
    *,
    image_size: int,
    trainer_class: type[DiffusionTrainer] = DiffusionTrainer,
    **kwargs: Any,
) -> GeneratorTraining:
    """
    The training of a generator.

    Args:
        args (`DiffusionTrainingArguments`): Optimisation.
        export (`GeneratorExport`): Of the pipeline whose parts are trained.
        denoiser (`ConditionedDenoiser`): Of its UNet and text encoder.
        objective (`FlowMatching`, `Diffusion` or `FlowWindows`): What is learnt.
        train (`datasets.Dataset`): Pairs.
        validation (`datasets.Dataset`, *optional*): Held-out pairs.
        image_size (`int`): Side of the square images.
        trainer_class (`type`, *optional*, defaults to `DiffusionTrainer`): Trains.
        kwargs: Of the trainer.
    """
    pipeline = export.pipeline
    # One process encodes what is kept; the others read it.
    with PartialState(cpu=args.use_cpu).main_process_first():
        sources = latent_sources(args, pipeline, train, image_size=image_size)
    fold = pipeline.config["pixel_fold"] if pipeline.vae is None else None
    focus = FindingFocus(args.finding_focus, image_size=image_size, pixel_fold=fold) if args.finding_focus else None
    collators = [
        DiffusionCollator(source, pipeline.tokenizer, pipeline.text_encoder, focus=weighing)
        for source, weighing in zip(sources, (focus, None), strict=True)
    ]
    trainer = trainer_class(
        denoiser,
        training_draws(args, train, objective),
        collators[0],
        args,
        validation=validation_batches(args, validation, objective, collators[1]),
        on_checkpoint=export.checkpoint,
        **kwargs,
    )
    return GeneratorTraining(trainer, export)


def training_draws(args: DiffusionTrainingArguments, train: Dataset, objective: Any) -> DiffusionDraws:
    """What is drawn at every position of the training."""
    labels = train["labels"][:] if args.balance_findings else [()] * len(train)
    order = PairOrder(labels, balance=args.balance_findings, seed=args.seed)
    return DiffusionDraws(
        train,
        objective=objective,
        order=order,
        column=args.captions,
        caption_dropout=args.caption_dropout,
        seed=args.seed,
        with_masks=args.finding_focus > 0,
    )


def validation_batches(
    args: DiffusionTrainingArguments, validation: Dataset | None, objective: Any, collator: DiffusionCollator
) -> list[dict[str, Any]]:
    """Held-out pairs as batches, each pair with its caption, noise and time, the times spread evenly."""
    if validation is None:
        return []
    order = PairOrder([()] * len(validation), balance=0.0, seed=args.seed)
    draws = DiffusionDraws(
        validation, objective=objective, order=order, column=args.captions, caption_dropout=0.0, seed=args.seed
    )
    rows = draws.__getitems__(list(range(len(validation))))
    for place, row in enumerate(rows):
        row["time"] = objective.even_time((place + 0.5) / len(rows))
    size = args.per_device_train_batch_size
    return [collator(rows[start : start + size]) for start in range(0, len(rows), size)]


def latent_sources(
    args: DiffusionTrainingArguments, pipeline: CxrSynthesisPipeline, train: Dataset, *, image_size: int
) -> list[Any]:
    """
    Where training and validation take their latents from.

    Args:
        args (`DiffusionTrainingArguments`): Whether latents are kept, and where.
        pipeline (`CxrSynthesisPipeline`): Its autoencoder, or how it folds pixels.
        train (`datasets.Dataset`): Training pairs.
        image_size (`int`): Side of the square images.

    Raises:
        ValueError: If other processes were to encode on a GPU.
    """
    vae = pipeline.vae
    if vae is None:
        codec = {name: pipeline.config[name] for name in ("pixel_fold", "pixel_mean", "pixel_std")}
        return [PixelLatents(image_size=image_size, **codec)] * 2
    device = PartialState(cpu=args.use_cpu).device
    if device.type != "cpu" and args.dataloader_num_workers and not args.cache_latents:
        raise ValueError("--no-cache-latents encodes on the GPU of this process; drop --dataloader-num-workers.")
    vae.to(device).requires_grad_(requires_grad=False)
    live = EncodedLatents(vae, image_size=image_size)
    if not args.cache_latents:
        return [live, live]
    path = Path(args.output_dir) / "latents.npy"
    size, progress = args.per_device_train_batch_size, not args.disable_tqdm
    return [CachedLatents(train, vae, image_size=image_size, path=path, batch_size=size, progress=progress), live]


def run_request(args: DiffusionTrainingArguments) -> dict[str, Any]:
    """What makes a run another run, as JSON gives it back."""
    settings = {name: value for name, value in asdict(args).items() if name not in _REPORTING}
    if args.lr_scheduler_type != "constant_with_warmup":
        settings["max_steps"] = args.max_steps
    return json.loads(json.dumps(settings))


def check_previous(output_dir: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """
    The record of an earlier run in the folder, if there is one.

    Raises:
        ValueError: If it had other settings; the message names them.
    """
    path = output_dir / RECORD_NAME
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    refuse_other_settings(output_dir, record["request"], request)
    return record
