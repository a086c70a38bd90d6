"""An autoencoder of radiographs, whose latents a text-to-CXR model draws (Rombach et al., CVPR 2022, 2112.10752)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from diffusers import AutoencoderKL
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from ..data.collators import DrawnDataset, row_seed
from ..data.image_views import ImageViews
from ..data.png import encode_png
from ..data.transforms import RadiographAugmentation
from ..data.whole_files import write_bytes
from ..evaluation.structural_similarity import ms_ssim
from ..models import CxrImageProcessor
from .adaptation import AdaptationScriptArguments, AdaptationTrainer, load_rows, run_adaptation
from .arguments import PretrainingArguments
from .reconstruction import peak_signal_to_noise, structure_loss


GRID_FOLDER = "reconstructions"

_WIDTHS = {"tiny": [32, 64, 64], "base": [128, 256, 512, 512]}
_NUM_GRID_IMAGES = 8
_GRID_GAIN = 4  # of differences, which would be black otherwise
_NUM_MEASURED_IMAGES = 2048
_NOISE_VIEW = 1  # the stream of an image beside that of its augmentation


@dataclass
class AutoencoderArguments(AdaptationScriptArguments):
    """Which autoencoder, and what it learns from. How to train is [`PretrainingArguments`]."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "AutoencoderKL to go on from, a folder or Hub id; a fresh one when absent."}
    )
    model_size: Literal["tiny", "base"] = field(
        default="tiny", metadata={"help": "Widths of a fresh one: tiny (32 64 64) or base (128 256 512 512)."}
    )
    block_out_channels: list[int] | None = field(
        default=None,
        metadata={"help": "Widths of a fresh one, finest first; n of them shrink by 2^(n-1). Overrides --model-size."},
    )
    latent_channels: int = field(default=4, metadata={"help": "Channels of the latents of a fresh one."})
    image_size: int = field(default=256, metadata={"help": "Side of the square image that it learns from."})
    augmentation_strength: float = field(
        default=0.0, metadata={"help": "Image augmentation, 0 (none) to 2; never a flip."}
    )
    structure_loss_weight: float = field(
        default=0.5, metadata={"help": "Weight of contrast and structure at several scales beside L1; 0 is off."}
    )
    kl_weight: float = field(
        default=1e-6, metadata={"help": "Weight of the divergence of the latents from noise, per pixel."}
    )
    ema_decay: float = field(
        default=0.999, metadata={"help": "Keep a moving average of the weights and save that; 0 is off."}
    )
    cache_images: bool = field(
        default=True, metadata={"help": "Keep up to 2 GiB of processed images in memory, per data loader worker."}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.augmentation_strength <= 2:
            raise ValueError(f"--augmentation-strength is {self.augmentation_strength}; expected 0 to 2.")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"--ema-decay is {self.ema_decay}; expected 0 or more, below 1.")
        for name in ("structure_loss_weight", "kl_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 0 or more.")
        if min([self.latent_channels, self.image_size, *(self.block_out_channels or [1])]) < 1:
            raise ValueError("--latent-channels, --image-size and --block-out-channels must be 1 or more.")


