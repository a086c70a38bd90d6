"""The images of a shard: prompts encoded once, packed by length, rows in the order of the requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data.schema import Pair
from ..data.shards import BadRow
from ..pipelines.prompts import FittedPrompt, fit_prompt
from ..pipelines.text_conditioning import encode_prompts, reads_whole_window
from .generators import load_generator
from .prompt_language import why_unreadable
from .requests import ImageRequest


if TYPE_CHECKING:
    from ..pipelines.pipeline_cxr_synthesis import CxrSynthesisPipeline

# Prompts are packed by length among so many batches; more would keep more images in memory and pad less.
BATCHES_PER_WINDOW = 8

# Encoded prompts that a shard keeps: of 256 tokens and 768 numbers each, 0.8 GB.
_MOST_CONDITIONS = 1024


@dataclass(frozen=True)
class SamplingSettings:
    """
    How images are drawn.

    Args:
        generator (`str`): Folder of the checkpoint.
        source (`str`): What the rows say of it: name and revision.
        batch_size (`int`): Images drawn at once.
        num_inference_steps (`int`): Steps from noise to image.
        guidance_scale (`float`): How far each step leads away from no prompt.
        dtype (`str`): Type of the weights: `"float32"`, `"bfloat16"` or `"float16"`.
        device (`str`): `"cpu"` or `"cuda"`.
        compile_unet (`bool`): Compile what runs at every step.
    """

    generator: str
    source: str
    batch_size: int
    num_inference_steps: int
    guidance_scale: float
    dtype: str
    device: str
    compile_unet: bool


@dataclass
class Tally:
    """
    What happened while a shard was drawn.

    Args:
        tell (`Callable[[int, int], None]`): Told of images drawn and requests refused, as they come.
        num_marks (`int`): De-identification marks taken out of prompts.
        num_prompts_cut (`int`): Prompts that lost sentences because the text encoder's window was full.
        smallest_batch (`int`, *optional*): Batch size after running out of memory, if that happened.
    """

    tell: Callable[[int, int], None]
    num_marks: int = 0
    num_prompts_cut: int = 0
    smallest_batch: int | None = None

    def counts(self) -> dict[str, int]:
        """What does not depend on the machine: it stays in the dataset's manifest."""
        return {"num_marks": self.num_marks, "num_prompts_cut": self.num_prompts_cut}


def sample_rows(requests: Sequence[ImageRequest], settings: SamplingSettings, tally: Tally) -> Iterator[Pair | BadRow]:
    """
    Draw the image of every request.

    The sampler runs in a thread of its own, a window of batches ahead of who takes the rows, encodes and writes them.
    Equal requests and settings give equal rows on equal machines, whichever process draws them; a request that cannot
    be drawn gives a `BadRow`.

    Args:
        requests (`Sequence[ImageRequest]`): Of a shard.
        settings (`SamplingSettings`): How to draw.
        tally (`Tally`): Told what happens.

    Raises:
        ValueError: If the generator cannot be loaded.
        RuntimeError: If not even one image fits in memory.
    """
    requests = list(requests)
    size = settings.batch_size * BATCHES_PER_WINDOW
    windows = [requests[start : start + size] for start in range(0, len(requests), size)]
    sampler = _Sampler(settings, tally)
    num_threads = torch.get_num_threads()
    if settings.device == "cpu":
        # More threads would add in another order, and so decide the last bits: more workers are as fast.
        torch.set_num_threads(1)
    with ThreadPoolExecutor(1) as ahead:
        try:
            drawn: Future[list[_Drawn | str]] = ahead.submit(sampler.draw, windows[0])
            for window, following in zip(windows, [*windows[1:], None], strict=True):
                outcomes = drawn.result()
                if following is not None:
                    drawn = ahead.submit(sampler.draw, following)
                for request, outcome in zip(window, outcomes, strict=True):
                    yield _row(request, outcome, settings.source)
        finally:
            sampler.stop.set()  # who takes the rows has failed or was stopped: end with the batch in hand
            torch.set_num_threads(num_threads)


@dataclass
class _Drawn:
    """An image and what it was drawn from."""

    image: np.ndarray
    prompt: str


