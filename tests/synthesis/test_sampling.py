from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_generators import tiny_stable_diffusion

from synthcxr.data.shards import BadRow
from synthcxr.synthesis.generators import load_generator
from synthcxr.synthesis.requests import ImageRequest
from synthcxr.synthesis.sampling import BATCHES_PER_WINDOW, SamplingSettings, Tally, sample_rows


TEXTS = [
    *("Large left pleural effusion.", "Normal.", "The heart is enlarged. The lungs are clear.", "Normal."),
    *("Small right pneumothorax.", "No nodule.", "Mild effusion in the upper lobe."),
]
REQUESTS = [
    ImageRequest(f"id-{index}", f"row {index}", seed=index, report=text, findings="", impression="")
    for index, text in enumerate(TEXTS)
]


@pytest.fixture
def settings(generator_folder):
    return SamplingSettings(
        generator=str(generator_folder),
        source="tiny-generator@1",
        batch_size=3,
        num_inference_steps=2,
        guidance_scale=2.0,
        dtype="float32",
        device="cpu",
        compile_unet=False,
    )


def sample(requests, settings):
    told = []
    tally = Tally(lambda drawn, rejected: told.append((drawn, rejected)))
    return list(sample_rows(requests, settings, tally)), tally, np.sum(told, axis=0).tolist()


def test_every_request_gets_its_row_in_order(settings):
    rows, _, told = sample(REQUESTS, settings)
    assert [row.id for row in rows] == [request.id for request in REQUESTS]
    assert [row.prompt for row in rows] == TEXTS
    assert [row.seed for row in rows] == list(range(7))
    assert {(row.origin, row.source, row.image.shape) for row in rows} == {("synthetic", "tiny-generator@1", (32, 32))}
    assert told == [7, 0]
    assert len({row.image.tobytes() for row in rows}) == 7, "equal prompts with other seeds are other images"


def test_an_image_is_what_the_pipeline_draws_from_its_prompt_and_seed(settings):
    rows, *_ = sample(REQUESTS, settings)
    pipe = load_generator(settings.generator, settings.source, dtype="float32", device="cpu", compile_unet=False)
    for row in rows:
        generator = [torch.Generator().manual_seed(row.seed)]
        expected = pipe([row.prompt], num_inference_steps=2, guidance_scale=2.0, generator=generator).images[0]
        # The order of a sum, which the size of a batch decides, may change the last bit.
        assert np.abs(np.asarray(expected).astype(int) - row.image).max() <= 1


def test_the_threads_of_the_caller_do_not_change_the_bytes_and_stay_as_they_are(settings):
    before = torch.get_num_threads()
    images = []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            images.append([row.image.tobytes() for row in sample(REQUESTS, settings)[0]])
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)
    assert images[0] == images[1]


def test_a_prompt_that_cannot_be_drawn_is_rejected_with_its_reason(settings):
    texts = ["", "___ XXXX", "\x00\x01", "Большой левосторонний выпот.", "左侧胸腔积液", "Normal."]
    requests = [replace(REQUESTS[0], id=f"id-{i}", where=f"row {i}", report=text) for i, text in enumerate(texts)]
    rows, _, told = sample(requests, settings)
    assert [isinstance(row, BadRow) for row in rows] == [True] * 5 + [False]
    assert [row.id for row in rows[:5]] == [f"row {index}" for index in range(5)]
    assert "no words" in rows[1].reason
    assert "is not in Latin letters" in rows[3].reason
    assert told == [1, 5]