class RadiographCollator:
    """
    Rows to images and, for training, to what perturbs their latents; both follow from the seed, the row and its draw.

    Args:
        images (`ImageViews`): Decodes, processes and augments.
        latent_shape (`tuple[int, int, int]`, *optional*): Draw noise of this shape for every image.
        seed (`int`, *optional*, defaults to 0): Names the streams.
    """

    def __init__(self, images: ImageViews, *, latent_shape: tuple[int, int, int] | None = None, seed: int = 0) -> None:
        self.images = images
        self.latent_shape = latent_shape
        self.seed = seed

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`pixel_values` of shape `(batch_size, channels, height, width)`, and `noise` of that of the latents."""
        seeds = torch.tensor([[row_seed(self.seed, row["id"], row.get("draw", 0)) for row in rows]])
        batch = {"pixel_values": self.images([row["image"] for row in rows], seeds), "return_loss": True}
        if self.latent_shape is not None:
            batch["noise"] = torch.stack([self._noise(row["id"], row.get("draw", 0)) for row in rows])
        return batch

    def _noise(self, row_id: str, draw: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(row_seed(self.seed, row_id, draw, view=_NOISE_VIEW))
        return torch.randn(self.latent_shape, generator=generator)


class ReconstructionModel(nn.Module):
    """
    An autoencoder with the losses that it learns from and a moving average of its weights.

    Args:
        vae (`AutoencoderKL`): What is trained.
        structure_loss_weight (`float`, *optional*, defaults to 0.5): Of [`structure_loss`] beside L1.
        kl_weight (`float`, *optional*, defaults to 1e-6): Of the divergence of the latents, per pixel.
        ema_decay (`float`, *optional*, defaults to 0.999): Of the moving average; 0 keeps none.
    """

    # The loss is a mean over the batch: `Trainer` must divide it by the steps that it accumulates.
    accepts_loss_kwargs = False

    def __init__(
        self,
        vae: AutoencoderKL,
        *,
        structure_loss_weight: float = 0.5,
        kl_weight: float = 1e-6,
        ema_decay: float = 0.999,
    ) -> None:
        super().__init__()
        self.vae = vae
        # Within the module, so that a checkpoint holds it and a resumed run goes on with it.
        self.average = copy.deepcopy(vae).requires_grad_(requires_grad=False) if ema_decay else None
        self.structure_loss_weight = structure_loss_weight
        self.kl_weight = kl_weight
        self.ema_decay = ema_decay

    @property
    def result(self) -> AutoencoderKL:
        """What is measured and saved: the average, where there is one."""
        return self.vae if self.average is None else self.average

    def forward(
        self, pixel_values: torch.Tensor, noise: torch.Tensor | None = None, *, return_loss: bool | None = None
    ) -> dict[str, torch.Tensor]:
        """
        The loss of a batch; in evaluation that of the moving average, without noise.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Grey values, -1 to 1.
            noise (`torch.Tensor` of shape `(batch_size, latent_channels, latent_height, latent_width)`, *optional*):
                Standard normal; what the latents are perturbed with.
            return_loss (`bool`, *optional*):
                Always so; `Trainer` asks for it.
        """
        vae = self.vae if self.training else self.result
        posterior = vae.encode(pixel_values).latent_dist
        latents = posterior.mode() if noise is None else posterior.mean + posterior.std * noise
        reconstructions = vae.decode(latents).sample
        # Windows of variances lose their digits in 16 bits.
        with torch.autocast(pixel_values.device.type, enabled=False):
            images, reconstructions = pixel_values.float(), reconstructions.float()
            loss = (images - reconstructions).abs().mean()
            if self.structure_loss_weight:
                structure = structure_loss(_to_unit(images), _to_unit(reconstructions)).mean()
                loss = loss + self.structure_loss_weight * structure
            mean, log_variance = posterior.mean.float(), posterior.logvar.float()
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1).mean()
            return {"loss": loss + self.kl_weight * divergence / images[0, 0].numel()}

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """
        Move the average towards the weights.

        Args:
            step (`int`): Optimisation steps so far; early ones forget the random start sooner.
        """
        if self.average is None:
            return
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        for average, value in zip(self.average.parameters(), self.vae.parameters(), strict=True):
            average.lerp_(value, 1 - decay)


def train_autoencoder(script_args: AutoencoderArguments, training_args: PretrainingArguments) -> dict[str, Any]:
    """
    Train an autoencoder on images alone and save it in `training_args.output_dir`.

    `AutoencoderKL.from_pretrained` loads the folder; `scaling_factor` and `shift_factor` in its configuration bring
    its latents to mean 0 and deviation 1. Grids of held-out images, their reconstructions and four times the
    differences lie in `reconstructions/`. A folder with the finished run is reused, a stopped run gone on with.

    Args:
        script_args (`AutoencoderArguments`): Images and model.
        training_args (`PretrainingArguments`): Optimisation.

    Returns:
        `dict`: The record of [`run_adaptation`]; `eval_psnr` and `eval_ms_ssim` among its metrics are those of
        held-out images.

    Raises:
        ValueError: If the folder holds another run, the data are not pairs, or the sizes do not fit.
    """
    return run_adaptation(
        script_args, training_args, build_trainer=lambda: _build_trainer(script_args, training_args), save=_save
    )


def build_autoencoder(script_args: AutoencoderArguments, *, seed: int) -> AutoencoderKL:
    """
    An autoencoder, pre-trained or fresh with one grey channel.

    Args:
        script_args (`AutoencoderArguments`): Says which of the two.
        seed (`int`): Of fresh weights.

    Raises:
        ValueError: If there is no such checkpoint.
    """
    if script_args.model_name_or_path:
        try:
            return AutoencoderKL.from_pretrained(script_args.model_name_or_path, dtype=torch.float32)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{script_args.model_name_or_path} gives no AutoencoderKL: {reason}") from error
    widths = script_args.block_out_channels or _WIDTHS[script_args.model_size]
    set_seed(seed)
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        latent_channels=script_args.latent_channels,
        norm_num_groups=math.gcd(32, *widths),
        sample_size=script_args.image_size,
    )


@torch.no_grad()
def measure_reconstructions(
    vae: AutoencoderKL, rows: Dataset, images: ImageViews, *, batch_size: int = 16, grid: Path | None = None
) -> dict[str, float]:
    """
    How well images come back from their latents, as 8-bit grey values would show them.

    Args:
        vae (`AutoencoderKL`): The autoencoder.
        rows (`datasets.Dataset`): With a column `image`.
        images (`ImageViews`): Processes them, to -1 to 1.
        batch_size (`int`, *optional*, defaults to 16): Images at a time.
        grid (`Path`, *optional*): PNG of the first images, their reconstructions and four times the differences.

    Returns:
        `dict[str, float]`: `psnr` (decibels), `ms_ssim` and `mae` (grey levels of 255), means over the images.
    """
    totals, shown = {"psnr": 0.0, "ms_ssim": 0.0, "mae": 0.0}, []
    vae.eval()
    for pixel_values in _batches(rows, images, batch_size, vae.device):
        decoded = vae.decode(vae.encode(pixel_values).latent_dist.mode()).sample
        originals, decoded = (_to_unit(values.float().mean(dim=1, keepdim=True)) for values in (pixel_values, decoded))
        decoded = decoded.clamp(0, 1)
        totals["psnr"] += peak_signal_to_noise(originals, decoded).sum().item()
        totals["ms_ssim"] += ms_ssim(originals[:, 0], decoded[:, 0]).sum().item()
        totals["mae"] += 255 * (originals - decoded).abs().flatten(1).mean(dim=1).sum().item()
        shown += list(zip(originals, decoded, strict=True))[: _NUM_GRID_IMAGES - len(shown)]
    if grid is not None:
        write_bytes(grid, encode_png(_grid(shown)))
    return {name: total / len(rows) for name, total in totals.items()}


@torch.no_grad()
def measure_latents(
    vae: AutoencoderKL, rows: Dataset, images: ImageViews, *, batch_size: int = 16
) -> dict[str, float]:
    """
    What brings latents to mean 0 and deviation 1, from at most 2,048 images spread over the rows.

    Args:
        vae (`AutoencoderKL`): The autoencoder.
        rows (`datasets.Dataset`): With a column `image`.
        images (`ImageViews`): Processes them, to -1 to 1.
        batch_size (`int`, *optional*, defaults to 16): Images at a time.

    Returns:
        `dict[str, float]`: `shift_factor` is subtracted from latents, then `scaling_factor` multiplies them.
    """
    step = max(1, len(rows) // _NUM_MEASURED_IMAGES)
    rows = rows.select(range(0, len(rows), step)[:_NUM_MEASURED_IMAGES])
    count = total = squares = 0.0
    vae.eval()
    for pixel_values in _batches(rows, images, batch_size, vae.device):
        posterior = vae.encode(pixel_values).latent_dist
        mean = posterior.mean.double()
        count += mean.numel()
        total += mean.sum().item()
        squares += (mean.square() + posterior.var.double()).sum().item()  # of what would be drawn
    shift = total / count
    return {"scaling_factor": (squares / count - shift**2) ** -0.5, "shift_factor": shift}


def _build_trainer(script_args: AutoencoderArguments, training_args: PretrainingArguments) -> AdaptationTrainer:
    train, validation = load_rows(script_args, "train"), load_rows(script_args, "validation")
    vae = build_autoencoder(script_args, seed=training_args.seed)
    processor = CxrImageProcessor(size=script_args.image_size, num_channels=vae.config.in_channels)
    as_they_are = ImageViews(processor)
    strength = script_args.augmentation_strength
    views = ImageViews(
        processor,
        augmentation=RadiographAugmentation(strength=strength) if strength else None,
        cache_images=script_args.cache_images,
    )

    def evaluate(model: ReconstructionModel) -> dict[str, float]:
        step = trainer.state.global_step
        return measure_reconstructions(
            model.result,
            validation,
            as_they_are,
            batch_size=training_args.per_device_eval_batch_size,
            grid=Path(training_args.output_dir) / GRID_FOLDER / f"step-{step:08d}.png",
        )

    trainer = AdaptationTrainer(
        model=ReconstructionModel(
            vae,
            structure_loss_weight=script_args.structure_loss_weight,
            kl_weight=script_args.kl_weight,
            ema_decay=script_args.ema_decay,
        ),
        args=training_args,
        train_dataset=DrawnDataset(train),
        eval_dataset=DrawnDataset(validation) if validation else None,
        data_collator=RadiographCollator(
            views, latent_shape=_latent_shape(vae, script_args.image_size), seed=training_args.seed
        ),
        eval_collator=RadiographCollator(as_they_are),
        evaluate_model=evaluate if validation else None,
        processing_class=processor,
        callbacks=[_MoveAverage()],
    )
    return trainer


def _save(trainer: AdaptationTrainer, output_dir: Path) -> None:
    vae, processor = trainer.accelerator.unwrap_model(trainer.model).result, trainer.processing_class
    batch_size = trainer.args.per_device_eval_batch_size
    vae.register_to_config(
        **measure_latents(vae, trainer.train_dataset.dataset, ImageViews(processor), batch_size=batch_size)
    )
    vae.save_pretrained(output_dir)
    processor.save_pretrained(output_dir)


class _MoveAverage(TrainerCallback):
    """After every step, ahead of the checkpoint that may follow it."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by `Trainer`."""
        model = kwargs["model"]
        getattr(model, "module", model).update_average(state.global_step)


