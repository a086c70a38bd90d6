"""Training a classifier of findings and their sides on labelled pairs; hedged ones and bad records have no part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import ResNetConfig, set_seed

from ..data.collators import DrawnDataset, row_seed
from ..data.image_views import ImageViews
from ..data.pairs import load_pairs
from ..data.transforms import RadiographAugmentation
from ..evaluation.agreement import measure_agreement
from ..evaluation.finding_targets import PRESENT, UNKNOWN, learnable_labels, read_targets
from ..evaluation.image_features import FeatureExtractor
from ..evaluation.metrics import auroc
from ..evaluation.results import RESULTS_NAME, write_results
from ..evaluation.rows import dataset_digest
from ..models import CxrClassificationConfig, CxrForImageClassification, CxrImageProcessor
from ..models.layers_towers import build_tower
from .adapt_image_encoder import ImageAdaptationArguments, build_image_encoder
from .adaptation import AdaptationTrainer, load_rows, run_adaptation
from .arguments import PretrainingArguments
from .pretrain import DEFAULT_IMAGE_SIZE


logger = logging.getLogger(__name__)

TASK = "finding_classification"


@dataclass
class FindingClassifierArguments(ImageAdaptationArguments):
    """What a classifier of findings learns from."""

    min_positives: int = field(
        default=100,
        metadata={"help": "Labels that fewer training studies have are left out; the sides of findings too."},
    )
    hidden_sizes: list[int] | None = field(
        default=None, metadata={"help": "Widths of the stages of a fresh ResNet, instead of those of --model-size."}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.augmentation_strength <= 2:
            raise ValueError(f"--augmentation-strength is {self.augmentation_strength}; expected 0 to 2.")
        if self.min_positives < 1:
            raise ValueError(f"--min-positives is {self.min_positives}; expected 1 or more.")
        if self.hidden_sizes and self.model_name_or_path:
            raise ValueError("--hidden-sizes is for a fresh encoder; drop it or --model-name-or-path.")


class TargetRows(DrawnDataset):
    """
    Drawn rows that carry what they show.

    Args:
        dataset (`Dataset`): Pairs.
        targets (`np.ndarray` of shape `(num_rows, num_labels)`): 1 present, 0 absent, -1 unknown.
    """

    def __init__(self, dataset: Dataset, targets: np.ndarray) -> None:
        if len(targets) != len(dataset):
            raise ValueError(f"{len(targets)} rows of targets for {len(dataset)} pairs; expected as many.")
        super().__init__(dataset)
        self.targets = targets

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """All rows of a batch at once; `DataLoader` calls this by itself."""
        rows = super().__getitems__(indices)
        return [row | {"targets": self.targets[index % len(self)]} for row, index in zip(rows, indices, strict=True)]


class FindingCollator:
    """
    Rows to images and targets; how an image is augmented follows from the seed, the row and its draw.

    Args:
        images (`ImageViews`): Decodes, processes and augments.
        seed (`int`, *optional*, defaults to 0): Names the streams.
    """

    def __init__(self, images: ImageViews, *, seed: int = 0) -> None:
        self.images = images
        self.seed = seed

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`pixel_values` `(batch_size, channels, height, width)` and `labels` `(batch_size, num_labels)`."""
        seeds = torch.tensor([[row_seed(self.seed, row["id"], row.get("draw", 0)) for row in rows]])
        labels = np.stack([row["targets"] for row in rows]).astype(np.float32)
        return {"pixel_values": self.images([row["image"] for row in rows], seeds), "labels": torch.from_numpy(labels)}


def train_finding_classifier(
    script_args: FindingClassifierArguments, training_args: PretrainingArguments
) -> dict[str, Any]:
    """
    Train a classifier and save it with its image processor, and what it reaches on the test split, in
    `training_args.output_dir`.

    `AutoModelForImageClassification.from_pretrained` loads the folder. A folder with the finished run is reused, a
    stopped run gone on with.

    Args:
        script_args (`FindingClassifierArguments`): Pairs, encoder and labels.
        training_args (`PretrainingArguments`): Optimisation.

    Returns:
        `dict`: The record of [`run_adaptation`]; `eval_macro_auroc` among its metrics is that of validation rows.

    Raises:
        ValueError: If the folder holds another run, no label is common enough, or the data are not pairs.
    """

    def build() -> AdaptationTrainer:
        train, targets = known_rows(load_rows(script_args, "train"))
        labels = learnable_labels(targets, min_positives=script_args.min_positives)
        if not labels:
            raise ValueError(f"No finding is in {script_args.min_positives} studies or more; lower --min-positives.")
        logger.info("%d labels on %d studies: %s", len(labels), len(train), ", ".join(labels))
        model, image_processor = build_classifier(script_args, labels, seed=training_args.seed)
        set_prior(model, targets)
        evaluation = load_rows(script_args, "validation")
        held_out, held_out_targets = known_rows(evaluation) if evaluation else (None, {})
        strength = script_args.augmentation_strength
        augmentation = RadiographAugmentation(strength=strength) if strength else None
        cached = {"cache_images": script_args.cache_images}
        views = ImageViews(image_processor, augmentation=augmentation, **cached)
        return AdaptationTrainer(
            model=model,
            args=training_args,
            train_dataset=TargetRows(train, _matrix(targets, labels)),
            eval_dataset=TargetRows(held_out, _matrix(held_out_targets, labels)) if held_out else None,
            data_collator=FindingCollator(views, seed=training_args.seed),
            eval_collator=FindingCollator(ImageViews(image_processor, **cached)),
            evaluate_model=_macro_auroc(image_processor, held_out, held_out_targets) if held_out else None,
            processing_class=image_processor,
        )

    def save(trainer: AdaptationTrainer, output_dir: Path) -> None:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.save_pretrained(output_dir)
        trainer.processing_class.save_pretrained(output_dir)
        _measure_on_test(model.eval(), trainer.processing_class, script_args, output_dir)

    return run_adaptation(script_args, training_args, build_trainer=build, save=save)


