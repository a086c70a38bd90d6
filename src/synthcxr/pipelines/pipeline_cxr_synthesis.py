"""Text to chest X-ray: checkpoints of Stable Diffusion, and our own with or without an autoencoder."""

from __future__ import annotations

import inspect
import json
import logging
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin, UNet2DConditionModel
from diffusers.utils import BaseOutput
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .denoising import denoise
from .grey_images import OutputType, write_grey
from .guidance import repeat_condition
from .image_codec import decode_latents, encode_images
from .lora_loading import GeneratorLoraMixin
from .noise_schedule import Generators, first_latents, noised, set_steps, starting_noise
from .portable_code import export_code
from .prompts import FittedPrompt, describe_changes, fit_negative_prompts, fit_prompts
from .start_image import StartImage, image_size, read_start_image
from .text_conditioning import encode_prompts, token_window


logger = logging.getLogger(__name__)

# Parts of Stable Diffusion that judge photographs; on radiographs they fail, so they are not even loaded.
_UNUSED_COMPONENTS = ("safety_checker", "feature_extractor", "image_encoder")
_CONDITIONS = ("prompt_embeds", "negative_prompt_embeds", "prompt_mask", "negative_prompt_mask")


@dataclass
class CxrSynthesisOutput(BaseOutput):
    """
    What [`CxrSynthesisPipeline`] gives.

    Args:
        images (`list[PIL.Image.Image]`, `np.ndarray` or `torch.Tensor`):
            Of mode `L` or `I;16`; `(num_images, height, width, 1)` or `(num_images, 1, height, width)` of 0 to 1;
            latents `(num_images, num_channels, latent_height, latent_width)`.
        prompts (`list[FittedPrompt]`):
            What was read, one per prompt; empty when embeddings were passed.
    """

    images: Any
    prompts: list[FittedPrompt]


