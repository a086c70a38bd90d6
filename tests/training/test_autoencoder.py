import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file

from synthcxr.data.image_views import ImageViews
from synthcxr.data.pairs import load_pairs
from synthcxr.models import CxrImageProcessor
from synthcxr.training.adaptation import RECORD_NAME
from synthcxr.training.arguments import PretrainingArguments, parse_arguments
from synthcxr.training.autoencoder import (
    GRID_FOLDER,
    AutoencoderArguments,
    RadiographCollator,
    ReconstructionModel,
    build_autoencoder,
    measure_latents,
    measure_reconstructions,
    train_autoencoder,
)


SMALL = ("--image-size", "32", "--block-out-channels", "8", "16", "16", "--latent-channels", "4")
FAST = ("--per-device-train-batch-size", "8", "--use-cpu", "--disable-tqdm", "true", "--max-eval-samples", "16")


def arguments(folder, output_dir, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *SMALL, *FAST, *flags)
    return parse_arguments([AutoencoderArguments, PretrainingArguments], flags, program="test")


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("autoencoder") / "run"
    flags = ("--max-steps", "30", "--save-steps", "12", "--save-total-limit", "5", "--learning-rate", "5e-3")
    flags += ("--ema-decay", "0.8", "--augmentation-strength", "0.5", "--eval-strategy", "steps", "--eval-steps", "15")
    return output_dir, flags, train_autoencoder(*arguments(pairs_folder, output_dir, *flags))


@pytest.fixture(scope="module")
def vae(finished):
    return AutoencoderKL.from_pretrained(finished[0])


@pytest.fixture(scope="module")
def rows(pairs_folder):
    return load_pairs(pairs_folder, split="validation").select(range(8))


@pytest.fixture(scope="module")
def images():
    return ImageViews(CxrImageProcessor(size=32))


def test_held_out_images_come_back_better_than_untrained(finished, pairs_folder, tmp_path, rows, images):
    script_args, _ = arguments(pairs_folder, tmp_path)
    untrained = measure_reconstructions(build_autoencoder(script_args, seed=0), rows, images)
    trained = finished[2]["metrics"]
    assert trained["eval_psnr"] > untrained["psnr"] + 3
    assert trained["eval_ms_ssim"] > untrained["ms_ssim"]
    assert trained["eval_mae"] < untrained["mae"]


def test_the_folder_holds_the_average_and_not_the_last_weights(finished, vae):
    state = load_file(finished[0] / "checkpoint-30" / "model.safetensors")
    saved = vae.state_dict()
    assert all(saved[name].equal(state[f"average.{name}"]) for name in saved)
    assert not all(saved[name].equal(state[f"vae.{name}"]) for name in saved)


def test_its_configuration_brings_latents_to_mean_zero_and_deviation_one(finished, pairs_folder, vae, images):
    train = load_pairs(pairs_folder)
    pixel_values = images(train["image"][:], torch.zeros(1, len(train), dtype=torch.int64))
    with torch.no_grad():
        latents = vae.encode(pixel_values).latent_dist.sample(torch.Generator().manual_seed(0))
    scaled = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    assert scaled.mean().item() == pytest.approx(0, abs=0.01)
    assert scaled.std().item() == pytest.approx(1, abs=0.01)


def test_the_measure_of_latents_does_not_depend_on_its_batches(vae, rows, images):
    one, all_ = (measure_latents(vae, rows, images, batch_size=size) for size in (3, 8))
    assert one == pytest.approx(all_, rel=1e-4)


def test_a_stopped_run_goes_on_to_the_same_weights_in_the_middle_of_an_epoch(finished, pairs_folder, tmp_path):
    whole, flags, record = finished
    output_dir = tmp_path / "run"
    shutil.copytree(whole, output_dir)
    for step in (24, 30):
        shutil.rmtree(output_dir / f"checkpoint-{step}")
    (output_dir / RECORD_NAME).write_text(json.dumps({"request": record["request"], "finished": False}))
    (output_dir / "diffusion_pytorch_model.safetensors").unlink()
    assert train_autoencoder(*arguments(pairs_folder, output_dir, *flags))["resumed_from"] == "checkpoint-12"
    name = "diffusion_pytorch_model.safetensors"
    before, after = load_file(whole / name), load_file(output_dir / name)
    assert all(before[name].equal(after[name]) for name in before)
    assert (output_dir / "config.json").read_bytes() == (whole / "config.json").read_bytes()