def build_classifier(
    script_args: FindingClassifierArguments, labels: Sequence[str], *, seed: int
) -> tuple[CxrForImageClassification, CxrImageProcessor]:
    """
    A classifier on a pre-trained or fresh encoder, and the processor that brings images to it.

    Args:
        script_args (`FindingClassifierArguments`): Says which encoder.
        labels (`Sequence[str]`): What shall be told apart.
        seed (`int`): Of fresh weights.
    """
    if script_args.hidden_sizes:
        set_seed(seed)
        widths = script_args.hidden_sizes
        depths = [2] * (len(widths) - 1) + [1]  # the last stage is the widest and sees the fewest places
        tower = build_tower(
            ResNetConfig(
                num_channels=1, embedding_size=widths[0], hidden_sizes=widths, depths=depths, layer_type="basic"
            )
        )
        processor = CxrImageProcessor(
            size=script_args.image_size or DEFAULT_IMAGE_SIZE,
            histogram_equalisation=script_args.histogram_equalisation,
        )
    else:
        tower, processor = build_image_encoder(script_args, seed=seed)
    model = CxrForImageClassification(CxrClassificationConfig.of_labels(list(labels), vision_config=tower.config))
    model.vision_model.load_state_dict(tower.state_dict())
    return model, processor


@torch.no_grad()
def set_prior(model: CxrForImageClassification, targets: Mapping[str, np.ndarray]) -> None:
    """
    Start every logit at the log-odds of its label, so that the first steps are not spent on how rare findings are.

    Args:
        model (`CxrForImageClassification`): Changed in place.
        targets (`Mapping[str, np.ndarray]`): Of the training rows.
    """
    for index, label in model.config.id2label.items():
        known = targets[label][targets[label] != UNKNOWN]
        share = (np.sum(known == PRESENT) + 1) / (len(known) + 2)
        model.classifier.bias[index] = float(np.log(share / (1 - share)))


def known_rows(dataset: Dataset) -> tuple[Dataset, dict[str, np.ndarray]]:
    """The rows of which anything is known, which a bad record is not, with their targets."""
    targets = read_targets(dataset)
    kept = np.flatnonzero(np.any([values != UNKNOWN for values in targets.values()], axis=0))
    if not len(kept):
        raise ValueError("No row has a label that is sure; a classifier needs labelled studies.")
    return dataset.select(kept), {label: values[kept] for label, values in targets.items()}


def _matrix(targets: Mapping[str, np.ndarray], labels: Sequence[str]) -> np.ndarray:
    return np.stack([targets[label] for label in labels], axis=1)


def _macro_auroc(
    image_processor: CxrImageProcessor, dataset: Dataset, targets: Mapping[str, np.ndarray]
) -> Callable[[CxrForImageClassification], dict[str, float]]:
    """Measures a model on held-out rows while it is trained; a label that they lack has no part in it."""

    def measure(model: CxrForImageClassification) -> dict[str, float]:
        scores = FeatureExtractor(model, image_processor).extract(dataset).scores
        areas = []
        for label, values in scores.items():
            known = targets[label] != UNKNOWN
            areas.append(auroc(targets[label][known] == PRESENT, values[known]))
        return {"macro_auroc": float(np.nanmean(areas))}

    return measure


def _measure_on_test(
    model: CxrForImageClassification,
    image_processor: CxrImageProcessor,
    script_args: FindingClassifierArguments,
    output_dir: Path,
) -> None:
    results = []
    for name in script_args.dataset:
        test = load_pairs(name, split="test", revision=script_args.dataset_revision, optional=True)
        if test is None:
            continue
        scores = FeatureExtractor(model, image_processor).extract(test).scores
        title = Path(name).resolve().name if Path(name).is_dir() else name
        revision = dataset_digest(test)
        measured = measure_agreement(scores, read_targets(test), test)
        results += [item.result(TASK, title, revision, 0) for item in measured]
    if results:
        write_results(output_dir / RESULTS_NAME, results)