class CxrSynthesisPipeline(DiffusionPipeline, GeneratorLoraMixin):
    """
    Draws chest X-rays from reports. Research only, not for clinical use.

    `from_pretrained` takes any folder or Hub id of Stable Diffusion 1.x or 2.x in the layout of `diffusers` (RoentGen,
    RoentGen-v2) and our own checkpoints. All schedulers of `diffusers` for images fit, of diffusion or flow matching.

    Args:
        vae (`AutoencoderKL`, *optional*):
            Between images and latents; without one the UNet draws folded pixels.
        text_encoder (`PreTrainedModel`):
            CLIP's text model, or one of the BERT family.
        tokenizer (`PreTrainedTokenizerBase`):
            Of the text encoder.
        unet (`UNet2DConditionModel`):
            Predicts what the scheduler takes away: noise, velocity, or the velocity of a rectified flow.
        scheduler (`SchedulerMixin`):
            Goes from noise to image.
        safety_checker, feature_extractor, image_encoder (*optional*):
            Taken, so that the components of a Stable Diffusion pipeline can be passed on, and dropped.
        pixel_fold (`int`, *optional*, defaults to 1):
            Without `vae`: squares of so many pixels are the channels of one place of the UNet.
        pixel_mean (`float`, *optional*, defaults to 0.0), pixel_std (`float`, *optional*, defaults to 1.0):
            Without `vae`: mean and standard deviation of the training images, whose grey values are -1 to 1.
        default_num_inference_steps (`int`, *optional*, defaults to 20):
            Steps of a call that names none.
        default_guidance_scale (`float`, *optional*, defaults to 4.0):
            Guidance of a call that names none.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components = ["vae", *_UNUSED_COMPONENTS]
    _callback_tensor_inputs = ["latents", "prompt_embeds", "negative_prompt_embeds"]

    def __init__(
        self,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        image_encoder: Any = None,
        pixel_fold: int = 1,
        pixel_mean: float = 0.0,
        pixel_std: float = 1.0,
        default_num_inference_steps: int = 20,
        default_guidance_scale: float = 4.0,
    ) -> None:
        super().__init__()
        components = {"text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet, "scheduler": scheduler}
        self.register_modules(vae=vae, **components, **dict.fromkeys(_UNUSED_COMPONENTS))
        self.register_to_config(
            **{"pixel_fold": pixel_fold, "pixel_mean": pixel_mean, "pixel_std": pixel_std},
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
        )
        expected = pixel_fold**2 if vae is None else vae.config.latent_channels
        if unet is not None and unet.config.in_channels != expected:
            source = f"pixels folded by {pixel_fold} have" if vae is None else "the autoencoder has"
            raise ValueError(f"The UNet reads {unet.config.in_channels} channels, but {source} {expected}.")
        self._guidance_scale = 1.0
        self._num_timesteps = 0
        self._interrupt = False

    @classmethod
    def _dict_from_json_file(cls, json_file: str | Path) -> dict[str, Any]:
        """`model_index.json`, without the parts that are not used and without asking for the code that is here."""
        index = json.loads(Path(json_file).read_text(encoding="utf-8"))
        if isinstance(index.get("_class_name"), list):
            index["_class_name"] = index["_class_name"][-1]
        return {name: value for name, value in index.items() if name not in _UNUSED_COMPONENTS}

    def save_pretrained(self, save_directory: str | Path, *, safe_serialization: bool = True, **kwargs: Any) -> None:
        """
        Save weights as safetensors, and the code that `DiffusionPipeline` needs to load them without this package.

        Args:
            save_directory (`str` or `Path`): Folder to save to.
            safe_serialization (`bool`, *optional*, defaults to `True`): Without it a `ValueError`.
            kwargs (`dict`): As of `DiffusionPipeline.save_pretrained`: `variant`, `max_shard_size`, `push_to_hub` ...
        """
        if not safe_serialization:
            raise ValueError("safe_serialization is False; weights are saved as safetensors only.")
        super().save_pretrained(save_directory, **kwargs)

    def save_config(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save `model_index.json` and the code beside it: the last thing that is written before an upload."""
        super().save_config(save_directory, **kwargs)
        export_code(save_directory, inspect.getfile(type(self)), type(self).__name__)

    @property
    def guidance_scale(self) -> float:
        """Of the call that runs; a callback may set `_guidance_scale`."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the UNet also runs on the negative prompt."""
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        """Steps of the call that runs."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether a callback has asked, by `_interrupt`, to take no more steps."""
        return self._interrupt

    @property
    def pixels_per_latent(self) -> int:
        """Height and width are multiples of this."""
        return self.config.pixel_fold if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def prompt_window(self) -> int:
        """Tokens that the text encoder reads at once, special ones included."""
        return token_window(self.tokenizer, self.text_encoder)

    def fit_prompts(self, prompts: str | FittedPrompt | Sequence[str | FittedPrompt]) -> list[FittedPrompt]:
        """[`~prompts.fit_prompts`] to this pipeline's window; says once when any had to be changed."""
        fitted = fit_prompts(prompts, self.tokenizer, max_tokens=self.prompt_window)
        if changes := describe_changes(fitted):
            logger.warning(changes)
        return fitted

    @torch.no_grad()
    def encode_prompt(
        self,
        prompt: str | FittedPrompt | Sequence[str | FittedPrompt] | None = None,
        *,
        device: torch.device | str | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        prompt_mask: torch.Tensor | None = None,
        negative_prompt_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """
        Prompts to what the UNet reads, one row per image; embeddings that are given are only repeated.

        Args:
            prompt (`str`, `FittedPrompt` or a list of them, *optional*): Fitted here where they are not.
            device (`torch.device` or `str`, *optional*): Where the embeddings go; to the pipeline's if not given.
            num_images_per_prompt (`int`, *optional*, defaults to 1): Repeats every row.
            do_classifier_free_guidance (`bool`, *optional*, defaults to `True`): Encode negative prompts, too.
            negative_prompt (`str` or `list[str]`, *optional*): One for all, or one per prompt; empty if not given.
            prompt_embeds (`torch.Tensor` of shape `(batch_size, length, dim)`, *optional*): Instead of `prompt`.
            negative_prompt_embeds (`torch.Tensor`, *optional*): Alike, of 1 or `batch_size` rows.
            prompt_mask (`torch.Tensor` of shape `(batch_size, length)`, *optional*): Goes with `prompt_embeds`.
            negative_prompt_mask (`torch.Tensor`, *optional*): Goes with `negative_prompt_embeds`.

        Returns:
            `tuple`: `prompt_embeds`, `negative_prompt_embeds`, `prompt_mask`, `negative_prompt_mask`; the masks are
            `None` for CLIP, and what is negative is `None` without guidance.
        """
        device = self._execution_device if device is None else device
        if prompt_embeds is None:
            texts = [positive.text for positive in fit_prompts(prompt, self.tokenizer, max_tokens=self.prompt_window)]
            prompt_embeds, prompt_mask = encode_prompts(texts, self.tokenizer, self.text_encoder, device=device)
        num_prompts, num_images = len(prompt_embeds), len(prompt_embeds) * num_images_per_prompt
        prompt_embeds, prompt_mask = repeat_condition(prompt_embeds, prompt_mask, num_images, device)
        if not do_classifier_free_guidance:
            return prompt_embeds, None, prompt_mask, None
        if negative_prompt_embeds is None:
            fitted = fit_negative_prompts(negative_prompt, num_prompts, self.tokenizer, max_tokens=self.prompt_window)
            if changes := describe_changes(fitted, kind="negative prompts"):
                logger.warning(changes)
            texts = [negative.text for negative in fitted]
            encoded = encode_prompts(texts, self.tokenizer, self.text_encoder, device=device)
            negative_prompt_embeds, negative_prompt_mask = encoded
        if len(negative_prompt_embeds) not in (1, num_prompts):
            raise ValueError(f"{len(negative_prompt_embeds)} negative_prompt_embeds do not fit {num_prompts} prompts.")
        encoded = repeat_condition(negative_prompt_embeds, negative_prompt_mask, num_images, device)
        return prompt_embeds, encoded[0], prompt_mask, encoded[1]

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | FittedPrompt | Sequence[str | FittedPrompt] | None = None,
        *,
        negative_prompt: str | Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        num_images_per_prompt: int = 1,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        prompt_mask: torch.Tensor | None = None,
        negative_prompt_mask: torch.Tensor | None = None,
        image: Any = None,
        mask_image: Any = None,
        strength: float = 1.0,
        bits: int = 8,
        output_type: OutputType = "pil",
        callback_on_step_end: Callable[..., dict[str, torch.Tensor]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        return_dict: bool = True,
    ) -> CxrSynthesisOutput | tuple[Any, list[FittedPrompt]]:
        """
        Draw images.

        Args:
            prompt (`str`, `FittedPrompt` or a list of them, *optional*):
                Reports or prompts; cleaned and cut as [`~CxrSynthesisPipeline.fit_prompts`] says.
            negative_prompt (`str` or `list[str]`, *optional*):
                What the images lead away from: one for all, or one per prompt.
            height, width (`int`, *optional*):
                In pixels; those of `image`, or what the UNet was trained at, if not given.
            num_inference_steps (`int`, *optional*):
                Steps from noise to image; as many as the checkpoint names if not given.
            timesteps (`list[int]`, *optional*), sigmas (`list[float]`, *optional*):
                The steps themselves, or their noise levels, for schedulers that take them.
            guidance_scale (`float`, *optional*):
                How far steps lead away from the negative prompt; up to 1 not at all, at half the cost. Else as above.
            guidance_interval (`tuple[float, float]`, *optional*, defaults to `(0.0, 1.0)`):
                Share of the steps where guidance acts, from and to
                ([Kynkäänniemi et al., 2024](https://huggingface.co/papers/2404.07724)).
            num_images_per_prompt (`int`, *optional*, defaults to 1):
                Images of one prompt follow each other.
            generator (`torch.Generator` or a list of them, *optional*):
                With one per image an image depends on its own alone, whatever batch it is drawn in.
            latents (`torch.Tensor` of shape `(num_images, num_channels, latent_height, latent_width)`, *optional*):
                Normal noise to start from instead of the generators'.
            prompt_embeds, negative_prompt_embeds, prompt_mask, negative_prompt_mask (`torch.Tensor`, *optional*):
                Instead of prompts, as [`~CxrSynthesisPipeline.encode_prompt`] takes them.
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor`, or a list, *optional*):
                Image to change: one for all, one per prompt, or one per image drawn; see [`read_grey`].
            mask_image (like `image`, *optional*):
                White where it is redrawn; elsewhere the pixels of `image` come back exactly.
            strength (`float`, *optional*, defaults to 1.0):
                Above 0 to 1: how much noise goes on `image`; 1 forgets it (but outside of `mask_image`).
            bits (`int`, *optional*, defaults to 8):
                8 or 16, of PIL images.
            output_type (`str`, *optional*, defaults to `"pil"`):
                `"pil"`, `"np"`, `"pt"` or `"latent"`.
            callback_on_step_end (`Callable`, *optional*):
                Called with the pipeline, the step, the timestep and a `dict` of tensors; may return others for them.
            callback_on_step_end_tensor_inputs (`Sequence[str]`, *optional*, defaults to `("latents",)`):
                Which tensors: `"latents"`, `"prompt_embeds"`, `"negative_prompt_embeds"`.
            return_dict (`bool`, *optional*, defaults to `True`):
                Else a tuple.

        Returns:
            [`CxrSynthesisOutput`] or `tuple`: Images, and the prompts as they were read.

        Raises:
            ValueError: In one line, on arguments that do not fit each other or the checkpoint.
        """
        self._check_arguments(output_type, bits, strength, guidance_interval, callback_on_step_end_tensor_inputs)
        if (prompt is None) == (prompt_embeds is None):
            raise ValueError("Pass either prompt or prompt_embeds.")
        self._interrupt = False
        self._guidance_scale = self.config.default_guidance_scale if guidance_scale is None else guidance_scale
        device, fitted = self._execution_device, [] if prompt is None else self.fit_prompts(prompt)
        conditions = self.encode_prompt(
            fitted,
            device=device,
            num_images_per_prompt=num_images_per_prompt,
            do_classifier_free_guidance=self.do_classifier_free_guidance,
            negative_prompt=negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            prompt_mask=prompt_mask,
            negative_prompt_mask=negative_prompt_mask,
        )
        start = read_start_image(image, mask_image, len(conditions[0]), num_images_per_prompt, device)
        height, width = image_size(self.unet, self.pixels_per_latent, height, width, start)
        sides = (height // self.pixels_per_latent, width // self.pixels_per_latent)
        noise = starting_noise((len(conditions[0]), self.unet.config.in_channels, *sides), generator, device, latents)
        steps = set_steps(
            self.scheduler,
            self.config.default_num_inference_steps if num_inference_steps is None else num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            strength=1.0 if start is None else strength,
            device=device,
        )
        self._num_timesteps = len(steps)
        latents = first_latents(self.scheduler, noise)
        if start is not None:
            start = replace(start, latents=self._encode(start.images), is_folded=self.vae is None)
            # At full strength nothing of the image is left, whatever noise level the scheduler starts from.
            latents = latents if strength == 1 else noised(self.scheduler, start.latents, noise, steps[0])
        latents = denoise(
            self,
            {**dict(zip(_CONDITIONS, conditions, strict=True)), "latents": latents},
            steps,
            noise,
            start=start,
            guidance_interval=guidance_interval,
            generator=generator,
            on_step_end=callback_on_step_end,
            on_step_end_inputs=callback_on_step_end_tensor_inputs,
        )
        images = latents if output_type == "latent" else self._decode(latents, start)
        self.maybe_free_model_hooks()
        images = write_grey(images, output_type, bits=bits)
        return CxrSynthesisOutput(images, fitted) if return_dict else (images, fitted)

    def _check_arguments(
        self,
        output_type: str,
        bits: int,
        strength: float,
        guidance_interval: tuple[float, float],
        callback_inputs: Sequence[str],
    ) -> None:
        if output_type not in typing.get_args(OutputType):
            raise ValueError(f"output_type is {output_type!r}; expected one of {typing.get_args(OutputType)}.")
        if bits not in (8, 16):
            raise ValueError(f"bits is {bits}; expected 8 or 16.")
        if not 0 < strength <= 1:
            raise ValueError(f"strength is {strength}; expected more than 0 and up to 1.")
        if len(guidance_interval) != 2 or not 0 <= guidance_interval[0] <= guidance_interval[1] <= 1:
            raise ValueError(f"guidance_interval is {guidance_interval}; expected two shares of the steps, 0 to 1.")
        unknown = sorted(set(callback_inputs) - set(self._callback_tensor_inputs))
        if unknown:
            expected = self._callback_tensor_inputs
            raise ValueError(f"callback_on_step_end_tensor_inputs has {unknown}; expected some of {expected}.")

    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        """`(num_images, 1, height, width)` of 0 to 1 as `(num_images, num_channels, latent_height, latent_width)`."""
        return encode_images(images * 2 - 1, vae=self.vae, **self._pixel_settings()).float()

    def _decode(self, latents: torch.Tensor, start: StartImage | None) -> torch.Tensor:
        """`(num_images, num_channels, latent_height, latent_width)` as `(num_images, 1, height, width)` of 0 to 1."""
        images = (decode_latents(latents, vae=self.vae, **self._pixel_settings()) / 2 + 0.5).clamp(0, 1)
        broken = (~images.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
        if broken:
            raise ValueError(f"Images {broken} came out as NaN; load the checkpoint in float32 or bfloat16.")
        return images if start is None else start.keep_pixels(images)

    def _pixel_settings(self) -> dict[str, Any]:
        return {name: self.config[name] for name in ("pixel_fold", "pixel_mean", "pixel_std")}
