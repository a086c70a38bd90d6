"""Images of a dataset to features of any encoder, and to scores of findings where the encoder is a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL.Image import Image
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, PreTrainedModel

from ..data.shipped import shipped_checkpoint
from ..models.layers_towers import image_states, load_tower
from .encoder import image_batches


@dataclass(frozen=True)
class ImageFeatures:
    """
    What an encoder sees of a dataset.

    Args:
        features (`np.ndarray` of shape `(num_rows, dim)`): Pooled features, float32, not normalised.
        scores (`Mapping[str, np.ndarray]`, *optional*): Per label `(num_rows,)`: logits, where the encoder is a
            classifier.
        encoder (`str`, *optional*): Its name, for the protocol of a result.
    """

    features: np.ndarray
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    encoder: str = "unnamed"

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not len(self.features):
            raise ValueError(f"features have shape {self.features.shape}; expected (num_rows, dim), at least one row.")
        if not np.isfinite(self.features).all():
            raise ValueError(f"{self.encoder} gives features that are not finite.")

    def of_rows(self, rows: Sequence[int] | np.ndarray) -> ImageFeatures:
        """The same of some rows."""
        scores = {label: values[rows] for label, values in self.scores.items()}
        return ImageFeatures(self.features[rows], scores, self.encoder)


class FeatureExtractor:
    """
    An image encoder with its image processor.

    Args:
        model (`PreTrainedModel`): A classifier of ours, a dual encoder, or any image encoder of `AutoModel`.
        image_processor (`BaseImageProcessor`): Of the model.
        name (`str`, *optional*): For the protocol of results; the model's class by default.
        batch_size (`int`, *optional*, defaults to 64): Images per forward pass.
        device (`str` or `torch.device`, *optional*): Where to run; the model's own device by default.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        image_processor: Any,
        *,
        name: str | None = None,
        batch_size: int = 64,
        device: str | torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected 1 or more.")
        self.model = model if device is None else model.to(device)
        self.image_processor = image_processor
        self.name = name or type(model).__name__
        self.batch_size = batch_size

    def extract(self, dataset: Dataset, *, progress: bool = False) -> ImageFeatures:
        """Features, and scores, of every row in its order; no more than one batch of images is decoded at a time."""
        features, logits = [], []
        training = self.model.training
        self.model.eval()
        try:
            for images in image_batches(dataset, self.batch_size, progress=progress):
                with torch.inference_mode():
                    of_batch, scores = self._forward(images)
                features.append(of_batch.float().cpu().numpy())
                logits.append(None if scores is None else scores.float().cpu().numpy())
        finally:
            self.model.train(training)
        if not features:
            raise ValueError("The dataset has no rows; expected at least one image.")
        labels = getattr(self.model.config, "id2label", {}) if logits[0] is not None else {}
        columns = np.concatenate(logits).T if labels else ()
        scores = {labels[index]: column for index, column in enumerate(columns)}
        return ImageFeatures(np.concatenate(features), scores, self.name)

    def _forward(self, images: Sequence[Image]) -> tuple[torch.Tensor, torch.Tensor | None]:
        # What is not ours may want three channels and refuse grey; ours takes grey from any mode.
        if getattr(self.image_processor, "num_channels", None) is None:
            images = [image.convert("RGB") for image in images]
        inputs = self.image_processor(images=list(images), return_tensors="pt")
        pixel_values = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        if hasattr(self.model, "classifier") and hasattr(self.model, "get_image_features"):
            output = self.model(pixel_values=pixel_values)
            return output.pooler_output, output.logits
        if callable(getattr(self.model, "get_image_features", None)):
            features = self.model.get_image_features(pixel_values=pixel_values)
            return features if isinstance(features, torch.Tensor) else features.pooler_output, None
        return image_states(self.model, pixel_values)[0], None


def load_feature_extractor(
    name_or_path: str | Path, *, batch_size: int = 64, device: str | None = None, trust_remote_code: bool = False
) -> FeatureExtractor:
    """
    An encoder from a folder, a shipped name or a Hub id: our classifier (`pooler_output`), a dual encoder
    (`get_image_features`), or any image encoder of `AutoModel`, such as RAD-DINO (pooled state or CLS token).

    Args:
        name_or_path (`str` or `Path`): What to load.
        batch_size (`int`, *optional*, defaults to 64): Images per forward pass.
        device (`str`, *optional*): Where to run; the GPU if there is one.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Run code that lies beside the weights.

    Raises:
        ValueError: When there is no such model, or it comes without an image processor.
    """
    options = {"trust_remote_code": trust_remote_code}
    path = shipped_checkpoint(str(name_or_path))
    try:
        config = AutoConfig.from_pretrained(path, **options)
        if config.model_type == "cxr_classification":
            model = AutoModelForImageClassification.from_pretrained(path, **options)
        elif hasattr(config, "text_config"):
            model = AutoModel.from_pretrained(path, **options)
        else:
            model = load_tower(path, **options)
        image_processor = AutoImageProcessor.from_pretrained(path, **options)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{name_or_path} is no image encoder: {str(error).splitlines()[0]}") from error
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    name = Path(name_or_path).resolve().name if Path(name_or_path).is_dir() else str(name_or_path)
    return FeatureExtractor(model, image_processor, name=name, batch_size=batch_size, device=device)
