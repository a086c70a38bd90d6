"""From rows to training batches, such that a batch depends on nothing but seed, row and epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset, Image
from torch.utils.data import Sampler

from ..reports import split_sections, split_sentences
from .transforms import RadiographAugmentation


TextColumn = Literal["report", "findings", "impression"]
SentenceSelection = Literal["all", "one", "some"]
TRAINING_COLUMNS = ("id", "image", "report", "findings", "impression")

# Cached pixels have 16 bits: all 256 levels of 8 bits are exact in them, and what resizing gives is within 1e-5.
_FULL = 65535


class PairCollator:
    """
    Rows of the pair schema to a model's inputs: `pixel_values`, `input_ids`, `attention_mask`, `return_loss=True`.

    Augmentation and the choice of a sentence are functions of `(seed, row["id"], row["draw"])`; the draw is the epoch
    that `DrawnDataset` puts into the row (0 without it). So neither workers, nor batch order, nor a resumed run change
    what a pair looks like in an epoch.

    Args:
        processor (`CxrProcessor`): Gives `image_processor` and `tokenizer`.
        text_column (`str`, *optional*, defaults to `"report"`): `"report"`, `"findings"` or `"impression"`. A row
            whose section is empty is read by its whole report.
        sentences (`str`, *optional*, defaults to `"all"`): `"all"` of the text; `"one"` at random, as ConVIRT does; or
            `"some"`, see [`select_sentences`].
        num_sentences (`int`, *optional*, defaults to 0): Sentences of the whole report, drawn without replacement as
            long as there are others, that the image is compared with besides: `sentence_input_ids` and
            `sentence_attention_mask` of shape `(batch_size, num_sentences, longest)`.
        augmentation (`RadiographAugmentation`, *optional*): Applied between the image processor's rescaling and its
            normalisation.
        seed (`int`, *optional*, defaults to 0): Names the streams.
        max_length (`int`, *optional*): Longest text in tokens; the tokenizer's own limit when absent.
        cache_images (`bool`, *optional*, defaults to `False`): Keep the processed images in memory, so that later
            epochs neither decode nor resize. Each data loader worker keeps its own.
        cache_bytes (`int`, *optional*, defaults to 2 GiB): Images beyond it are processed anew in every epoch.

    Raises:
        ValueError: On an unknown text column, or, at a call, a row without words or pixels beyond 0 to 1.
    """

    def __init__(
        self,
        processor: Any,
        *,
        text_column: TextColumn = "report",
        sentences: SentenceSelection = "all",
        num_sentences: int = 0,
        augmentation: RadiographAugmentation | None = None,
        seed: int = 0,
        max_length: int | None = None,
        cache_images: bool = False,
        cache_bytes: int = 2 * 1024**3,
    ) -> None:
        if text_column not in ("report", "findings", "impression"):
            raise ValueError(f"text_column is {text_column!r}; expected 'report', 'findings' or 'impression'.")
        if sentences not in ("all", "one", "some"):
            raise ValueError(f"sentences is {sentences!r}; expected 'all', 'one' or 'some'.")
        if num_sentences < 0:
            raise ValueError(f"num_sentences is {num_sentences}; expected 0 or more.")
        self.processor = processor
        self.text_column = text_column
        self.sentences = sentences
        self.num_sentences = num_sentences
        self.augmentation = augmentation
        self.seed = seed
        self.tokens = TokenCache(processor.tokenizer, max_length=max_length)
        self.cache_images = cache_images
        self.cache_bytes = cache_bytes
        self._cache: dict[bytes, np.ndarray] = {}
        self._cached_bytes = 0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch of `pixel_values` `(batch_size, channels, height, width)` and texts padded to the longest."""
        seeds = [row_seed(self.seed, row["id"], row.get("draw", 0)) for row in rows]
        tokens = self.tokens([self._text(row, seed) for row, seed in zip(rows, seeds, strict=True)])
        batch = {
            "pixel_values": self._pixel_values([row["image"] for row in rows], torch.tensor(seeds)),
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "return_loss": True,
        }
        if self.num_sentences:
            drawn = [self._drawn_sentences(row, seed) for row, seed in zip(rows, seeds, strict=True)]
            tokens = self.tokens([sentence for sentences in drawn for sentence in sentences])
            for name, values in tokens.items():
                batch[f"sentence_{name}"] = values.view(len(rows), self.num_sentences, -1)
        return batch

    def _drawn_sentences(self, row: Mapping[str, Any], seed: int) -> list[str]:
        whole = row["report"] or ""
        sentences = report_sentences(whole if whole.strip() else row[self.text_column])
        order = np.random.default_rng((seed, 1)).permutation(len(sentences))
        return [sentences[order[index % len(order)]] for index in range(self.num_sentences)]

    def _text(self, row: Mapping[str, Any], seed: int) -> str:
        text = row[self.text_column] or ""
        text = text if text.strip() else row["report"] or ""
        if not text.strip():
            raise ValueError(f"Row {row['id']!r} has an empty report; a pair needs words.")
        if self.sentences == "one":
            sentences = report_sentences(text)
            # The low bits choose the sentence, all bits start the augmentation's stream: no visible relation.
            text = sentences[seed % len(sentences)]
        elif self.sentences == "some":
            text = select_sentences(text, seed)
        return text

    def _pixel_values(self, images: list[Any], seeds: torch.Tensor) -> torch.Tensor:
        image_processor = self.processor.image_processor
        if self.augmentation is None and not self.cache_images:
            decoded = [_decode(image) for image in images]
            return image_processor(images=decoded, return_tensors="pt")["pixel_values"]

        pixels = np.stack(self._processed(images))
        num_channels = pixels.shape[1]
        # Copies of one grey image are augmented once.
        pixels = pixels if (pixels != pixels[:, :1]).any() else pixels[:, :1]
        values = torch.from_numpy(pixels.astype(np.float32)) / _FULL
        if self.augmentation is not None:
            values = self.augmentation(values, seeds)
        values = values.expand(-1, num_channels, -1, -1)
        if image_processor.do_normalize:
            mean = torch.tensor(image_processor.image_mean).view(1, -1, 1, 1)
            deviation = torch.tensor(image_processor.image_std).view(1, -1, 1, 1)
            values = (values - mean) / deviation
        return values.contiguous()

    def _processed(self, images: list[Any]) -> list[np.ndarray]:
        """Everything that the image processor does but normalise, in 16 bits: `(channels, height, width)` each."""
        keys = [_content_key(image) if self.cache_images else None for image in images]
        found = [self._cache.get(key) for key in keys]
        missing = [index for index, values in enumerate(found) if values is None]
        if not missing:
            return found
        decoded = [_decode(images[index]) for index in missing]
        batch = self.processor.image_processor(images=decoded, do_normalize=False, return_tensors="np")
        values = np.asarray(batch["pixel_values"], dtype=np.float32)
        if not -1e-4 < values.min() <= values.max() < 1 + 1e-4:
            raise ValueError(f"The image processor gives {values.min()} to {values.max()}; expected 0 to 1.")
        values = np.rint(values.clip(0, 1) * _FULL).astype(np.uint16)
        for index, image in zip(missing, values, strict=True):
            found[index] = self._remember(keys[index], image)
        return found

    def _remember(self, key: bytes | None, values: np.ndarray) -> np.ndarray:
        # Copies of one channel are stored once; a view repeats them.
        stored = values if (values != values[:1]).any() else values[:1]
        if key is not None and self._cached_bytes + stored.nbytes <= self.cache_bytes:
            stored = stored.copy()  # a view would keep the whole batch alive
            self._cache[key] = np.broadcast_to(stored, values.shape)
            self._cached_bytes += stored.nbytes
        return values


