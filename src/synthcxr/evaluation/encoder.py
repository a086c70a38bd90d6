"""Anything that turns images and texts into vectors of one space, and a dataset embedded once by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from datasets import Dataset
from PIL.Image import Image
from safetensors import SafetensorError
from torch.nn.utils.rnn import pad_sequence
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
        image_states (`Mapping[str, torch.Tensor]`, *optional*): What `encoder`, a [`PairScoringEncoder`], compares
            with texts instead of `image_embeds`.
        text_states (`dict[str, Mapping[str, torch.Tensor]]`, *optional*): The same of texts that were asked for.
    """

    image_embeds: np.ndarray
    text_embeds: Mapping[str, np.ndarray] = field(default_factory=dict)
    grey_levels: np.ndarray | None = None
    encoder: Encoder | None = None
    image_states: Mapping[str, torch.Tensor] | None = None
    text_states: dict[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)

    @property
    def score_name(self) -> str:
        """How images are compared with texts: `"cosine"`, or the model's own way."""
        return "cosine" if self.image_states is None else self.encoder.score_name

    def similarity(self, texts: Sequence[str]) -> np.ndarray:
        """Of every row with every text: `(num_rows, num_texts)`; higher is nearer. Texts are encoded once and kept."""
        if self.image_states is None:
            return self.image_embeds @ self.texts(texts).T
        place = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        missing = [text for text in place if text not in self.text_states]
        self.text_states.update(zip(missing, self.encoder.encode_texts(missing), strict=True))
        scores = self.encoder.score(self.image_states, [self.text_states[text] for text in place])
        return scores[:, [place[text] for text in texts]]

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
        return _vectors(self.model.get_image_features(pixel_values=self._pixel_values(images)))

    def _text_batch(self, texts: Sequence[str]) -> np.ndarray:
        return _vectors(self.model.get_text_features(**self._tokens(texts)))

    def _pixel_values(self, images: Sequence[Image]) -> torch.Tensor:
        inputs = self.processor(images=list(images), return_tensors="pt")
        return inputs["pixel_values"].to(self.model.device, self.model.dtype)

    def _tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        inputs = self.processor(text=list(texts), padding=True, truncation=True, return_tensors="pt")
        return {name: inputs[name].to(self.model.device) for name in ("input_ids", "attention_mask")}


class PairScoringEncoder(DualEncoder):
    """
    A [`DualEncoder`] whose model compares an image with a text by more than one vector of each, as GLoRIA does.

    Args:
        model (`PreTrainedModel`): Has `get_image_states` and `get_text_states`, which give tensors by name with one
            row per image or text (zeros where a text has fewer words than others), `score_pairs`, which takes both,
            and `score_name`.
        kwargs: As for [`DualEncoder`].
    """

    @property
    def score_name(self) -> str:
        """What the scores are, for the protocol of a result."""
        return self.model.score_name

    def encode_images(self, images: Sequence[Image]) -> dict[str, torch.Tensor]:
        """
        Images as `score` takes them, in half precision if it holds them: per image 2 bytes for every region and
        dimension, which is 16 KiB for the tiny GLoRIA at 64 pixels and 541 KiB for the published one at 299.
        """
        with _evaluating(self.model):
            pixel_values = (self._pixel_values(images[rows]) for rows in _slices(len(images), self.batch_size))
            return _joined([_kept(self.model.get_image_states(pixel_values=pixels)) for pixels in pixel_values])

    def encode_texts(self, texts: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        """Each text as `score` takes it, in half precision if it holds it; each distinct text is encoded once."""
        # Texts of like length share a batch, which saves padding.
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        encoded = {}
        with _evaluating(self.model):
            for some in _slices(len(distinct), self.batch_size):
                states = _kept(self.model.get_text_states(**self._tokens(distinct[some])))
                for row, text in enumerate(distinct[some]):
                    encoded[text] = {name: value[row] for name, value in states.items()}
        return [encoded[text] for text in texts]

    def score(
        self, image_states: Mapping[str, torch.Tensor], text_states: Sequence[Mapping[str, torch.Tensor]]
    ) -> np.ndarray:
        """Every image with every text, `(num_images, num_texts)`, float32."""
        scores = np.empty((len(image_states["image_embeds"]), len(text_states)), dtype=np.float32)
        by_length = sorted(range(len(text_states)), key=lambda index: _num_elements(text_states[index]))
        columns = [by_length[some] for some in _slices(len(by_length), self.batch_size)]
        blocks = [_padded([text_states[index] for index in some]) for some in columns]
        with _evaluating(self.model):
            for rows in _slices(len(scores), self.batch_size):
                images = self._computed({name: value[rows] for name, value in image_states.items()})
                for some, texts in zip(columns, blocks, strict=True):
                    block = self.model.score_pairs(**images, **self._computed(texts))
                    scores[rows, some] = block.float().cpu().numpy()
        return scores

    def _computed(self, states: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """On the model's device, in its precision."""
        moved = {name: value.to(self.model.device) for name, value in states.items()}
        return {
            name: value.to(self.model.dtype) if value.is_floating_point() else value for name, value in moved.items()
        }


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
        return _encoder_of(model)(model, processor, batch_size=batch_size, device=device)
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
    return _encoder_of(model)(model, processor, batch_size=batch_size, device=device)


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
    embeds, states, grey_levels = [], [], []
    for images in image_batches(dataset, batch_size, progress=progress):
        if isinstance(encoder, PairScoringEncoder):
            states.append(encoder.encode_images(images))
            embeds.append(states[-1]["image_embeds"].float().numpy())
        else:
            embeds.append(encoder.embed_images(images))
        grey_levels.extend(mean_grey_level(image) for image in images)
    if not embeds:
        raise ValueError("The dataset has no rows; expected at least one image.")
    image_states = _joined(states) if states else None
    embeddings = Embeddings(normalised(np.concatenate(embeds)), {}, np.array(grey_levels), encoder, image_states)
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


def _encoder_of(model: PreTrainedModel) -> type[DualEncoder]:
    return PairScoringEncoder if callable(getattr(model, "score_pairs", None)) else DualEncoder


def _kept(states: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, and numbers in half precision, which 1000 images of a large model need, unless one is beyond it."""
    halves = {name: value.half() for name, value in states.items() if value.is_floating_point()}
    # All are asked at once: an answer is worth waiting for the device only once a batch.
    fits = torch.stack([half.isfinite().all() for half in halves.values()]).tolist()
    kept = {
        name: half if fit else states[name].float() for (name, half), fit in zip(halves.items(), fits, strict=True)
    }
    return {name: kept.get(name, value).cpu() for name, value in states.items()}


def _num_elements(states: Mapping[str, torch.Tensor]) -> int:
    return sum(value.numel() for value in states.values())


def _padded(texts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """One row per text, filled up with zeros to the longest."""
    dtypes = {name: reduce(torch.promote_types, (text[name].dtype for text in texts)) for name in texts[0]}
    return {
        name: pad_sequence([text[name].to(dtype) for text in texts], batch_first=True)
        for name, dtype in dtypes.items()
    }


def _joined(batches: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


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
