"""Adapting an image encoder to radiographs before it meets a text: SimSiam (arXiv 2011.10566) on images alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel, set_seed

from ..data.collators import DrawnDataset, row_seed
from ..data.image_views import ImageViews
from ..data.transforms import RadiographAugmentation
from ..models import CxrImageProcessor
from ..models.configuration_towers import base_towers, tiny_towers
from ..models.layers_towers import build_tower, freeze_mask_tokens, hidden_width, image_states, load_tower
from .adaptation import AdaptationScriptArguments, AdaptationTrainer, load_rows, run_adaptation
from .arguments import PretrainingArguments
from .pretrain import DEFAULT_IMAGE_SIZE
from .self_supervision import SimSiam


@dataclass
class ImageAdaptationArguments(AdaptationScriptArguments):
    """How an image encoder sees its images."""

    image_size: int | None = field(
        default=None, metadata={"help": "Side of the square image; the encoder's own by default."}
    )
    histogram_equalisation: Literal["none", "global"] = field(
        default="none", metadata={"help": "Equalise grey levels before the encoder; saved with it."}
    )
    augmentation_strength: float = field(
        default=1.0, metadata={"help": "What the two views of an image differ by, above 0 to 2; never a flip."}
    )
    cache_images: bool = field(
        default=True, metadata={"help": "Keep up to 2 GiB of processed images in memory, per data loader worker."}
    )

    def __post_init__(self) -> None:
        if not 0 < self.augmentation_strength <= 2:
            raise ValueError(f"--augmentation-strength is {self.augmentation_strength}; expected above 0, up to 2.")


class TwoViewCollator:
    """
    Rows to two augmented views of every image; what is drawn follows from the seed, the row and its draw.

    Args:
        images (`ImageViews`): Decodes, processes and augments.
        seed (`int`, *optional*, defaults to 0): Names the streams.
    """

    def __init__(self, images: ImageViews, *, seed: int = 0) -> None:
        self.images = images
        self.seed = seed

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`pixel_values` of shape `(batch_size, 2, channels, height, width)`."""
        seeds = [[row_seed(self.seed, row["id"], row.get("draw", 0), view=view) for row in rows] for view in (0, 1)]
        return {"pixel_values": self.images([row["image"] for row in rows], torch.tensor(seeds)), "return_loss": True}


class SimSiamModel(nn.Module):
    """
    An image encoder with the heads of SimSiam.

    Args:
        vision_model (`PreTrainedModel`): Any image encoder of `AutoModel`, without a learnt pooler.
    """

    # The loss is a mean over the batch: `Trainer` must divide it by the steps that it accumulates.
    accepts_loss_kwargs = False

    def __init__(self, vision_model: PreTrainedModel) -> None:
        super().__init__()
        freeze_mask_tokens(vision_model)
        self.vision_model = vision_model
        self.heads = SimSiam(hidden_width(vision_model.config))

    def forward(self, pixel_values: torch.Tensor, *, return_loss: bool | None = None) -> dict[str, torch.Tensor]:
        """
        How far two views are from predicting each other, -1 (they do) to 1.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, 2, num_channels, height, width)`):
                Normalised images.
            return_loss (`bool`, *optional*):
                Always so; `Trainer` asks for it.
        """
        pooled, _ = image_states(self.vision_model, pixel_values.transpose(0, 1).flatten(0, 1))
        return {"loss": self.heads(*pooled.chunk(2)).mean()}


def adapt_image_encoder(script_args: ImageAdaptationArguments, training_args: PretrainingArguments) -> dict[str, Any]:
    """
    Train an image encoder on images alone and save it with its image processor in `training_args.output_dir`.

    `AutoModel.from_pretrained` loads the folder, and so does `pretrain --vision-model`. A folder with the finished run
    is reused, a stopped run gone on with.

    Args:
        script_args (`ImageAdaptationArguments`): Images and encoder.
        training_args (`PretrainingArguments`): Optimisation.

    Returns:
        `dict`: The record of [`run_adaptation`]; `eval_loss` among its metrics is that of held-out images.

    Raises:
        ValueError: If the folder holds another run, or the data are not pairs.
    """

    def build() -> AdaptationTrainer:
        train, validation = load_rows(script_args, "train"), load_rows(script_args, "validation")
        vision_model, image_processor = build_image_encoder(script_args, seed=training_args.seed)
        augmentation = RadiographAugmentation(strength=script_args.augmentation_strength)
        views = ImageViews(image_processor, augmentation=augmentation, cache_images=script_args.cache_images)
        collator = TwoViewCollator(views, seed=training_args.seed)
        return AdaptationTrainer(
            model=SimSiamModel(vision_model),
            args=training_args,
            train_dataset=DrawnDataset(train),
            eval_dataset=DrawnDataset(validation) if validation else None,
            data_collator=collator,
            eval_collator=collator,
            processing_class=image_processor,
        )

    return run_adaptation(script_args, training_args, build_trainer=build, save=_save)


def build_image_encoder(
    script_args: ImageAdaptationArguments, *, seed: int
) -> tuple[PreTrainedModel, CxrImageProcessor]:
    """
    An image encoder, pre-trained or fresh, and the processor that brings images to it.

    Args:
        script_args (`ImageAdaptationArguments`): Says which of the two.
        seed (`int`): Of fresh weights.
    """
    set_seed(seed)
    if script_args.model_name_or_path:
        vision_model = load_tower(script_args.model_name_or_path)
    else:
        towers = tiny_towers(1) if script_args.model_size == "tiny" else base_towers("resnet", vocab_size=1)
        vision_model = build_tower(towers["vision_config"])
    config = vision_model.config
    size = script_args.image_size or getattr(config, "image_size", DEFAULT_IMAGE_SIZE)
    processor = CxrImageProcessor(
        size=size, num_channels=config.num_channels, histogram_equalisation=script_args.histogram_equalisation
    )
    return vision_model, processor


def _save(trainer: AdaptationTrainer, output_dir: Path) -> None:
    trainer.accelerator.unwrap_model(trainer.model).vision_model.save_pretrained(output_dir)
    trainer.processing_class.save_pretrained(output_dir)
