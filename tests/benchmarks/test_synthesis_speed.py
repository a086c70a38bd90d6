"""Images per second of `synthesize` against the common recipe, same weights; run as a script, it prints ratios.

The common recipe (RoentGen's README) draws one prompt at a time, in 75 steps, with guidance 4, in float32. Of our
flow, the steps are Euler's.
"""

import statistics
import sys
import time

import pytest
import torch
from transformers import BertConfig, BertModel

from synthcxr.pipelines import CxrSynthesisPipeline
from synthcxr.synthesis.requests import ImageRequest
from synthcxr.synthesis.sampling import SamplingSettings, Tally, sample_rows
from synthcxr.training.tokenizer import train_tokenizer


REPORTS = [
    "Large left pleural effusion.",
    "No acute cardiopulmonary process.",
    "Mild cardiomegaly. Small right pleural effusion. No pneumothorax.",
    "Right upper lobe mass. Emphysema.",
]
NUM_IMAGES = 16


def save_generator(folder):
    """The architecture of `text_to_cxr.yaml`, with random weights."""
    from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    tokenizer = train_tokenizer(REPORTS)
    tokenizer.model_max_length = 64
    sizes = {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 768}
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=16,
        out_channels=16,
        block_out_channels=(128, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=256,
        attention_head_dim=(2, 3),
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=256,
    )
    CxrSynthesisPipeline(
        text_encoder=BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.5),
        pixel_fold=4,
    ).save_pretrained(folder)


def common_recipe(pipeline, num_images):
    """Seconds per image."""
    start = time.perf_counter()
    for number in range(num_images):
        pipeline(REPORTS[number % len(REPORTS)], num_inference_steps=75, guidance_scale=4.0)
    return (time.perf_counter() - start) / num_images


def engine(folder, *, dtype):
    """Seconds per image of the sampler that a worker runs, encoding of images and texts included."""
    settings = SamplingSettings(
        generator=str(folder),
        source="benchmark",
        batch_size=16,
        num_inference_steps=16,
        guidance_scale=3.0,
        dtype=dtype,
        device="cuda" if torch.cuda.is_available() else "cpu",
        compile_unet=False,
    )
    requests = [
        ImageRequest(f"{seed}", "", seed, REPORTS[seed % 4], REPORTS[seed % 4], "") for seed in range(NUM_IMAGES)
    ]
    next(iter(sample_rows(requests[:1], settings, Tally(lambda drawn, rejected: None))))  # loads the generator
    start = time.perf_counter()
    rows = list(sample_rows(requests, settings, Tally(lambda drawn, rejected: None)))
    assert len(rows) == NUM_IMAGES
    return (time.perf_counter() - start) / NUM_IMAGES


@pytest.fixture
def generator_folder(tmp_path):
    save_generator(tmp_path / "generator")
    return tmp_path / "generator"


def ratios(folder, *, rounds, dtype):
    """How many times as fast, in interleaved rounds; each with one thread, as a worker has."""
    pipeline = CxrSynthesisPipeline.from_pretrained(folder)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    pipeline.set_progress_bar_config(disable=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [common_recipe(pipeline, 1) / engine(folder, dtype=dtype) for _ in range(rounds)]
    finally:
        torch.set_num_threads(threads)


def test_pairs_are_drawn_five_times_as_fast_as_by_the_common_recipe(generator_folder):
    assert ratios(generator_folder, rounds=1, dtype="float32")[0] > 5


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        save_generator(name)
        for dtype in ("float32", "bfloat16"):
            found = ratios(name, rounds=5, dtype=dtype)
            shown = ", ".join(f"{ratio:.1f}" for ratio in found)
            sys.stdout.write(f"{dtype}: {shown}; median {statistics.median(found):.1f}\n")
