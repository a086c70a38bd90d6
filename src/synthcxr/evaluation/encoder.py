"""Anything that turns images and texts into vectors of one space, and a dataset embedded once by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from datasets import Dataset
from PIL.Image import Image
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers import AutoModel, AutoProcessor, PreTrainedModel, ProcessorMixin


@runtime_checkable
class Encoder(Protocol):
    """What the tasks need of a model. Rows come back in the order given, L2-normalised."""

    def embed_images(self, images: Sequence[Image]) -> np.ndarray:
        """Images to `(num_images, dim)`, float32."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to `(num_texts, dim)`, float32."""
        ...


@dataclass(frozen=True)
class Embeddings:
    """
    A dataset embedded once, to be measured by many tasks and prompt sets.

    Args:
        image_embeds (`np.ndarray` of shape `(num_rows, dim)`): One row per row of the dataset, in its order.
        text_embeds (`Mapping[str, np.ndarray]`): Each text that a task may ask for, with its vector of shape `(dim,)`.
        grey_levels (`np.ndarray` of shape `(num_rows,)`, *optional*): Mean grey level of each image, 0 to 1.
        encoder (`Encoder`, *optional*): Asked for texts that are not in `text_embeds`.
    """

    image_embeds: np.ndarray
    text_embeds: Mapping[str, np.ndarray] = field(default_factory=dict)
    grey_levels: np.ndarray | None = None
    encoder: Encoder | None = None

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts, normalised: `(num_texts, dim)`. Unknown ones are embedded once and kept."""
        missing = [text for text in dict.fromkeys(texts) if text not in self.text_embeds]
        if missing and self.encoder is None:
            raise ValueError(
                f"text_embeds lacks {missing[0]!r} and {len(missing) - 1} more; expected all texts asked for."
            )
        known = dict(self.text_embeds)
        if missing:
            known.update(zip(missing, self.encoder.embed_texts(missing), strict=True))
            if isinstance(self.text_embeds, dict):
                self.text_embeds.update(known)
        return normalised(np.stack([known[text] for text in texts]))


class DualEncoder:
    """
    A model of the `transformers` dual-encoder kind with its processor, as an [`Encoder`].

    Args:
        model (`PreTrainedModel`): Has `get_image_features` and `get_text_features`.
        processor (`ProcessorMixin`): Takes `images=` and `text=`.
        batch_size (`int`, *optional*, defaults to 64): Rows per forward pass; no result depends on it.
        device (`str` or `torch.device`, *optional*): Where to run; the model's own device by default.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        *,
        batch_size: int = 64,
        device: str | torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected 1 or more.")
        for name in ("get_image_features", "get_text_features"):
            if not callable(getattr(model, name, None)):
                raise ValueError(f"{type(model).__name__} has no {name}; expected a dual encoder.")
        self.model = model if device is None else model.to(device)
        self.processor = processor
        self.batch_size = batch_size

    def embed_images(self, images: Sequence[Image]) -> np.ndarray:
        """Images to `(num_images, dim)`, float32, normalised."""
        with _evaluating(self.model):
            return _stacked(self._image_batch(images[rows]) for rows in _slices(len(images), self.batch_size))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to `(num_texts, dim)`, float32, normalised; each distinct text is embedded once."""
        # Texts of like length share a batch, which saves padding.
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        with _evaluating(self.model):
            embeds = _stacked(self._text_batch(distinct[rows]) for rows in _slices(len(distinct), self.batch_size))
        place = {text: index for index, text in enumerate(distinct)}
        return embeds[[place[text] for text in texts]]

    def _image_batch(self, images: Sequence[Image]) -> np.ndarray:
        inputs = self.processor(images=list(images), return_tensors="pt")
        pixel_values = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        return _vectors(self.model.get_image_features(pixel_values=pixel_values))

    def _text_batch(self, texts: Sequence[str]) -> np.ndarray:
        inputs = self.processor(text=list(texts), padding=True, truncation=True, return_tensors="pt")
        inputs = {name: inputs[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        return _vectors(self.model.get_text_features(**inputs))


def load_encoder(
    path_or_model: str | Path | PreTrainedModel | Encoder,
    processor: ProcessorMixin | None = None,
    *,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
) -> Encoder:
    """
    An encoder from a folder or Hub id, a model with its processor, or an encoder (returned as it is).

    Args:
        path_or_model (`str`, `Path`, `PreTrainedModel` or `Encoder`): What to wrap.
        processor (`ProcessorMixin`, *optional*): Required with a model object that was not loaded from a folder.
        batch_size (`int`, *optional*, defaults to 64): Rows per forward pass.
        device (`str` or `torch.device`, *optional*): Where to run; for a model loaded here the GPU if there is one.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Run code that lies beside the weights.

    Returns:
        `Encoder`

    Raises:
        ValueError: When there is no such model, it is no dual encoder, or comes without a processor.
    """
    if isinstance(path_or_model, PreTrainedModel):
        model = path_or_model
        if processor is None:
            raise ValueError(f"{type(model).__name__} came without a processor; pass processor=.")
        return DualEncoder(model, processor, batch_size=batch_size, device=device)
    if isinstance(path_or_model, Encoder):
        return path_or_model
    if not isinstance(path_or_model, str | Path):
        raise ValueError(f"The model is a {type(path_or_model).__name__}; expected a folder, a model or an encoder.")
    try:
        model = AutoModel.from_pretrained(path_or_model, trust_remote_code=trust_remote_code)
        processor = processor or AutoProcessor.from_pretrained(path_or_model, trust_remote_code=trust_remote_code)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path_or_model} is no model with its processor: {str(error).splitlines()[0]}") from error
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return DualEncoder(model, processor, batch_size=batch_size, device=device)


def embed_dataset(
    encoder: Encoder, dataset: Dataset, *, texts: Iterable[str] = (), batch_size: int = 64, progress: bool = False
) -> Embeddings:
    """
    Embed every image of a dataset, and texts, each once; no more than one batch of decoded images is held.

    Args:
        encoder (`Encoder`): The model.
        dataset (`Dataset`): Has a column `image`.
        texts (iterable of `str`, *optional*): Embedded too.
        batch_size (`int`, *optional*, defaults to 64): Images decoded at a time.
        progress (`bool`, *optional*, defaults to `False`): Show a progress bar.

    Returns:
        `Embeddings`
    """
    embeds, grey_levels = [], []
    for images in image_batches(dataset, batch_size, progress=progress):
        embeds.append(encoder.embed_images(images))
        grey_levels.extend(mean_grey_level(image) for image in images)
    if not embeds:
        raise ValueError("The dataset has no rows; expected at least one image.")
    embeddings = Embeddings(normalised(np.concatenate(embeds)), {}, np.array(grey_levels), encoder)
    if texts := list(texts):
        embeddings.texts(texts)
    return embeddings


def as_embeddings(
    model: str | Path | PreTrainedModel | Encoder | Embeddings, dataset: Dataset, **options: Any
) -> Embeddings:
    """What a task was given, as embeddings of its dataset; `options` are those of [`load_encoder`]."""
    if isinstance(model, Embeddings):
        if len(model.image_embeds) != len(dataset):
            raise ValueError(f"{len(model.image_embeds)} image embeddings for {len(dataset)} rows of the dataset.")
        return model
    return embed_dataset(load_encoder(model, **options), dataset)


def image_batches(dataset: Dataset, batch_size: int, *, progress: bool = False) -> Iterator[list[Image]]:
    """Decoded images, `batch_size` at a time, in the dataset's order."""
    if "image" not in dataset.column_names:
        raise ValueError(f"The dataset has the columns {', '.join(dataset.column_names)}; expected an image column.")
    images = dataset.select_columns(["image"])
    with tqdm(total=len(dataset), desc="embed images", unit="image", disable=not progress) as bar:
        for batch in images.iter(batch_size):
            yield batch["image"]
            bar.update(len(batch["image"]))


def mean_grey_level(image: Image) -> float:
    """Mean grey level, 0 (black) to 1."""
    if image.mode.startswith("I"):
        return float(np.asarray(image, dtype=np.float64).mean() / 65535)
    return float(np.asarray(image.convert("L"), dtype=np.float64).mean() / 255)


def normalised(embeds: np.ndarray) -> np.ndarray:
    """Rows of length one; a zero row stays zero."""
    norms = np.linalg.norm(embeds, axis=-1, keepdims=True)
    return embeds / np.where(norms > 0, norms, 1)


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    # A model that is being trained is measured between two steps, and goes back to training as it was.
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _vectors(features: Any) -> np.ndarray:
    # transformers 5 returns an output object for its own dual encoders, ours return the tensor.
    features = features if isinstance(features, torch.Tensor) else features.pooler_output
    return normalised(features.float().cpu().numpy())


def _stacked(batches: Iterable[np.ndarray]) -> np.ndarray:
    batches = list(batches)
    if not batches:
        raise ValueError("There is nothing to embed; expected at least one row.")
    return np.concatenate(batches)


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
