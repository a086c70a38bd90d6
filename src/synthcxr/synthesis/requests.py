"""From reports to requests: one per image, with an id and a seed of its own, stored shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..data.dataset_folder import ShardPlan
from ..data.schema import SPLITS
from .report_rows import ReportRow


@dataclass(frozen=True)
class ImageRequest:
    """
    One image that is to be drawn, and all that its row will say.

    Args:
        id (`str`): Of the pair; it names nobody.
        where (`str`): The report's row in its source, for messages.
        seed (`int`): Of the image's noise.
        report (`str`): Whole text.
        findings (`str`): Its findings section.
        impression (`str`): Its impression section.
        labels (`tuple[str, ...]`): As the source has them.
        uncertain (`tuple[str, ...]`): As the source has them.
        entities (`tuple[tuple[str, str], ...]`): As the source has them.
        view, sex, patient_id, study_id, prior_id (`str`, *optional*): Null, or neutral, when the report is real.
        age (`float`, *optional*): Null when the report is real.
    """

    id: str
    where: str
    seed: int
    report: str
    findings: str
    impression: str
    labels: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    entities: tuple[tuple[str, str], ...] = ()
    view: str | None = None
    age: float | None = None
    sex: str | None = None
    patient_id: str | None = None
    study_id: str | None = None
    prior_id: str | None = None

    @property
    def text(self) -> str:
        """What the prompt is made of: the impression first, as it says what matters and windows are short."""
        return f"{self.impression}\n\n{self.findings}".strip() or self.report


class StoredRequests(Sequence[ImageRequest]):
    """
    The requests of a shard, read from its file when they are asked for: a million do not fit in memory.

    Args:
        path (`Path`): JSON lines.
        count (`int`): How many.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self._count = path, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int | slice) -> ImageRequest | list[ImageRequest]:
        return list(self)[index]

    def __iter__(self) -> Iterator[ImageRequest]:
        with self.path.open(encoding="utf-8") as file:
            yield from (_read(line) for line in file)


class RequestPlan(NamedTuple):
    """
    What is to be drawn.

    Args:
        shards (`list[ShardPlan]`): With their requests.
        digest (`str`): Of all requests.
        report_origins (`dict[str, int]`): Images per origin of their report.
    """

    shards: list[ShardPlan]
    digest: str
    report_origins: dict[str, int]


def plan_requests(
    rows: Iterable[ReportRow],
    folder: Path,
    *,
    num_rows: int | None,
    num_pairs: int | None,
    seed: int,
    shard_size: int,
    source: str,
) -> RequestPlan:
    """
    Store the requests of every shard, and name what they are.

    Ids and seeds follow from `seed` and the report (real reports: its text; others: the row's id), so that they stay
    when other rows come or go. What the source calls a real patient or study is replaced by a number.

    Args:
        rows (`Iterable[ReportRow]`): The reports.
        folder (`Path`): Where the requests are stored.
        num_rows (`int`, *optional*): How many rows there are; needed with `num_pairs`.
        num_pairs (`int`, *optional*): Images in all: fewer than rows takes the first, more draws several of each
            report. One of each when absent.
        seed (`int`): Another seed, other images.
        shard_size (`int`): Pairs per shard.
        source (`str`): Generator and revision.

    Returns:
        `RequestPlan`: With the shards in order of split and row.

    Raises:
        ValueError: If there is no row, or two have the same id.
    """
    wanted = num_rows if num_pairs is None else num_pairs
    namer, origins = _Namer(seed, source), Counter[str]()
    total = hashlib.blake2b(digest_size=16)
    with ExitStack() as stack:
        shards = {split: _ShardFiles(folder, split, shard_size, stack) for split in SPLITS}
        for index, row in enumerate(rows):
            copies = 1 if num_rows is None or wanted is None else _copies(index, num_rows, wanted)
            if index and not copies:
                break
            origins[row.origin] += copies
            for request in namer.requests(row, copies):
                line = json.dumps(asdict(request), ensure_ascii=True).encode() + b"\n"
                total.update(row.split.encode() + line)
                shards[row.split].add(line)
    plans = [
        ShardPlan(split, index, len(files.counts), StoredRequests(files.path(index), count))
        for split, files in shards.items()
        for index, count in enumerate(files.counts)
    ]
    if not plans:
        raise ValueError("There is no report to draw an image for.")
    return RequestPlan(plans, total.hexdigest(), dict(origins))


