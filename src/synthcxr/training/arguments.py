"""Arguments of the training jobs, and how they are read: a YAML file first, then flags on top."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from transformers import HfArgumentParser, TrainingArguments
from transformers.training_args import OptimizerNames

from .config_files import did_you_mean, read_config
from .low_data_settings import LowDataSettings


@dataclass
class PretrainingScriptArguments:
    """What to train on what. How to train is [`PretrainingArguments`]."""

    dataset: list[str] = field(
        default_factory=list, metadata={"help": "Folders or Hub ids of pairs in the schema of synthcxr."}
    )
    real_dataset: list[str] = field(
        default_factory=list, metadata={"help": "The same, of pairs that must all be real; they follow the others."}
    )
    mix: list[float] | None = field(
        default=None,
        metadata={
            "help": "Share of each dataset in every batch, in their order and any unit; when absent, the size of "
            "each, and of streams as much of each."
        },
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Read the pairs while training instead of storing them first; needs --max-steps."},
    )
    model_type: Literal["convirt", "cxr_clip", "gloria", "mgca"] = field(
        default="convirt", metadata={"help": "Pre-training method: convirt, cxr_clip, gloria or mgca."}
    )
    model_size: Literal["tiny", "base"] = field(
        default="tiny",
        metadata={"help": "Size of a fresh model: tiny (trains on a CPU) or base."},
    )
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Checkpoint to go on from, instead of a fresh model."}
    )
    vision_model: str | None = field(
        default=None, metadata={"help": "Pre-trained image tower (any AutoModel); needs --text-model too."}
    )
    text_model: str | None = field(
        default=None, metadata={"help": "Pre-trained text tower (BERT family); needs --vision-model too."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Commit of the pairs; pin it to publish."})
    image_size: int | None = field(
        default=None, metadata={"help": "Side of the square image that the model sees; the model's own by default."}
    )
    histogram_equalisation: Literal["none", "global"] = field(
        default="none", metadata={"help": "Equalise grey levels before the model; saved with it."}
    )
    text_column: Literal["report", "findings", "impression"] = field(
        default="report", metadata={"help": "Column that the text tower reads."}
    )
    sentences: Literal["all", "one", "some"] = field(
        default="all",
        metadata={"help": "Of the text, read per draw: all sentences, one as ConVIRT does, or a random selection."},
    )
    num_sentences: int = field(
        default=0,
        metadata={"help": "Sentences of the report, drawn anew, that the image is compared with besides the text."},
    )
    text_adaptation_epochs: float = field(
        default=0.0,
        metadata={"help": "Passes over the reports alone before the pairs: findings are matched with impressions."},
    )
    augmentation_strength: float = field(
        default=1.0, metadata={"help": "Image augmentation, 0 (none) to 2; never a flip, reports name sides."}
    )
    text_augmentation: bool = field(
        default=False,
        metadata={"help": "Shuffle and drop sentences and exchange synonyms; no fact is changed, no side swapped."},
    )
    local_loss_weight: float = field(
        default=LowDataSettings.local_loss_weight,
        metadata={"help": "Weight of GLoRIA's local loss, for models without one of their own; 0 is off."},
    )
    image_self_supervision_weight: float = field(
        default=LowDataSettings.image_self_supervision_weight,
        metadata={"help": "Weight of SimSiam on two views of every image while training; 0 is off."},
    )
    masked_language_weight: float = field(
        default=LowDataSettings.masked_language_weight,
        metadata={"help": "Weight of guessing hidden words while training; 0 is off."},
    )
    num_image_views: int = field(
        default=LowDataSettings.num_image_views,
        metadata={"help": "Augmentations of every image that are positives of its texts."},
    )
    num_text_views: int = field(
        default=LowDataSettings.num_text_views,
        metadata={"help": "Texts drawn from every report that are positives of its images."},
    )
    neighbour_weight: float = field(
        default=LowDataSettings.neighbour_weight,
        metadata={"help": "Weight of the nearest text of another report as a positive of the image; 0 is off."},
    )
    neighbour_queue_size: int = field(
        default=LowDataSettings.neighbour_queue_size,
        metadata={"help": "Texts of earlier batches among which neighbours are searched."},
    )
    agreement_weight: float = field(
        default=LowDataSettings.agreement_weight,
        metadata={
            "help": "Weight of the loss with sentences (--num-sentences) in which a sentence is right for every image "
            "whose report says the same, and the last of several denies what the report does not name; 0 pairs each "
            "with its own image alone."
        },
    )
    outline_weight: float = field(
        default=LowDataSettings.outline_weight,
        metadata={"help": "Weight of telling where each finding is, by the masks of simulated pairs; 0 is off."},
    )
    vocab_size: int = field(
        default=2048, metadata={"help": "Word pieces of a tokenizer trained on the reports, for a fresh text tower."}
    )
    max_text_length: int = field(default=96, metadata={"help": "Tokens of a text that are read."})
    cache_images: bool = field(
        default=True, metadata={"help": "Keep up to 2 GiB of processed images in memory, per data loader worker."}
    )
    attn_implementation: Literal["eager", "sdpa"] | None = field(
        default=None, metadata={"help": "Attention of both towers; eager trains twice as fast on a CPU in bf16."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on the first so many pairs only."})
    max_eval_samples: int | None = field(
        default=512, metadata={"help": "Measure on the first so many validation pairs while training."}
    )
    shuffle_pairs: bool = field(
        default=False,
        metadata={"help": "Give every image another study's report: the control that must end at chance."},
    )

    def __post_init__(self) -> None:
        self._check_datasets()
        if (self.vision_model is None) != (self.text_model is None):
            raise ValueError("--vision-model and --text-model go together; give both or neither.")
        if self.model_name_or_path and self.vision_model:
            raise ValueError("--model-name-or-path already holds both towers; drop --vision-model and --text-model.")
        if self.num_sentences < 0:
            raise ValueError(f"--num-sentences is {self.num_sentences}; expected 0 or more.")
        if self.text_adaptation_epochs < 0:
            raise ValueError(f"--text-adaptation-epochs is {self.text_adaptation_epochs}; expected 0 or more.")
        if not 0 <= self.augmentation_strength <= 2:
            raise ValueError(f"--augmentation-strength is {self.augmentation_strength}; expected 0 to 2.")
        if self.local_loss_weight and self.model_type in ("gloria", "mgca"):
            raise ValueError(
                f"--local-loss-weight: {self.model_type} has a local loss, of local_weight in its config."
            )
        self._check_views()

    @property
    def low_data(self) -> LowDataSettings:
        """The parts of the low-data recipe."""
        return LowDataSettings(**{item.name: getattr(self, item.name) for item in fields(LowDataSettings)})

    def _check_views(self) -> None:
        if self.low_data.num_drawn_image_views > 1 and self.augmentation_strength == 0:
            raise ValueError("--augmentation-strength is 0; the views of an image would be equal.")
        if self.num_text_views > 1 and self.sentences == "all" and not self.text_augmentation:
            raise ValueError("--num-text-views: equal texts; add --text-augmentation or --sentences some.")
        if self.agreement_weight > 0 and self.num_sentences == 0:
            raise ValueError("--agreement-weight is of sentences; give --num-sentences.")

    def _check_datasets(self) -> None:
        names = [*self.dataset, *self.real_dataset]
        if not names:
            raise ValueError("there are no pairs; give --dataset or --real-dataset.")
        if len(set(names)) < len(names):
            raise ValueError(f"a dataset is named twice in {names}; --mix says how much of each is read.")
        if self.mix is not None and len(self.mix) != len(names):
            raise ValueError(f"--mix has {len(self.mix)} numbers for {len(names)} datasets; expected one each.")
        if self.streaming and self.max_eval_samples is None:
            raise ValueError("--streaming keeps the validation pairs in memory; give --max-eval-samples.")
        if self.streaming and (self.shuffle_pairs or self.max_train_samples or self.text_adaptation_epochs):
            raise ValueError(
                "--streaming reads every pair once: --shuffle-pairs, --max-train-samples and --text-adaptation-epochs "
                "need the pairs stored."
            )
        if self.streaming and self.outline_weight > 0:
            raise ValueError("--streaming reads no masks; --outline-weight needs the pairs stored.")


@dataclass
class PretrainingArguments(TrainingArguments):
    """
    `TrainingArguments` with other defaults: the collator reads raw columns (`remove_unused_columns=False`), a
    contrastive loss depends on the batch size (`dataloader_drop_last=True`), and towers from scratch want AdamW
    with a short warm-up and a cosine to zero.
    """

    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Kept off: the collator reads images and reports."}
    )
    dataloader_drop_last: bool = field(
        default=True, metadata={"help": "Drop the last short batch; its loss would be another task."}
    )
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Pairs per device and step."})
    mini_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Pairs in memory at a time: the gradients of a batch are cached by such parts (GradCache). The "
            "batch itself is --per-device-train-batch-size."
        },
    )
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Pairs per device in evaluation."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak; 1e-3 suits tiny models from scratch."})
    text_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Peak of the text tower, as the rest when absent; low for an adapted one. Muon's is scaled alike."
        },
    )
    muon_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Peak of Muon, which then takes over weight matrices and kernels from AdamW; 0.06 suits tiny "
            "models from scratch."
        },
    )
    weight_decay: float = field(default=0.05, metadata={"help": "Decoupled weight decay."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up, in steps, or as a share of them below 1."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Shape of the learning rate."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradients are clipped to this norm."})
    logging_steps: float = field(default=25, metadata={"help": "Log every so many steps."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Off: every weight of these models takes part in every step."}
    )
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints kept for resuming."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.remove_unused_columns:
            raise ValueError("remove_unused_columns is true; the collator needs the raw columns, leave it false.")
        if self.mini_batch_size is not None and self.mini_batch_size < 1:
            raise ValueError(f"--mini-batch-size is {self.mini_batch_size}; expected 1 or more.")
        if self.dataloader_num_workers > 0:
            self.dataloader_persistent_workers = True  # they hold the images and tokens of earlier epochs
        if self.muon_learning_rate is None:
            return
        if self.optim not in (OptimizerNames.ADAMW_TORCH, OptimizerNames.ADAMW_TORCH_FUSED):
            raise ValueError(f"--muon-learning-rate goes with --optim adamw_torch; got {self.optim.value}.")
        if self.learning_rate <= 0:
            raise ValueError("--muon-learning-rate needs a --learning-rate above 0, for what is no matrix.")


def parse_arguments(
    classes: Sequence[type], arguments: Sequence[str] | None = None, *, program: str
) -> tuple[Any, ...]:
    """
    Read dataclasses from `--config file.yaml` and flags; flags win.

    Args:
        classes (`Sequence[type]`): Dataclasses, main one first (its flags lead the help).
        arguments (`Sequence[str]`, *optional*): The command line; that of the process by default.
        program (`str`): Name shown in the usage line.

    Raises:
        ValueError: On an unknown key or flag (the closest known one is named), a bad value, a list's flag given
            twice or an unreadable file.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    known = {item.name for kind in classes for item in fields(kind) if item.init}
    config, arguments = _take_config(arguments)
    settings = read_config(config, known) if config else {}
    _check_flags(arguments, known)
    _check_repeated(arguments, [item.name for kind in classes for item in fields(kind) if "list[" in str(item.type)])

    parser = HfArgumentParser(classes, prog=program, allow_abbrev=False)
    parser.error = _raise_usage_error  # argparse would print the usage of a hundred flags and leave
    # The file's values are read as flags are, so that their types and choices are checked; later ones win.
    return parser.parse_args_into_dataclasses(args=_as_flags(settings) + arguments)


