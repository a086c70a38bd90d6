"""Training a text-to-CXR generator from scratch; killed and started again, it goes on to the same weights."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from diffusers import AutoencoderKL, DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import AutoTokenizer, BertConfig, BertModel, set_seed

from ..data import load_pairs
from ..data.whole_files import write_json
from ..pipelines import CxrSynthesisPipeline
from ..pipelines.text_conditioning import load_text_encoder
from .diffusion_draws import DiffusionDraws, PairOrder
from .diffusion_objectives import objective_of
from .diffusion_trainer import ConditionedDenoiser, DiffusionCollator, DiffusionTrainer
from .generator_samples import GeneratorExport
from .latent_source import CachedLatents, EncodedLatents, PixelLatents, pixel_statistics
from .pretrain import describe_environment
from .text_to_cxr_arguments import DiffusionTrainingArguments, TextToCxrArguments
from .tokenizer import train_tokenizer


logger = logging.getLogger(__name__)

RECORD_NAME = "training.json"
NUM_TIMESTEPS = 1000
# Settings that say where, how long and how often, not what is learnt: changing them does not make another run.
_REPORTING = {"output_dir", "max_steps", "checkpointing_steps", "save_total_limit", "sample_steps", "sample_prompts"}
_REPORTING |= {"logging_steps", "disable_tqdm", "dataloader_num_workers", "cache_latents"}


def train_text_to_cxr(args: TextToCxrArguments) -> dict[str, Any]:
    """
    Train a generator and save it as a pipeline in `args.output_dir`.

    A folder with a finished run of the same settings is reused, and goes on where `max_steps` was raised; one that was
    stopped goes on from its last checkpoint.

    Args:
        args (`TextToCxrArguments`): Pairs, generator, optimisation.

    Returns:
        `dict`: The record: `request`, `num_pairs`, `num_parameters`, `metrics`, `runtime_seconds`, `finished`.

    Raises:
        ValueError: If the folder holds a run of other settings, or the data are not pairs.
    """
    output_dir = Path(args.output_dir)
    request = run_request(args)
    previous = check_previous(output_dir, request)
    if previous is not None and previous["finished"] and previous["metrics"]["steps"] >= args.max_steps:
        logger.warning("%s already holds this run; it is reused.", output_dir)
        return previous
    train, validation = load_generator_pairs(args)
    output_dir.mkdir(parents=True, exist_ok=True)
    record = {"request": request, "num_pairs": len(train), "finished": False}
    if previous is None:
        write_json(output_dir / RECORD_NAME, record)

    set_seed(args.seed)
    components = build_components(args, train)
    denoiser = ConditionedDenoiser(components["unet"], components["text_encoder"])
    record["num_parameters"] = sum(parameter.numel() for parameter in denoiser.parameters())
    objective = objective_of(
        components["scheduler"], time_mean=args.time_mean, time_std=args.time_std, min_snr_gamma=args.min_snr_gamma
    )
    collators = [
        DiffusionCollator(source, components["tokenizer"], components["text_encoder"])
        for source in latent_sources(args, components, train, validation)
    ]
    export = GeneratorExport(_build_pipeline(args, components), args, validation)
    trainer = DiffusionTrainer(
        denoiser,
        training_draws(args, train, objective),
        collators[0],
        args,
        ema_decay=args.ema_decay,
        validation=validation_batches(args, validation, objective, collators[1]),
        on_checkpoint=export.checkpoint,
    )
    started = time.perf_counter()
    metrics = trainer.train()
    if trainer.accelerator.is_main_process:
        export.finish(trainer.last_checkpoint())
        seconds = round(time.perf_counter() - started + (previous or {}).get("runtime_seconds", 0.0), 1)
        record |= {
            "metrics": metrics,
            "num_processes": trainer.accelerator.num_processes,
            "runtime_seconds": seconds,
            "environment": describe_environment(),
            "finished": True,
        }
        write_json(output_dir / RECORD_NAME, record)
    return record


def build_components(args: TextToCxrArguments, train: Dataset) -> dict[str, Any]:
    """
    The parts of a fresh generator, by their names in a pipeline, and `codec`: how images become latents.

    Args:
        args (`TextToCxrArguments`): Sizes, or pre-trained parts.
        train (`datasets.Dataset`): Pairs that a fresh tokenizer and the pixels' statistics come from.
    """
    vae = None if args.autoencoder is None else AutoencoderKL.from_pretrained(args.autoencoder).eval()
    codec = {}
    if vae is None:
        mean, deviation = pixel_statistics(train, image_size=args.image_size)
        codec = {"pixel_fold": args.pixel_fold, "pixel_mean": mean, "pixel_std": deviation}
    text_encoder, tokenizer = _build_text_encoder(args, train)
    channels = args.pixel_fold**2 if vae is None else vae.config.latent_channels
    factor = args.pixel_fold if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)
    unet = _build_unet(args, channels, args.image_size // factor, text_encoder.config.hidden_size)
    if args.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if args.use_cpu or not torch.cuda.is_available():
        unet.set_attn_processor(AttnProcessor())  # a CPU's fused attention is slow backwards
    text_encoder.requires_grad_(not args.freeze_text_encoder)
    if getattr(text_encoder, "pooler", None) is not None:
        text_encoder.pooler.requires_grad_(False)  # the UNet reads tokens
    parts = {"unet": unet, "text_encoder": text_encoder, "tokenizer": tokenizer, "vae": vae}
    return parts | {"scheduler": _build_scheduler(args), "codec": codec}


def _build_pipeline(args: TextToCxrArguments, components: dict[str, Any]) -> CxrSynthesisPipeline:
    parts = {name: components[name] for name in ("unet", "text_encoder", "tokenizer", "scheduler", "vae")}
    return CxrSynthesisPipeline(
        **parts,
        **components["codec"],
        default_num_inference_steps=args.sampling_steps,
        default_guidance_scale=args.sampling_guidance,
    )


def load_generator_pairs(args: DiffusionTrainingArguments) -> tuple[Dataset, Dataset | None]:
    """Training and validation pairs of all datasets, cut to what is asked for."""
    splits = []
    for split, limit in (("train", args.max_train_samples), ("validation", args.max_eval_samples)):
        parts = [
            load_pairs(name, split=split, revision=args.dataset_revision, optional=split != "train")
            for name in args.dataset
        ]
        parts = [part for part in parts if part is not None]
        rows = concatenate_datasets(parts) if parts else None
        splits.append(rows if rows is None or limit is None else rows.select(range(min(limit, len(rows)))))
    return splits[0], splits[1]


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
    args: TextToCxrArguments, parts: dict[str, Any], train: Dataset, validation: Dataset | None
) -> list[Any]:
    """
    Where training and validation take their latents from.

    Args:
        args (`TextToCxrArguments`): Image size, cache.
        parts (`dict`): `vae` and `codec` of a generator.
        train (`datasets.Dataset`): Training pairs.
        validation (`datasets.Dataset`, *optional*): Held-out pairs, never cached.
    """
    vae = parts["vae"]
    if vae is None:
        return [PixelLatents(image_size=args.image_size, **parts["codec"])] * 2
    vae.to("cuda" if torch.cuda.is_available() and not args.use_cpu else "cpu").requires_grad_(False)
    live = EncodedLatents(vae, image_size=args.image_size)
    if not args.cache_latents:
        return [live, live]
    path = Path(args.output_dir) / "latents.npy"
    size, progress = args.per_device_train_batch_size, not args.disable_tqdm
    return [CachedLatents(train, vae, image_size=args.image_size, path=path, batch_size=size, progress=progress), live]


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
    before = record["request"]
    differing = sorted(name for name in before | request if before.get(name) != request.get(name))
    if differing:
        shown = ", ".join(f"{name} ({before.get(name)!r} then, {request.get(name)!r} now)" for name in differing[:3])
        raise ValueError(f"{output_dir} holds a run with other settings: {shown}; choose another --output-dir.")
    return record


def _build_unet(args: TextToCxrArguments, channels: int, size: int, text_width: int) -> UNet2DConditionModel:
    levels = range(len(args.block_out_channels))
    kinds = ["CrossAttn" if level >= args.attention_from_level else "" for level in levels]
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(args.block_out_channels),
        layers_per_block=args.layers_per_block,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        cross_attention_dim=text_width,
        # By its name the channels of a head; diffusers reads it as the number of heads.
        attention_head_dim=tuple(width // args.channels_per_head for width in args.block_out_channels),
    )


def _build_text_encoder(args: TextToCxrArguments, train: Dataset) -> tuple[Any, Any]:
    if args.text_model is not None:
        return load_text_encoder(args.text_model), AutoTokenizer.from_pretrained(args.text_model)
    tokenizer = train_tokenizer(train.unique("report"), vocab_size=args.vocab_size)
    tokenizer.model_max_length = args.max_text_length
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.text_hidden_size,
        num_hidden_layers=args.text_num_layers,
        num_attention_heads=max(1, args.text_hidden_size // 64),
        intermediate_size=3 * args.text_hidden_size,
        max_position_embeddings=args.max_text_length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    return BertModel(config), tokenizer


def _build_scheduler(args: TextToCxrArguments) -> Any:
    if args.objective == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=NUM_TIMESTEPS, shift=args.sampling_shift)
    return DDPMScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=args.objective,
    )