def test_a_grid_shows_originals_reconstructions_and_differences(finished, rows, images):
    grids = sorted((finished[0] / GRID_FOLDER).iterdir())
    assert [grid.name for grid in grids] == ["step-00000015.png", "step-00000030.png"]
    shown = np.asarray(Image.open(grids[-1])).astype(int)
    assert shown.shape == (3 * 32, 8 * 32)
    first = images(rows["image"][:1], torch.zeros(1, 1, dtype=torch.int64))[0, 0]
    assert abs(shown[:32, :32] - (first.numpy() + 1) * 127.5).max() <= 0.51
    assert abs(4 * abs(shown[:32] - shown[32:64]).clip(max=63) - shown[64:]).max() <= 4


def test_a_pretrained_autoencoder_of_colours_is_adapted(pairs_folder, tmp_path):
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, **blocks).save_pretrained(tmp_path / "colours")
    flags = ("--model-name-or-path", str(tmp_path / "colours"), "--max-steps", "1", "--learning-rate", "1e-9")
    record = train_autoencoder(*arguments(pairs_folder, tmp_path / "run", *flags, "--ema-decay", "0"))
    before, after = (AutoencoderKL.from_pretrained(tmp_path / name) for name in ("colours", "run"))
    for name, value in after.state_dict().items():
        torch.testing.assert_close(value, before.state_dict()[name], atol=1e-6, rtol=0)
    assert after.config.in_channels == 3
    assert after.config.scaling_factor != before.config.scaling_factor
    assert 0 < record["metrics"]["eval_psnr"] < 40


def test_noise_and_views_follow_from_seed_row_and_draw(pairs_folder, images):
    rows = [load_pairs(pairs_folder)[index] | {"draw": 1} for index in (0, 1)]
    collate = RadiographCollator(images, latent_shape=(4, 8, 8), seed=3)
    both, alone = collate(rows), collate(rows[1:])
    assert torch.equal(both["noise"][1:], alone["noise"])
    assert not torch.equal(both["noise"][0], both["noise"][1])
    assert not torch.equal(both["noise"], collate([row | {"draw": 2} for row in rows])["noise"])
    assert not torch.equal(both["noise"], RadiographCollator(images, latent_shape=(4, 8, 8), seed=4)(rows)["noise"])


def test_each_weight_adds_its_part_to_the_loss(pairs_folder, tmp_path):
    script_args, _ = arguments(pairs_folder, tmp_path)
    vae = build_autoencoder(script_args, seed=0)
    pixel_values = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def loss(structure, divergence):
        model = ReconstructionModel(vae, structure_loss_weight=structure, kl_weight=divergence)
        return model.train()(pixel_values)["loss"].item()

    posterior = vae.encode(pixel_values).latent_dist
    l1 = (vae.decode(posterior.mode()).sample - pixel_values).abs().mean().item()
    assert loss(0, 0) == pytest.approx(l1, rel=1e-5)
    assert loss(0, 2) == pytest.approx(l1 + 2 * posterior.kl().mean().item() / 32**2, rel=1e-4)
    assert loss(1, 0) > loss(0.5, 0) > loss(0, 0)


def test_the_average_forgets_its_start_and_then_follows_slowly(pairs_folder, tmp_path):
    script_args, _ = arguments(pairs_folder, tmp_path)
    model = ReconstructionModel(build_autoencoder(script_args, seed=0), ema_decay=0.9)
    name = "decoder.conv_out.weight"
    before = model.average.get_parameter(name).clone()
    with torch.no_grad():
        model.vae.get_parameter(name).add_(1)
    model.update_average(0)
    torch.testing.assert_close(model.average.get_parameter(name), before + 0.9)  # decay 1/10
    model.update_average(10_000)
    torch.testing.assert_close(model.average.get_parameter(name), before + 0.91)  # decay 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--image-size", "30"), "--image-size is 30; expected 11 or more and a multiple of 4"),
        (("--ema-decay", "1"), "--ema-decay is 1.0; expected"),
        (("--kl-weight", "-1"), "--kl-weight is -1.0"),
        (("--latent-channels", "0"), "must be 1 or more"),
        (("--model-name-or-path", "nowhere/at-all"), "nowhere/at-all gives no AutoencoderKL"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(pairs_folder, tmp_path, flags, message):
    with pytest.raises(ValueError, match=message) as caught:
        train_autoencoder(*arguments(pairs_folder, tmp_path / "run", *flags))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
