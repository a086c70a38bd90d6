"""From rows to training batches, such that a batch depends on nothing but seed, row and epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset, Image, List
from torch.utils.data import Sampler

from ..reports import deny_unstated, split_sections, split_sentences
from .finding_masks import FindingMaps
from .finding_statements import statement_vector
from .image_views import ImageViews, by_row
from .transforms import RadiographAugmentation


TextColumn = Literal["report", "findings", "impression"]
SentenceSelection = Literal["all", "one", "some"]
TRAINING_COLUMNS = ("id", "image", "report", "findings", "impression")


class PairCollator:
    """
    Rows of the pair schema to a model's inputs: `pixel_values`, `input_ids`, `attention_mask`, `return_loss=True`.

    Augmentation and the choice of a sentence are functions of `(seed, row["id"], row["draw"])`; the draw is the epoch
    that `DrawnDataset` puts into the row (0 without it). So neither workers, nor batch order, nor a resumed run change
    what a pair looks like in an epoch. Several views have a stream each, the first the one that a single view has.

    Args:
        processor (`CxrProcessor`): Gives `image_processor` and `tokenizer`.
        text_column (`str`, *optional*, defaults to `"report"`): `"report"`, `"findings"` or `"impression"`. A row
            whose section is empty is read by its whole report.
        sentences (`str`, *optional*, defaults to `"all"`): `"all"` of the text; `"one"` at random, as ConVIRT does; or
            `"some"`, see [`select_sentences`].
        num_sentences (`int`, *optional*, defaults to 0): Sentences of the whole report, drawn without replacement as
            long as there are others, that the image is compared with besides: `sentence_input_ids` and
            `sentence_attention_mask` of shape `(batch_size, num_sentences, longest)`.
        num_image_views (`int`, *optional*, defaults to 1): Augmentations of every image; of more than one,
            `pixel_values` has the shape `(batch_size, num_image_views, channels, height, width)`.
        num_text_views (`int`, *optional*, defaults to 1): Texts drawn from every report; of more than one, `input_ids`
            and `attention_mask` have the shape `(batch_size, num_text_views, longest)`.
        augmentation (`RadiographAugmentation`, *optional*): Applied between the image processor's rescaling and its
            normalisation.
        text_augmentation (`Callable[[str, int], str]`, *optional*): From a text and the seed of its stream to another
            wording, such as `ReportAugmentation`; the drawn sentences stay as they are.
        report_keys (`bool`, *optional*, defaults to `False`): Add `report_key` of shape `(batch_size,)`: the
            [`report_key`] of the text column, before any selection or augmentation.
        statements (`bool`, *optional*, defaults to `False`): Add what reports and drawn sentences say of findings, as
            [`~synthcxr.data.finding_statements.statement_vector`]: `report_statements` of shape `(batch_size,
            num_statements)` and `sentence_statements` of shape `(batch_size, num_sentences, num_statements)`. The
            last of several sentences is then one that denies what the report does not name:
            [`~synthcxr.reports.deny_unstated`].
        finding_maps (`bool`, *optional*, defaults to `False`): Add where the findings of simulated rows are, moved as
            the first view of the image is: see [`~synthcxr.data.finding_masks.FindingMaps`].
        seed (`int`, *optional*, defaults to 0): Names the streams.
        max_length (`int`, *optional*): Longest text in tokens; the tokenizer's own limit when absent.
        cache_images (`bool`, *optional*, defaults to `False`): Keep the processed images in memory, so that later
            epochs neither decode nor resize. Each data loader worker keeps its own.
        cache_bytes (`int`, *optional*, defaults to 2 GiB): Images beyond it are processed anew in every epoch.

    Raises:
        ValueError: On an unknown text column or views that cannot differ, or, at a call, a row without words or pixels
            beyond 0 to 1.
    """

    def __init__(
        self,
        processor: Any,
        *,
        text_column: TextColumn = "report",
        sentences: SentenceSelection = "all",
        num_sentences: int = 0,
        num_image_views: int = 1,
        num_text_views: int = 1,
        augmentation: RadiographAugmentation | None = None,
        text_augmentation: Callable[[str, int], str] | None = None,
        report_keys: bool = False,
        statements: bool = False,
        finding_maps: bool = False,
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
        if min(num_image_views, num_text_views) < 1:
            raise ValueError(f"{num_image_views} image and {num_text_views} text views; expected 1 or more of each.")
        if num_image_views > 1 and augmentation is None:
            raise ValueError(f"{num_image_views} views of an image without augmentation would be equal.")
        self.processor = processor
        self.text_column = text_column
        self.sentences = sentences
        self.num_sentences = num_sentences
        self.num_image_views = num_image_views
        self.num_text_views = num_text_views
        self.text_augmentation = text_augmentation
        self.report_keys = report_keys
        self.statements = statements
        self.finding_maps = FindingMaps(augmentation) if finding_maps else None
        self.seed = seed
        self.tokens = TokenCache(processor.tokenizer, max_length=max_length)
        self.images = ImageViews(
            processor.image_processor, augmentation=augmentation, cache_images=cache_images, cache_bytes=cache_bytes
        )

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch of `pixel_values` `(batch_size, channels, height, width)` and texts padded to the longest."""
        seeds = [
            [row_seed(self.seed, row["id"], row.get("draw", 0), view=view) for row in rows]
            for view in range(max(self.num_image_views, self.num_text_views))
        ]
        texts = [
            self._text(row, seed)
            for view_seeds in seeds[: self.num_text_views]
            for row, seed in zip(rows, view_seeds, strict=True)
        ]
        tokens = self.tokens(texts)
        batch = {
            "pixel_values": self.images([row["image"] for row in rows], torch.tensor(seeds[: self.num_image_views])),
            "input_ids": by_row(tokens["input_ids"], self.num_text_views),
            "attention_mask": by_row(tokens["attention_mask"], self.num_text_views),
            "return_loss": True,
        }
        if self.report_keys:
            batch["report_key"] = torch.tensor([report_key(self._whole_text(row)) for row in rows])
        if self.finding_maps is not None:
            batch |= self.finding_maps(rows, torch.tensor(seeds[0]))
        if self.statements:
            reports = [statement_vector(self._described(row)) for row in rows]
            batch["report_statements"] = torch.from_numpy(np.stack(reports))
        if self.num_sentences:
            drawn = [self._drawn_sentences(row, seed) for row, seed in zip(rows, seeds[0], strict=True)]
            tokens = self.tokens([sentence for sentences in drawn for sentence in sentences])
            for name, values in tokens.items():
                batch[f"sentence_{name}"] = values.view(len(rows), self.num_sentences, -1)
            if self.statements:
                said = [[statement_vector(sentence) for sentence in sentences] for sentences in drawn]
                batch["sentence_statements"] = torch.from_numpy(np.array(said))
        return batch

    def _drawn_sentences(self, row: Mapping[str, Any], seed: int) -> list[str]:
        sentences = report_sentences(self._described(row))
        order = np.random.default_rng((seed, 1)).permutation(len(sentences))
        drawn = [sentences[order[index % len(order)]] for index in range(self.num_sentences)]
        if self.statements and self.num_sentences > 1:
            drawn[-1] = deny_unstated(self._described(row), seed)
        return drawn

    def _described(self, row: Mapping[str, Any]) -> str:
        """The whole report, whatever part of it the text is."""
        whole = row["report"] or ""
        return whole if whole.strip() else row[self.text_column]

    def _whole_text(self, row: Mapping[str, Any]) -> str:
        text = row[self.text_column] or ""
        text = text if text.strip() else row["report"] or ""
        if not text.strip():
            raise ValueError(f"Row {row['id']!r} has an empty report; a pair needs words.")
        return text

    def _text(self, row: Mapping[str, Any], seed: int) -> str:
        text = self._whole_text(row)
        if self.sentences == "one":
            sentences = report_sentences(text)
            # The low bits choose the sentence, all bits start the augmentation's stream: no visible relation.
            text = sentences[seed % len(sentences)]
        elif self.sentences == "some":
            text = select_sentences(text, seed)
        return text if self.text_augmentation is None else self.text_augmentation(text, seed)


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
    collator wants them.

    Args:
        dataset (`datasets.Dataset`): Pairs.
        with_masks (`bool`, *optional*, defaults to `False`): Read the findings' masks, too, still encoded: `objects`;
            and `origin`.

    Raises:
        ValueError: If a column that training needs is missing.
    """

    def __init__(self, dataset: Dataset, *, with_masks: bool = False) -> None:
        columns = [*TRAINING_COLUMNS, *(["objects", "origin"] if with_masks else [])]
        missing = [name for name in columns if name not in dataset.column_names]
        if missing:
            raise ValueError(f"The training pairs have no column {missing[0]!r}; expected {', '.join(columns)}.")
        dataset = dataset.select_columns(columns).cast_column("image", Image(mode="L", decode=False))
        if with_masks:
            encoded = {**dataset.features["objects"], "mask": List(Image(mode="L", decode=False))}
            dataset = dataset.cast_column("objects", encoded)
        self.dataset = dataset

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


def row_seed(seed: int, row_id: str, draw: int, *, view: int = 0) -> int:
    """Name the stream of a view of a row in an epoch: 0 to 2**63 - 1, from these four alone."""
    person = view.to_bytes(8, "big")
    digest = hashlib.blake2b(f"{seed}:{draw}:{row_id}".encode(), digest_size=8, person=person).digest()
    return int.from_bytes(digest, "big") >> 1  # fits int64


@lru_cache(maxsize=2**16)
def report_key(report: str) -> int:
    """A number that reports share when they differ in nothing but case and blanks: -2**63 to 2**63 - 1."""
    digest = hashlib.blake2b(" ".join(report.lower().split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