class TokenCache:
    """
    Texts to padded tokens; a text that has been read before is not read again.

    A tokenizer's own padding goes through lists of Python numbers: with several sentences per image it took as long as
    the text tower.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Any.
        max_length (`int`, *optional*): Longest text in tokens; the tokenizer's own limit when absent.
        max_texts (`int`, *optional*, defaults to 131072): After so many texts it starts afresh.

    Raises:
        ValueError: If the tokenizer has no padding token.
    """

    def __init__(self, tokenizer: Any, *, max_length: int | None, max_texts: int = 2**17) -> None:
        if tokenizer.pad_token_id is None:
            raise ValueError(f"The tokenizer {tokenizer.name_or_path!r} has no padding token; texts differ in length.")
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.max_texts = max_texts
        self._ids: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of shape `(num_texts, longest)`, as the tokenizer gives them."""
        if len(self._ids) > self.max_texts:
            self._ids.clear()
        unread = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if unread:
            tokens = self.tokenizer(unread, truncation=True, max_length=self.max_length)["input_ids"]
            self._ids |= {text: np.array(ids, dtype=np.int32) for text, ids in zip(unread, tokens, strict=True)}
        rows = [self._ids[text] for text in texts]
        lengths = np.array([len(row) for row in rows])
        mask = np.arange(lengths.max()) < lengths[:, None]
        if self.tokenizer.padding_side == "left":
            mask = mask[:, ::-1]
        ids = np.full(mask.shape, self.tokenizer.pad_token_id, dtype=np.int64)
        ids[mask] = np.concatenate(rows)
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


class DrawnDataset(torch.utils.data.Dataset):
    """
    The pairs that a training reads, numbered through all epochs: index `epoch * len(dataset) + i` is row `i`, then.

    Rows carry the epoch as `draw`. Only the columns that training needs are read, and images stay encoded until the
    collator wants them: masks are never decoded.

    Args:
        dataset (`datasets.Dataset`): Pairs.

    Raises:
        ValueError: If a column that training needs is missing.
    """

    def __init__(self, dataset: Dataset) -> None:
        missing = [name for name in TRAINING_COLUMNS if name not in dataset.column_names]
        if missing:
            raise ValueError(
                f"The training pairs have no column {missing[0]!r}; expected {', '.join(TRAINING_COLUMNS)}."
            )
        dataset = dataset.select_columns(list(TRAINING_COLUMNS))
        self.dataset = dataset.cast_column("image", Image(mode="L", decode=False))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """All rows of a batch at once; `DataLoader` calls this by itself."""
        draws, places = zip(*(divmod(index, len(self.dataset)) for index in indices), strict=True)
        columns = self.dataset[list(places)]
        rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return [row | {"draw": draw} for row, draw in zip(rows, draws, strict=True)]


class EpochSampler(Sampler[int]):
    """
    The order of an epoch, as indices of a `DrawnDataset`; it follows from the seed and the epoch alone.

    Args:
        num_rows (`int`): Rows of the dataset.
        seed (`int`, *optional*, defaults to 0): Names the orders.
        shuffle (`bool`, *optional*, defaults to `True`): Otherwise the rows come as they lie.

    Example:

    ```python
    >>> from synthcxr.data import EpochSampler

    >>> sampler = EpochSampler(4, shuffle=False)
    >>> sampler.set_epoch(2)
    >>> list(sampler)
    [8, 9, 10, 11]

    ```
    """

    def __init__(self, num_rows: int, *, seed: int = 0, shuffle: bool = True) -> None:
        if num_rows < 1:
            raise ValueError(f"num_rows is {num_rows}; expected 1 or more.")
        self.num_rows = num_rows
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[int]:
        order = torch.arange(self.num_rows)
        if self.shuffle:
            generator = torch.Generator().manual_seed(row_seed(self.seed, "order", self.epoch))
            order = torch.randperm(self.num_rows, generator=generator)
        yield from (order + self.epoch * self.num_rows).tolist()


def select_sentences(text: str, seed: int) -> str:
    """
    One to all sentences of a text, every number as likely, in random order.

    Between a whole report and a single sentence: most facts are in most batches, and short texts, such as zero-shot
    prompts, are no strangers.

    Args:
        text (`str`): A report or a section.
        seed (`int`): Names the stream; the same text and seed give the same selection.
    """
    sentences = report_sentences(text)
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, len(sentences) + 1))
    return " ".join(sentences[index] for index in rng.permutation(len(sentences))[:count])


@lru_cache(maxsize=2**16)  # the same reports come in every epoch
def report_sentences(text: str) -> tuple[str, ...]:
    """
    The sentences of a report or a section that describe the image; the text itself where there are none.

    Not those of other sections: an indication names what was asked, not what is seen.
    """
    sections = split_sections(text)
    described = (sections.get(name, "") for name in ("body", "findings", "impression"))
    return tuple(sentence for section in described for sentence in split_sentences(section)) or (text,)


def row_seed(seed: int, row_id: str, draw: int) -> int:
    """Name the stream of a row in an epoch: 0 to 2**63 - 1, from these three alone."""
    digest = hashlib.blake2b(f"{seed}:{draw}:{row_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # fits int64


def _decode(image: Any) -> Any:
    """A PIL image from what `datasets` gives, decoded or not."""
    return Image(mode="L").decode_example(image) if isinstance(image, Mapping) else image


def _content_key(image: Any) -> bytes | None:
    """Names the pixels, whatever row or dataset they are in; nothing for an image that is already decoded."""
    if not isinstance(image, Mapping):
        return None
    return hashlib.blake2b(image["bytes"] or str(image["path"]).encode(), digest_size=16).digest()