def _latent_shape(vae: AutoencoderKL, image_size: int) -> tuple[int, int, int]:
    shrinking = 2 ** (len(vae.config.block_out_channels) - 1)
    if image_size % shrinking or image_size < 11:
        raise ValueError(f"--image-size is {image_size}; expected 11 or more and a multiple of {shrinking}.")
    return (vae.config.latent_channels, image_size // shrinking, image_size // shrinking)


def _batches(rows: Dataset, images: ImageViews, batch_size: int, device: torch.device) -> Any:
    encoded = DrawnDataset(rows)
    for start in range(0, len(rows), batch_size):
        batch = encoded.__getitems__(list(range(start, min(start + batch_size, len(rows)))))
        yield images([row["image"] for row in batch], torch.zeros(1, len(batch), dtype=torch.int64)).to(device)


def _to_unit(values: torch.Tensor) -> torch.Tensor:
    """-1 to 1 becomes 0 to 1."""
    return (values + 1) / 2


def _grid(shown: list[tuple[torch.Tensor, torch.Tensor]]) -> np.ndarray:
    rows = [
        torch.cat([original[0] for original, _ in shown], dim=1),
        torch.cat([decoded[0] for _, decoded in shown], dim=1),
        torch.cat([_GRID_GAIN * (original - decoded)[0].abs() for original, decoded in shown], dim=1),
    ]
    return (255 * torch.cat(rows).clamp(0, 1)).round().to(torch.uint8).cpu().numpy()
