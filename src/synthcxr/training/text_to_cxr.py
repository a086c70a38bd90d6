"""Training a text-to-CXR generator from scratch; killed and started again, it goes on to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import AutoTokenizer, BertConfig, BertModel, set_seed

from ..pipelines import CxrSynthesisPipeline
from ..pipelines.text_conditioning import load_text_encoder
from .diffusion_objectives import objective_of
from .diffusion_trainer import ConditionedDenoiser, list_checkpoints, write_log
from .generator_runs import GeneratorTraining, build_training, run_generator_training
from .generator_samples import GeneratorExport
from .latent_source import pixel_statistics
from .report_reading import teach_reading
from .text_to_cxr_arguments import TextToCxrArguments
from .tokenizer import train_tokenizer


NUM_TIMESTEPS = 1000


def train_text_to_cxr(args: TextToCxrArguments) -> dict[str, Any]:
    """
    Train a generator and save it as a pipeline in `args.output_dir`; see [`run_generator_training`].

    Args:
        args (`TextToCxrArguments`): Pairs, generator, optimisation.

    Returns:
        `dict`: The record of the run.

    Raises:
        ValueError: If the folder holds a run of other settings, or the data are not pairs.
    """

    def build(train: Dataset, validation: Dataset | None) -> GeneratorTraining:
        set_seed(args.seed)
        pipeline = build_pipeline(args, train)
        output_dir = Path(args.output_dir)
        if args.reading_steps and not list_checkpoints(output_dir):  # a checkpoint's encoder has learnt to read
            metrics = teach_reading(pipeline, train, validation, args)
            if PartialState(cpu=args.use_cpu).is_main_process:
                write_log(output_dir, metrics)
        if args.freeze_text_encoder:
            pipeline.text_encoder.requires_grad_(requires_grad=False)
        objective = objective_of(
            pipeline.scheduler, time_mean=args.time_mean, time_std=args.time_std, min_snr_gamma=args.min_snr_gamma
        )
        return build_training(
            args,
            GeneratorExport(pipeline, args, validation),
            ConditionedDenoiser(pipeline.unet, pipeline.text_encoder),
            objective,
            train,
            validation,
            image_size=args.image_size,
            ema_decay=args.ema_decay,
        )

    return run_generator_training(args, build)


def build_pipeline(args: TextToCxrArguments, train: Dataset) -> CxrSynthesisPipeline:
    """
    A fresh generator.

    Args:
        args (`TextToCxrArguments`): Sizes, or pre-trained parts.
        train (`datasets.Dataset`): Pairs that a fresh tokenizer and the pixels' statistics come from.

    Raises:
        ValueError: If a pre-trained part cannot be loaded.
    """
    vae = None
    if args.autoencoder is not None:
        vae = _loaded("--autoencoder", AutoencoderKL.from_pretrained, args.autoencoder).eval()
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
    if getattr(text_encoder, "pooler", None) is not None:
        text_encoder.pooler.requires_grad_(requires_grad=False)  # the UNet reads tokens
    return CxrSynthesisPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=_build_scheduler(args),
        **codec,
        default_num_inference_steps=args.sampling_steps,
        default_guidance_scale=args.sampling_guidance,
    )


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
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",  # of the mean token, beside the time
        projection_class_embeddings_input_dim=text_width,
    )


def _build_text_encoder(args: TextToCxrArguments, train: Dataset) -> tuple[Any, Any]:
    if args.text_model is not None:
        loaders = (load_text_encoder, AutoTokenizer.from_pretrained)
        text_encoder, tokenizer = (_loaded("--text-model", load, args.text_model) for load in loaders)
        return text_encoder, tokenizer
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


def _loaded(flag: str, load: Callable[[str], Any], name_or_path: str) -> Any:
    try:
        return load(name_or_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{flag} {name_or_path} cannot be loaded: {' '.join(str(error).split())}") from error


def _build_scheduler(args: TextToCxrArguments) -> Any:
    if args.objective == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=NUM_TIMESTEPS, shift=args.sampling_shift)
    return DPMSolverMultistepScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=args.objective,
        timestep_spacing="trailing",  # from pure noise on, however few the steps
    )
