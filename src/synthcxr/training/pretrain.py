"""The pre-training job: pairs in, a model folder out that anybody can load; killed and started again, it goes on."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import sort_checkpoints

from ..data.collators import DrawnDataset, PairCollator
from ..data.mixing import StreamedPairs
from ..data.text_augmentation import ReportAugmentation
from ..data.transforms import RadiographAugmentation
from ..data.whole_files import write_json
from ..evaluation.encoder import embed_dataset, load_encoder
from ..evaluation.retrieval import image_report_retrieval
from ..evaluation.zero_shot import zero_shot_classification
from ..models import (
    ConvirtConfig,
    ConvirtModel,
    CxrClipConfig,
    CxrClipModel,
    CxrImageProcessor,
    CxrProcessor,
    GloriaConfig,
    GloriaModel,
    MgcaConfig,
    MgcaModel,
    set_word_pieces,
)
from .arguments import PretrainingArguments, PretrainingScriptArguments
from .low_data_recipe import LowDataRecipe
from .run_records import describe_environment, refuse_other_settings
from .text_adaptation import adapt_text_tower
from .tokenizer import train_tokenizer
from .trainers import PretrainingTrainer
from .training_pairs import Splits, describe_mix, load_splits, read_texts


logger = logging.getLogger(__name__)

MODEL_TYPES = {
    "convirt": (ConvirtConfig, ConvirtModel),
    "cxr_clip": (CxrClipConfig, CxrClipModel),
    "gloria": (GloriaConfig, GloriaModel),
    "mgca": (MgcaConfig, MgcaModel),
}
RECORD_NAME = "pretraining.json"
DEFAULT_IMAGE_SIZE = 224  # of towers, such as a ResNet, whose configuration names none

# Settings that say where and how often a run reports, not what it learns: changing them does not make another run.
_REPORTING = {"output_dir", "logging_steps", "disable_tqdm", "report_to", "run_name", "resume_from_checkpoint"}
_REPORTING |= {"save_steps", "save_strategy", "save_total_limit", "push_to_hub", "hub_model_id", "hub_token"}


def pretrain(script_args: PretrainingScriptArguments, training_args: PretrainingArguments) -> dict[str, Any]:
    """
    Pre-train a dual encoder and save it, with its processor and a record of the run, in `training_args.output_dir`.

    A folder that holds a finished run of the same request is reused; one that was stopped goes on from its last
    checkpoint.

    Args:
        script_args (`PretrainingScriptArguments`): Pairs and model.
        training_args (`PretrainingArguments`): Optimisation.

    Returns:
        `dict`: The record: `request`, `num_pairs`, `num_parameters`, `metrics`, `runtime_seconds`, `pairs_per_second`,
        `environment`, `finished`.

    Raises:
        ValueError: If the folder holds a run of another request (the message names what differs), or the data are not
            pairs.
    """
    output_dir = Path(training_args.output_dir)
    if script_args.streaming and training_args.max_steps < 1:
        raise ValueError("--streaming has no epochs; give --max-steps.")
    splits = load_splits(script_args)
    request = _request(script_args, training_args, splits)
    previous = _check_previous(output_dir, request)
    if previous is not None and previous["finished"]:
        logger.warning("%s already holds this run; it is reused.", output_dir)
        return previous

    model, processor = build_model(script_args, texts=read_texts(splits.train), seed=training_args.seed)
    output_dir.mkdir(parents=True, exist_ok=True)
    record = {
        "request": request,
        "num_pairs": request["num_pairs"],
        "mix": describe_mix(splits, script_args),
        "num_parameters": model.num_parameters(),
        "finished": False,
    }
    if len(record["mix"]) > 1:
        logger.warning("Shares of the training pairs: %s", record["mix"])
    if previous is not None and "text_adaptation" in previous:
        record["text_adaptation"] = previous["text_adaptation"]
    write_json(output_dir / RECORD_NAME, record)

    checkpoint = training_args.resume_from_checkpoint or last_whole_checkpoint(
        output_dir, num_processes=training_args.world_size
    )
    started = time.perf_counter()
    if script_args.text_adaptation_epochs > 0 and not checkpoint:
        epochs = script_args.text_adaptation_epochs
        adaptation = adapt_text_tower(model, processor, splits.train, num_epochs=epochs, args=training_args)
        record["text_adaptation"] = adaptation
        write_json(output_dir / RECORD_NAME, record)
    trainer = build_trainer(model, processor, splits, script_args, training_args)
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if splits.validation is not None:
        metrics |= trainer.evaluate()
    # In pieces everywhere under FSDP: all processes put them together, one saves.
    weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    if trainer.is_world_process_zero():
        if weights is not None and script_args.low_data.is_on:
            own = {name: values for name, values in weights.items() if name.startswith("model.")}
            weights = {name.removeprefix("model."): values for name, values in own.items()}
        model.save_pretrained(output_dir, state_dict=weights)
        processor.save_pretrained(output_dir)
        record |= {
            "metrics": metrics,
            "runtime_seconds": round(time.perf_counter() - started, 1),
            "pairs_per_second": metrics.get("train_samples_per_second"),
            "resumed_from": checkpoint and Path(checkpoint).name,
            "environment": describe_environment(),
            "finished": True,
        }
        write_json(output_dir / RECORD_NAME, record)
    return record


def build_model(
    script_args: PretrainingScriptArguments, *, texts: list[str], seed: int
) -> tuple[PreTrainedModel, CxrProcessor]:
    """
    A model and its processor: from a checkpoint, from two pre-trained towers, or fresh with a tokenizer of its own.

    Args:
        script_args (`PretrainingScriptArguments`): Says which of the three.
        texts (`list[str]`): Reports that a fresh tokenizer is trained on.
        seed (`int`): Of the fresh weights.
    """
    config_class, model_class = MODEL_TYPES[script_args.model_type]
    set_seed(seed)
    if script_args.model_name_or_path:
        model = model_class.from_pretrained(script_args.model_name_or_path)
        return model, CxrProcessor.from_pretrained(script_args.model_name_or_path)

    if script_args.vision_model:
        model = model_class.from_vision_text_pretrained(script_args.vision_model, script_args.text_model)
        tokenizer = AutoTokenizer.from_pretrained(script_args.text_model)
    else:
        tokenizer = train_tokenizer(texts, vocab_size=script_args.vocab_size)
        make_config = config_class.tiny if script_args.model_size == "tiny" else config_class.base
        model = model_class(make_config(vocab_size=len(tokenizer)))
    if script_args.attn_implementation:
        model.set_attn_implementation(script_args.attn_implementation)
    set_word_pieces(model, tokenizer)
    tokenizer.model_max_length = script_args.max_text_length
    vision_config = model.config.vision_config
    size = script_args.image_size or getattr(vision_config, "image_size", DEFAULT_IMAGE_SIZE)
    image_processor = CxrImageProcessor(
        size=size,
        num_channels=vision_config.num_channels,
        histogram_equalisation=script_args.histogram_equalisation,
    )
    return model, CxrProcessor(image_processor, tokenizer)


def build_trainer(
    model: PreTrainedModel,
    processor: CxrProcessor,
    splits: Splits,
    script_args: PretrainingScriptArguments,
    training_args: PretrainingArguments,
) -> PretrainingTrainer:
    """The trainer of a run, with its collator and its measures on the validation pairs."""
    train, validation, sizes = splits
    text = {"text_column": script_args.text_column, "max_length": script_args.max_text_length}
    low_data = script_args.low_data
    with_masks = low_data.outline_weight > 0

    def evaluate_model(trained: nn.Module) -> dict[str, float]:
        model = trained.model if isinstance(trained, LowDataRecipe) else trained
        encoder = load_encoder(model, processor, batch_size=training_args.per_device_eval_batch_size)
        embeddings = embed_dataset(encoder, validation)
        results = zero_shot_classification(embeddings, validation, num_bootstrap=0)
        results += image_report_retrieval(embeddings, validation, text_column=script_args.text_column, num_bootstrap=0)
        return {result.metric: result.value for result in results if not result.subject}

    return PretrainingTrainer(
        model=LowDataRecipe(model, processor.tokenizer, low_data) if low_data.is_on else model,
        args=training_args,
        train_dataset=train if isinstance(train, StreamedPairs) else DrawnDataset(train, with_masks=with_masks),
        eval_dataset=None if validation is None else DrawnDataset(validation),
        data_collator=_training_collator(processor, script_args, seed=training_args.seed, **text),
        eval_collator=PairCollator(processor, **text),
        processing_class=processor,
        evaluate_model=None if validation is None else evaluate_model,
        mix=script_args.mix and (list(sizes.values()), script_args.mix),
    )


def _training_collator(
    processor: CxrProcessor, script_args: PretrainingScriptArguments, *, seed: int, **text: Any
) -> PairCollator:
    strength, low_data = script_args.augmentation_strength, script_args.low_data
    return PairCollator(
        processor,
        sentences=script_args.sentences,
        num_sentences=script_args.num_sentences,
        num_image_views=low_data.num_drawn_image_views,
        num_text_views=low_data.num_text_views,
        augmentation=RadiographAugmentation(strength=strength) if strength > 0 else None,
        text_augmentation=ReportAugmentation() if script_args.text_augmentation else None,
        report_keys=low_data.neighbour_weight > 0,
        statements=low_data.agreement_weight > 0,
        finding_maps=low_data.outline_weight > 0,
        seed=seed,
        cache_images=script_args.cache_images,
        **text,
    )


def last_whole_checkpoint(output_dir: Path, *, num_processes: int = 1) -> str | None:
    """
    The newest checkpoint that was written to its end: a run that is killed while it saves leaves half of one.

    Args:
        output_dir (`Path`): Folder of a run.
        num_processes (`int`, *optional*, defaults to 1): Of the run; each saves the state of its random numbers.
    """
    for checkpoint in reversed(sort_checkpoints(str(output_dir))):
        if _is_whole(Path(checkpoint), num_processes):
            return checkpoint
        logger.warning("%s is not whole; it is passed over.", checkpoint)
    return None


def _is_whole(checkpoint: Path, num_processes: int) -> bool:
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text())  # what the first process writes last
    except (OSError, ValueError):
        return False
    names = ["rng_state.pth"] if num_processes == 1 else [f"rng_state_{rank}.pth" for rank in range(num_processes)]
    return all(is_zipfile(checkpoint / name) for name in names)


def _request(
    script_args: PretrainingScriptArguments, training_args: PretrainingArguments, splits: Splits
) -> dict[str, Any]:
    settings = {name: value for name, value in training_args.to_dict().items() if name not in _REPORTING}
    if isinstance(splits.train, StreamedPairs):
        drawn = training_args.max_steps * training_args.train_batch_size * training_args.gradient_accumulation_steps
        pairs = {"num_pairs": drawn * training_args.world_size, "first_pair": next(iter(splits.train))["id"]}
    else:
        first, last = splits.train[0]["id"], splits.train[len(splits.train) - 1]["id"]
        pairs = {"num_pairs": len(splits.train), "first_pair": first, "last_pair": last}
    pairs["num_processes"] = training_args.world_size
    return json.loads(json.dumps(asdict(script_args) | pairs | {"training": settings}, default=str))


def _check_previous(output_dir: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    path = output_dir / RECORD_NAME
    if not path.exists():
        if sort_checkpoints(str(output_dir)):
            raise ValueError(f"{output_dir} has checkpoints of an unknown run; choose another --output-dir.")
        return None
    record = json.loads(path.read_text())
    refuse_other_settings(output_dir, _flatten(record["request"]), _flatten(request))
    return record


def _flatten(request: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key != "training"} | request["training"]