def test_marks_and_cut_prompts_are_counted(settings):
    long = "The heart is enlarged. " * 3000
    rows, tally, _ = sample(
        [replace(REQUESTS[0], report="Compared to ___, normal."), replace(REQUESTS[1], report=long)], settings
    )
    assert tally.counts() == {"num_marks": 1, "num_prompts_cut": 1}
    assert "___" not in rows[0].prompt
    assert rows[0].report == "Compared to ___, normal.", "what the report says is not changed"
    assert len(rows[1].prompt) < 200


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_batch_that_does_not_fit_in_memory_is_halved(settings, error):
    expected, *_ = sample(REQUESTS, settings)
    pipe = load_generator(settings.generator, settings.source, dtype="float32", device="cpu", compile_unet=False)
    sizes = []

    def fits_one(module, inputs):
        sizes.append(len(inputs[0]) // 2)  # guidance doubles the batch
        if sizes[-1] > 1:
            raise error

    hook = pipe.unet.register_forward_pre_hook(fits_one)
    try:
        rows, tally, told = sample(REQUESTS, settings)
    finally:
        hook.remove()
    assert tally.smallest_batch == 1
    assert sizes.count(3) == 1, "what did not fit is not tried again"
    assert told == [7, 0]
    for row, reference in zip(rows, expected, strict=True):
        assert np.abs(row.image.astype(int) - reference.image).max() <= 1


def test_prompts_that_do_not_fit_in_memory_at_once_are_encoded_in_parts(settings):
    expected, *_ = sample(REQUESTS, settings)
    pipe = load_generator(settings.generator, settings.source, dtype="float32", device="cpu", compile_unet=False)
    sizes = []

    def fits_one(module, arguments, named):
        sizes.append(len(named["input_ids"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = pipe.text_encoder.register_forward_pre_hook(fits_one, with_kwargs=True)
    try:
        rows, tally, _ = sample(REQUESTS, settings)
    finally:
        hook.remove()
    assert max(sizes) > 1
    assert tally.smallest_batch is None
    for row, reference in zip(rows, expected, strict=True):
        assert np.abs(row.image.astype(int) - reference.image).max() <= 1


def test_less_memory_than_one_image_needs_is_said(settings):
    pipe = load_generator(settings.generator, settings.source, dtype="float32", device="cpu", compile_unet=False)

    def fail(module, inputs):
        raise MemoryError

    hook = pipe.unet.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="Not even one image fits in memory"):
            sample(REQUESTS, settings)
    finally:
        hook.remove()


def test_stable_diffusion_checkpoints_are_drawn_from_too(settings, tmp_path):
    tiny_stable_diffusion(1).save_pretrained(tmp_path / "sd")
    rows, *_ = sample(REQUESTS[:2], replace(settings, generator=str(tmp_path / "sd")))
    assert {row.image.shape for row in rows} == {(32, 32)}


def test_an_image_of_no_numbers_is_left_out_and_the_others_of_its_batch_are_drawn(settings):
    expected, *_ = sample(REQUESTS, settings)
    pipe = load_generator(settings.generator, settings.source, dtype="float32", device="cpu", compile_unet=False)
    longest = max(pipe.encode_prompt([text])[0].shape[1] for text in TEXTS)

    def spoil(module, inputs, kwargs, outputs):
        """What the longest prompt asks for, whatever its batch."""
        is_longest = kwargs["encoder_attention_mask"].sum(dim=1) == longest
        return (outputs[0].masked_fill(is_longest.view(-1, 1, 1, 1), torch.nan),)

    hook = pipe.unet.register_forward_hook(spoil, with_kwargs=True)
    try:
        rows, _, told = sample(REQUESTS, settings)
    finally:
        hook.remove()
    refused = [row for row in rows if isinstance(row, BadRow)]
    assert 0 < len(refused) < len(rows)
    assert told == [len(rows) - len(refused), len(refused)]
    for row, reference in zip(rows, expected, strict=True):
        if not isinstance(row, BadRow):
            assert np.abs(row.image.astype(int) - reference.image).max() <= 1


def test_a_prompt_is_encoded_once_in_a_shard(settings):
    pipe = load_generator(settings.generator, settings.source, dtype="float32", device="cpu", compile_unet=False)
    seen = []
    hook = pipe.text_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    many = [replace(REQUESTS[0], id=f"id-{index}", seed=index) for index in range(3 * BATCHES_PER_WINDOW + 2)]
    try:
        sample(many, replace(settings, guidance_scale=1.0))
    finally:
        hook.remove()
    assert [len(ids) for ids in seen] == [1]