def _copies(index: int, num_rows: int, num_pairs: int) -> int:
    return num_pairs // num_rows + (index < num_pairs % num_rows)


def _read(line: str) -> ImageRequest:
    data = json.loads(line)
    data |= {name: tuple(data[name]) for name in ("labels", "uncertain")}
    return ImageRequest(**data | {"entities": tuple((text, kind) for text, kind in data["entities"])})


class _ShardFiles:
    """The request files of one split."""

    def __init__(self, folder: Path, split: str, shard_size: int, stack: ExitStack) -> None:
        self._folder, self._split, self._shard_size, self._stack = folder, split, shard_size, stack
        self._file: BinaryIO | None = None
        self.counts: list[int] = []

    def path(self, index: int) -> Path:
        return self._folder / f"{self._split}-{index:05d}.jsonl"

    def add(self, line: bytes) -> None:
        if not self.counts or self.counts[-1] == self._shard_size:
            if self._file is not None:
                self._file.close()
            self._file = self._stack.enter_context(self.path(len(self.counts)).open("wb"))
            self.counts.append(0)
        self._file.write(line)
        self.counts[-1] += 1


class _Namer:
    """Ids and seeds that do not depend on the place of a row."""

    def __init__(self, seed: int, source: str) -> None:
        self._seed, self._source = seed, source
        self._texts: Counter[bytes] = Counter()
        self._ids: set[bytes] = set()
        self._numbers: dict[tuple[str, bytes], int] = {}

    def requests(self, row: ReportRow, copies: int) -> Iterator[ImageRequest]:
        real = row.origin == "real"
        key = self._content_key(row) if real or not row.id else self._id_key(row)
        for copy in range(copies):
            seed = _hash(f"{self._seed}:{copy}:{key}", 8)
            yield ImageRequest(
                id=f"synthetic-{_hash(f'{self._source}:{self._seed}:{copy}:{key}', 8).hex()}",
                where=row.where,
                seed=int.from_bytes(seed, "big") >> 1,  # the schema's integers have a sign
                report=row.report,
                findings=row.findings,
                impression=row.impression,
                labels=row.labels,
                uncertain=row.uncertain,
                entities=row.entities,
                view=None if real else row.view,
                age=None if real else row.age,
                sex=None if real else row.sex,
                patient_id=self._neutral("patient", row.patient_id) if real else row.patient_id,
                study_id=self._neutral("study", row.study_id) if real else row.study_id,
                prior_id=self._neutral("study", row.prior_id) if real else row.prior_id,
            )

    def _content_key(self, row: ReportRow) -> str:
        """A hash of an identifier can be undone by trying them all; of a text that is published it tells nothing."""
        digest = _hash("\x1f".join((row.report, row.findings, row.impression)), 8)
        self._texts[digest] += 1
        return f"text:{digest.hex()}:{self._texts[digest]}"

    def _id_key(self, row: ReportRow) -> str:
        digest = _hash(row.id, 8)
        if digest in self._ids:
            raise ValueError(f"{row.where} has the id {row.id!r:.80}, which an earlier row has too.")
        self._ids.add(digest)
        return f"id:{row.id}"

    def _neutral(self, kind: str, name: str | None) -> str | None:
        if name is None:
            return None
        number = self._numbers.setdefault((kind, _hash(name, 8)), len(self._numbers) + 1)
        return f"{kind}-{number}"


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=size).digest()
