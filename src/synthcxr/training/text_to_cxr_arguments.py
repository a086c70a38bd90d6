"""Arguments of text-to-CXR training: from scratch, by an adapter, or from a slower generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class DiffusionTrainingArguments:
    """How a generator, an adapter or a student is trained."""

    output_dir: str = field(metadata={"help": "Folder of the run; a run that was stopped goes on there."})
    dataset: list[str] = field(
        default_factory=list, metadata={"help": "Folders or Hub ids of pairs in the schema of synthcxr."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Commit of the pairs; pin it to publish."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on the first so many pairs only."})
    max_eval_samples: int = field(default=512, metadata={"help": "Validation pairs that are measured."})
    captions: Literal["mixed", "report", "findings", "impression"] = field(
        default="mixed", metadata={"help": "What is read: a column, or in turn sections and some of their sentences."}
    )
    caption_dropout: float = field(default=0.1, metadata={"help": "Share of draws without a caption, for guidance."})
    balance_findings: float = field(
        default=0.0,
        metadata={
            "help": "Draw pairs of rare findings more often: by the inverse frequency of the rarest, to this power."
        },
    )
    finding_focus: float = field(
        default=0.0,
        metadata={"help": "Weigh the pixels of findings, by their masks: more of the loss for what is small."},
    )
    cache_latents: bool = field(
        default=True, metadata={"help": "Keep latents of an autoencoder on disk: every image is encoded once."}
    )
    max_steps: int = field(
        default=20_000, metadata={"help": "Optimiser steps. A finished run goes on if it is raised."}
    )
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Pairs per device and pass."})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Passes per optimiser step."})
    learning_rate: float = field(default=4e-4, metadata={"help": "Peak of AdamW."})
    muon_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak of Muon, which then takes over matrices and kernels from AdamW."}
    )
    weight_decay: float = field(default=0.01, metadata={"help": "Decoupled weight decay."})
    lr_scheduler_type: Literal["constant_with_warmup", "warmup_stable_decay", "cosine", "linear"] = field(
        default="constant_with_warmup", metadata={"help": "Shape of the learning rate."}
    )
    warmup_steps: int = field(default=500, metadata={"help": "Steps of warm-up."})
    decay_steps: int = field(
        default=0, metadata={"help": "Of warmup_stable_decay: last steps, over which the rate falls to zero."}
    )
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradients are clipped to this norm."})
    mixed_precision: Literal["no", "fp16", "bf16"] = field(default="no", metadata={"help": "Arithmetic of a pass."})
    seed: int = field(default=0, metadata={"help": "Of weights, order, captions, noise and times."})
    checkpointing_steps: int = field(default=1000, metadata={"help": "Save, and measure, every so many steps."})
    save_total_limit: int = field(default=2, metadata={"help": "Checkpoints kept for resuming."})
    sample_steps: int = field(default=1000, metadata={"help": "Draw a grid of samples every so many steps; 0 never."})
    sample_prompts: list[str] = field(
        default_factory=list, metadata={"help": "Prompts of the grid; impressions of validation pairs when absent."}
    )
    logging_steps: int = field(default=50, metadata={"help": "Log every so many steps."})
    dataloader_num_workers: int = field(default=0, metadata={"help": "Processes that prepare batches."})
    use_cpu: bool = field(default=False, metadata={"help": "Train on the CPU though there is a GPU."})
    disable_tqdm: bool = field(default=False, metadata={"help": "No progress bar."})

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ValueError("there are no pairs; give --dataset.")
        for name in ("caption_dropout", "balance_findings"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 0 to 1.")
        if self.finding_focus < 0:
            raise ValueError(f"--finding-focus is {self.finding_focus}; expected 0 or more.")
        positive = ("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "checkpointing_steps")
        for name in (*positive, "save_total_limit", "logging_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 1 or more.")


@dataclass
class DenoisingArguments(DiffusionTrainingArguments):
    """What noise is put on, and which parts learn to take it off."""

    time_mean: float = field(default=0.0, metadata={"help": "Flow: mean of the logit of sigma; above 0, more noise."})
    time_std: float = field(default=1.0, metadata={"help": "Flow: standard deviation of the logit of sigma."})
    min_snr_gamma: float = field(
        default=5.0,
        metadata={
            "help": "Diffusion: cap of the signal-to-noise ratio in the weights (min-SNR); 0 for equal weights."
        },
    )
    text_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Peak for the text encoder, which AdamW then trains; as the UNet's without it."},
    )
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Less memory for more time."})


@dataclass
class TextToCxrArguments(DenoisingArguments):
    """A generator from scratch."""

    image_size: int = field(default=64, metadata={"help": "Side of the square images, in pixels."})
    objective: Literal["flow", "epsilon", "v_prediction"] = field(
        default="flow",
        metadata={"help": "What the UNet predicts: velocity of a flow, or noise or velocity."},
    )
    autoencoder: str | None = field(
        default=None, metadata={"help": "Draw the latents of this AutoencoderKL; folded pixels without one."}
    )
    pixel_fold: int = field(
        default=4, metadata={"help": "Without an autoencoder: pixels a side that become channels."}
    )
    block_out_channels: list[int] = field(
        default_factory=lambda: [128, 192], metadata={"help": "Channels of the UNet's levels, multiples of 32."}
    )
    layers_per_block: int = field(default=1, metadata={"help": "Residual blocks per level."})
    attention_from_level: int = field(
        default=1, metadata={"help": "First level whose places attend to each other and to the words."}
    )
    channels_per_head: int = field(default=64, metadata={"help": "Channels of one attention head."})
    text_model: str | None = field(
        default=None, metadata={"help": "Pre-trained text encoder (CLIP or BERT family); fresh without one."}
    )
    freeze_text_encoder: bool = field(
        default=False, metadata={"help": "Leave the text encoder as it is; if it is fresh, as --reading-steps did."}
    )
    text_hidden_size: int = field(default=256, metadata={"help": "Width of a fresh text encoder."})
    text_num_layers: int = field(default=4, metadata={"help": "Layers of a fresh text encoder."})
    reading_steps: int = field(
        default=0,
        metadata={"help": "Steps in which a fresh text encoder first learns to find findings in captions."},
    )
    vocab_size: int = field(default=2048, metadata={"help": "Word pieces of a fresh tokenizer."})
    max_text_length: int = field(default=128, metadata={"help": "Tokens of a text that a fresh encoder reads."})
    sampling_shift: float = field(default=1.0, metadata={"help": "Flow: shift of the sampling times towards noise."})
    sampling_steps: int = field(default=16, metadata={"help": "Steps that the generator takes by default."})
    sampling_guidance: float = field(default=3.0, metadata={"help": "Guidance scale that it takes by default."})
    ema_decay: float = field(default=0.9995, metadata={"help": "Largest decay of the averaged weights."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze_text_encoder and not (self.text_model or self.reading_steps):
            missing = "give --text-model or --reading-steps"
            raise ValueError(f"--freeze-text-encoder: a fresh text encoder has nothing to keep; {missing}.")
        if self.reading_steps and self.text_model:
            raise ValueError("--reading-steps is for a fresh text encoder; drop it or --text-model.")
        if self.autoencoder is None and self.image_size % self.pixel_fold:
            raise ValueError(f"--pixel-fold is {self.pixel_fold}; expected a divisor of {self.image_size} pixels.")
        bad = [width for width in self.block_out_channels if width % 32 or width % self.channels_per_head]
        if bad:
            raise ValueError(
                f"--block-out-channels has {bad[0]}; expected multiples of 32 and of --channels-per-head."
            )


@dataclass
class TextToCxrLoraArguments(DenoisingArguments):
    """
    An adapter of a generator.

    Adapters learn in fewer and smaller steps than a generator from scratch, and what is predicted is up to the
    generator's own scheduler.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "Peak of AdamW."})
    max_steps: int = field(default=2000, metadata={"help": "Optimiser steps. A finished run goes on if it is raised."})
    model_name_or_path: str = field(
        default="", metadata={"help": "Generator to adapt: a folder, a Hub id or a shipped name."}
    )
    image_size: int | None = field(
        default=None, metadata={"help": "Side of the square images; the generator's own by default."}
    )
    rank: int = field(default=16, metadata={"help": "Rank of the matrices that are added to every weight."})
    lora_alpha: float | None = field(
        default=None, metadata={"help": "Their product counts alpha / rank times; as --rank when absent."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Share of an adapter's inputs left out in training."})
    adapt_convolutions: bool = field(
        default=False, metadata={"help": "Adapt the convolutions of the UNet beside its attention."}
    )
    train_text_encoder: bool = field(
        default=False, metadata={"help": "Adapt the attention of the text encoder as well."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model_name_or_path:
            raise ValueError("there is no generator to adapt; give --model-name-or-path.")
        if self.rank < 1:
            raise ValueError(f"--rank is {self.rank}; expected 1 or more.")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"--lora-dropout is {self.lora_dropout}; expected 0 or more, below 1.")


@dataclass
class FlowDistillationArguments(DiffusionTrainingArguments):
    """A fast generator from a slow one. What is predicted is the teacher's velocity; its text encoder stays."""

    model_name_or_path: str = field(
        default="", metadata={"help": "Generator of a flow: a folder, a Hub id or a name."}
    )
    image_size: int | None = field(
        default=None, metadata={"help": "Side of the square images; the generator's own by default."}
    )
    num_windows: int = field(default=4, metadata={"help": "Steps of the distilled generator."})
    teacher_steps: int = field(default=4, metadata={"help": "Steps of the teacher within each of them."})
    teacher_guidance: float = field(default=3.0, metadata={"help": "Guidance scale of the teacher."})
    ema_decay: float = field(default=0.999, metadata={"help": "Largest decay of the averaged weights."})
    max_steps: int = field(default=2000, metadata={"help": "Optimiser steps. A finished run goes on if it is raised."})
    learning_rate: float = field(default=1e-4, metadata={"help": "Peak of AdamW."})
    caption_dropout: float = field(default=0.0, metadata={"help": "Share of draws without a caption."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model_name_or_path:
            raise ValueError("there is no generator to distil; give --model-name-or-path.")
        for name in ("num_windows", "teacher_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 1 or more.")