def _as_flags(settings: dict[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in settings.items():
        if value is None:  # an empty value in YAML: the default
            continue
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        flags += [f"--{name}", *(str(item) for item in values)]
    return flags


def _take_config(arguments: list[str]) -> tuple[str | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument == "--config":
            if index + 1 == len(arguments):
                raise ValueError("--config needs the path of a YAML file.")
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
        if argument.startswith("--config="):
            return argument.split("=", 1)[1], arguments[:index] + arguments[index + 1 :]
    return None, arguments


def _check_flags(arguments: list[str], known: set[str]) -> None:
    flags = {name.replace("_", "-") for name in known} | {"help"}
    for argument in arguments:
        if not argument.startswith("--") or argument == "--":
            continue
        flag = argument[2:].split("=")[0].replace("_", "-")
        if flag not in flags and flag.removeprefix("no-") not in flags:
            raise ValueError(f"there is no flag {argument.split('=')[0]}{did_you_mean('--' + flag, _dashed(flags))}.")


def _check_repeated(arguments: list[str], lists: list[str]) -> None:
    """Of `--dataset a --dataset b`, argparse would take b and lose a without a word."""
    given = [argument.split("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")]
    for flag in ("--" + name.replace("_", "-") for name in lists):
        if given.count(flag) > 1:
            raise ValueError(f"{flag} stands twice; give all its values after one: {flag} A B.")


def _dashed(flags: set[str]) -> set[str]:
    return {"--" + flag for flag in flags}


def _raise_usage_error(message: str) -> None:
    raise ValueError(f"{message}.")