@dataclass
class _Sampler:
    settings: SamplingSettings
    tally: Tally
    stop: Event = field(default_factory=Event)
    conditions: dict[str, torch.Tensor] = field(default_factory=dict)

    def draw(self, requests: Sequence[ImageRequest]) -> list[_Drawn | str]:
        """An image, or why there is none, per request."""
        pipeline = load_generator(
            self.settings.generator,
            self.settings.source,
            dtype=self.settings.dtype,
            device=_device(self.settings.device),
            compile_unet=self.settings.compile_unet,
        )
        prompts = [self._prompt(request, pipeline) for request in requests]
        outcomes: list[_Drawn | str] = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
        self.tally.tell(0, sum(isinstance(prompt, str) for prompt in prompts))
        texts = {index: prompt.text for index, prompt in enumerate(prompts) if isinstance(prompt, FittedPrompt)}
        conditions = self._encoded(set(texts.values()), pipeline)
        order = sorted(texts, key=lambda index: (len(conditions[texts[index]]), texts[index], index))
        for start in range(0, len(order), self.settings.batch_size):
            batch = order[start : start + self.settings.batch_size]
            seeds = [requests[index].seed for index in batch]
            images = self._draw_batch(pipeline, [conditions[texts[index]] for index in batch], seeds)
            for index, image in zip(batch, images, strict=True):
                outcomes[index] = image if isinstance(image, str) else _Drawn(image, texts[index])
            num_refused = sum(isinstance(image, str) for image in images)
            self.tally.tell(len(batch) - num_refused, num_refused)
        return outcomes

    def _encoded(self, texts: set[str], pipeline: CxrSynthesisPipeline) -> dict[str, torch.Tensor]:
        """`(length, dim)` per prompt of the window, each encoded once in the shard while memory lasts."""
        if len(self.conditions) > _MOST_CONDITIONS:
            self.conditions = {text: self.conditions[text] for text in texts if text in self.conditions}
        new = [text for text in texts if text not in self.conditions]
        self.conditions |= _encode(sorted(new), pipeline, self.settings.batch_size)
        return self.conditions

    def _prompt(self, request: ImageRequest, pipeline: CxrSynthesisPipeline) -> FittedPrompt | str:
        try:
            prompt = fit_prompt(request.text, pipeline.tokenizer, max_tokens=pipeline.prompt_window)
        except ValueError as error:
            return " ".join(str(error).split())
        reason = why_unreadable(prompt.text, pipeline.tokenizer)
        if reason:
            return reason
        self.tally.num_marks += prompt.num_marks
        self.tally.num_prompts_cut += prompt.num_sentences_cut > 0
        return prompt

    def _draw_batch(
        self, pipeline: CxrSynthesisPipeline, conditions: list[torch.Tensor], seeds: list[int]
    ) -> list[np.ndarray | str]:
        """Halved, and halved again, while memory runs out; why there is none in place of an image of no numbers."""
        if self.stop.is_set():
            raise RuntimeError("The work was interrupted.")
        size = min(len(seeds), self.tally.smallest_batch or len(seeds))
        try:
            images: list[np.ndarray | str] = []
            for start in range(0, len(seeds), size):
                images += _draw(pipeline, conditions[start : start + size], seeds[start : start + size], self.settings)
            return images
        except ValueError as error:
            if len(seeds) == 1:
                return [" ".join(str(error).split())]
            alone = zip(conditions, seeds, strict=True)
            return [self._draw_batch(pipeline, [condition], [seed])[0] for condition, seed in alone]
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if size == 1:
                raise RuntimeError("Not even one image fits in memory; take a smaller generator or type.") from error
        # Outside of the `except`, whose traceback holds on to the tensors.
        self.tally.smallest_batch = size // 2
        _free_memory()
        return self._draw_batch(pipeline, conditions, seeds)


def _draw(
    pipeline: CxrSynthesisPipeline, conditions: list[torch.Tensor], seeds: list[int], settings: SamplingSettings
) -> list[np.ndarray]:
    """One batch; the noise of every image comes from its own seed, on the CPU, so that it is the same everywhere."""
    embeds = torch.nn.utils.rnn.pad_sequence(conditions, batch_first=True)
    lengths = torch.tensor([len(condition) for condition in conditions], device=embeds.device)
    mask = torch.arange(embeds.shape[1], device=embeds.device) < lengths[:, None]
    whole_window = reads_whole_window(pipeline.text_encoder)
    images = pipeline(
        prompt_embeds=embeds,
        prompt_mask=None if whole_window else mask.long(),
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    return [np.asarray(image) for image in images]


def _encode(texts: Sequence[str], pipeline: CxrSynthesisPipeline, batch_size: int) -> dict[str, torch.Tensor]:
    """`(length, dim)` per distinct prompt, without padding; CLIP's padding takes part, so it stays."""
    texts = sorted(texts, key=len)
    conditions = {}
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            conditions |= _encode_batch(texts[start : start + batch_size], pipeline)
    return conditions


def _encode_batch(texts: Sequence[str], pipeline: CxrSynthesisPipeline) -> dict[str, torch.Tensor]:
    """Halved, and halved again, while memory runs out."""
    try:
        embeds, mask = encode_prompts(texts, pipeline.tokenizer, pipeline.text_encoder)
        lengths = [embeds.shape[1]] * len(texts) if mask is None else mask.sum(dim=1).tolist()
        return {text: embeds[index, : lengths[index]] for index, text in enumerate(texts)}
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        if len(texts) == 1:
            raise RuntimeError("Not even one prompt fits in memory; take a smaller generator or type.") from error
    _free_memory()
    half = len(texts) // 2
    return _encode_batch(texts[:half], pipeline) | _encode_batch(texts[half:], pipeline)


def _row(request: ImageRequest, outcome: _Drawn | str, source: str) -> Pair | BadRow:
    if isinstance(outcome, str):
        return BadRow(request.where, outcome)
    try:
        return Pair(
            id=request.id,
            image=outcome.image,
            report=request.report,
            origin="synthetic",
            source=source,
            findings=request.findings,
            impression=request.impression,
            labels=request.labels,
            uncertain=request.uncertain,
            entities=request.entities,
            view=request.view,
            age=request.age,
            sex=request.sex,
            prompt=outcome.prompt,
            seed=request.seed,
            patient_id=request.patient_id,
            study_id=request.study_id,
            prior_id=request.prior_id,
        )
    except ValueError as error:
        return BadRow(request.where, " ".join(str(error).split()))


def _is_out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        word in str(error).lower() for word in words
    )


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device(kind: str) -> str:
    """Workers of one machine share its accelerators in turn."""
    if kind == "cpu":
        return kind
    if not torch.cuda.is_available():
        raise ValueError("The images were to be drawn on a GPU, and this process sees none.")
    from multiprocess import current_process

    number = current_process().name.rpartition("-")[2]
    return f"cuda:{(int(number) - 1 if number.isdigit() else 0) % torch.cuda.device_count()}"
