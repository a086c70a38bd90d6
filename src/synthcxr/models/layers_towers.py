"""What every dual encoder does with its towers: build them, pool them, see their patches."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput


def build_tower(config: PreTrainedConfig) -> PreTrainedModel:
    """
    An encoder without a learnt pooler (BERT and ViT have one).

    The loss would never reach its weights, and distributed training refuses weights without a gradient.

    Args:
        config (`PreTrainedConfig`):
            Configuration of an `AutoModel`.
    """
    return _without_pooler(AutoModel.from_config(config))


def load_towers(
    vision_name_or_path: str, text_name_or_path: str, **kwargs: Any
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """
    Pretrained encoders from the Hub or from folders.

    Args:
        vision_name_or_path (`str`):
            Hub id or folder of an image encoder.
        text_name_or_path (`str`):
            Hub id or folder of a text encoder.
        kwargs (`dict`):
            With the prefix `vision_` or `text_`: arguments of that tower's `AutoModel.from_pretrained`, fields of its
            configuration (`text_num_hidden_layers=6`) included.

    Returns:
        `tuple`: The vision tower and the text tower.
    """
    towers = []
    for prefix, name_or_path in (("vision_", vision_name_or_path), ("text_", text_name_or_path)):
        own = {key.removeprefix(prefix): value for key, value in kwargs.items() if key.startswith(prefix)}
        towers.append(load_tower(name_or_path, **own))
    return towers[0], towers[1]


def load_tower(name_or_path: str, **kwargs: Any) -> PreTrainedModel:
    """
    A pretrained encoder without its learnt pooler, as [`build_tower`] makes a fresh one.

    Args:
        name_or_path (`str`):
            Hub id or folder of an encoder.
        kwargs (`dict`):
            As for `AutoModel.from_pretrained`.
    """
    return _without_pooler(AutoModel.from_pretrained(name_or_path, **kwargs))


def hidden_width(config: PreTrainedConfig, *, stage: int = -1) -> int:
    """
    Channels of the hidden states of a tower.

    Args:
        config (`PreTrainedConfig`):
            Configuration of the tower; hierarchical ones name the width of each stage.
        stage (`int`, *optional*, defaults to -1):
            Stage of a hierarchical tower, counted from its end; others have one width.
    """
    if not hasattr(config, "hidden_sizes"):
        return config.hidden_size
    if not -len(config.hidden_sizes) <= stage < 0:
        stages = f"-{len(config.hidden_sizes)} to -1"
        raise ValueError(f"local_stage={stage}, but the vision tower has the stages {stages}, counted from its end.")
    return config.hidden_sizes[stage]


def freeze_mask_tokens(vision_model: PreTrainedModel) -> None:
    """
    Stop training what stands for hidden patches in DINOv2: a contrastive loss never reaches it.

    Args:
        vision_model (`PreTrainedModel`):
            Any image encoder.
    """
    for name, parameter in vision_model.named_parameters():
        if name.endswith("mask_token"):
            parameter.requires_grad_(requires_grad=False)


def freeze_text_layers(text_model: PreTrainedModel, num_layers: int) -> None:
    """
    Stop training the embeddings and the first layers; 0 leaves all as they are.

    Args:
        text_model (`PreTrainedModel`):
            Encoder of the BERT family.
        num_layers (`int`):
            Layers to freeze, with the embeddings below them.
    """
    if num_layers == 0:
        return
    depth = text_model.config.num_hidden_layers
    if not 0 < num_layers <= depth:
        raise ValueError(f"num_frozen_text_layers={num_layers}, but the text tower has {depth} layers.")
    layers = next(
        module for module in text_model.modules() if isinstance(module, nn.ModuleList) and len(module) == depth
    )
    for frozen in (text_model.embeddings, *layers[:num_layers]):
        frozen.requires_grad_(requires_grad=False)


def image_states(
    vision_model: PreTrainedModel, pixel_values: torch.Tensor, *, stage: int = -1, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    One vector per image, and one per patch.

    Args:
        vision_model (`PreTrainedModel`):
            Any image encoder of `AutoModel`: ResNet, ViT, DINOv2, ConvNeXt, Swin ...
        pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
            Normalised images.
        stage (`int`, *optional*, defaults to -1):
            Where the patches come from in a tower that names the width of each stage, counted from its end; other
            towers have patches at their end only.
        kwargs (`dict`):
            Handed to the encoder.

    Returns:
        `tuple`: The tower's own pooled state, or its CLS token, `(batch_size, hidden_size)`; the patches
        `(batch_size, hidden_size, grid_height, grid_width)`.
    """
    if pixel_values.dim() != 4:
        shape = tuple(pixel_values.shape)
        raise ValueError(f"pixel_values has shape {shape}; expected (batch_size, num_channels, height, width).")
    if _is_earlier(stage, vision_model.config):
        kwargs["output_hidden_states"] = True
    outputs = vision_model(pixel_values=_channels_last(pixel_values), return_dict=True, **kwargs)
    return read_image_states(vision_model, outputs, pixel_values.shape[-2:], stage=stage)


def read_image_states(
    vision_model: PreTrainedModel, outputs: ModelOutput, image_size: torch.Size, *, stage: int = -1
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The same, from what the encoder has given.

    Args:
        vision_model (`PreTrainedModel`):
            Any image encoder of `AutoModel`.
        outputs (`ModelOutput`):
            Its output, with all hidden states for an earlier stage.
        image_size (`torch.Size`):
            Height and width of the images.
        stage (`int`, *optional*, defaults to -1):
            As for [`image_states`].

    Returns:
        `tuple`: As of [`image_states`].
    """
    config = vision_model.config
    states = outputs.last_hidden_state
    patches = states if states.dim() == 4 else _patch_grid(states, image_size, config)
    if _is_earlier(stage, config):
        patches = outputs.hidden_states[stage]
    elif config.model_type.startswith("convnext"):
        # The only family that normalises after pooling: patches need it too, to lie where the projection has learnt.
        patches = vision_model.layernorm(patches.movedim(1, -1)).movedim(-1, 1)
    pooled = outputs.pooler_output
    pooled = states[:, 0] if pooled is None else pooled.flatten(1)
    return pooled, patches


def pool_text(states: torch.Tensor, attention_mask: torch.Tensor, *, pooling: str) -> torch.Tensor:
    """
    One vector per text, whatever the padding.

    Args:
        states (`torch.Tensor` of shape `(batch_size, sequence_length, hidden_size)`):
            Last hidden states.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`):
            0 at padding.
        pooling (`str`):
            `"max"`, `"mean"` or `"cls"`.

    Returns:
        `torch.Tensor` of shape `(batch_size, hidden_size)`: The pooled states.
    """
    if pooling == "cls":
        return states[:, 0]
    padding = attention_mask.unsqueeze(-1) == 0  # (batch_size, sequence_length, 1)
    if pooling == "max":
        # Padding must not win the maximum, or the embedding of a short report depends on its batch.
        return states.masked_fill(padding, torch.finfo(states.dtype).min).amax(dim=1)
    return states.masked_fill(padding, 0).sum(dim=1) / (~padding).sum(dim=1).clamp(min=1).to(states.dtype)


def similarity_maps(
    patches: torch.Tensor, text_embeds: torch.Tensor, projection: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """
    Cosine of every patch of an image with the text of the same row.

    Args:
        patches (`torch.Tensor` of shape `(batch_size, hidden_size, grid_height, grid_width)`):
            Patches of the vision tower.
        text_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            One text per image.
        projection (`Callable`):
            Takes `(num_patches, hidden_size)` into the shared space.

    Returns:
        `torch.Tensor` of shape `(batch_size, grid_height, grid_width)`: Cosines, -1 to 1.
    """
    batch_size, _, height, width = patches.shape
    if len(text_embeds) != batch_size:
        raise ValueError(
            f"A similarity map needs one text per image; got {batch_size} images, {len(text_embeds)} texts."
        )
    projected = projection(patches.flatten(2).transpose(1, 2).flatten(0, 1)).unflatten(0, (batch_size, -1))
    cosines = F.cosine_similarity(projected.float(), text_embeds.float().unsqueeze(1), dim=-1)
    return cosines.unflatten(1, (height, width))


def _without_pooler(tower: PreTrainedModel) -> PreTrainedModel:
    pooler = getattr(tower, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        tower.pooler = None
    return tower


def _is_earlier(stage: int, config: PreTrainedConfig) -> bool:
    """Whether the patches of this stage are other than those of the tower's end."""
    return stage != -1 and hasattr(config, "hidden_sizes")


def _channels_last(pixel_values: torch.Tensor) -> torch.Tensor:
    """The same images with the layout that convolutions run up to twice as fast in, down the whole tower."""
    batch_size, num_channels, height, width = pixel_values.shape
    if num_channels == 1:  # torch takes both layouts of one channel for the same, and keeps the slow one
        return pixel_values.reshape(batch_size, height, width, 1).permute(0, 3, 1, 2)
    return pixel_values.contiguous(memory_format=torch.channels_last)


def _patch_grid(states: torch.Tensor, image_size: torch.Size, config: PreTrainedConfig) -> torch.Tensor:
    """`(batch_size, num_tokens, hidden_size)` to `(batch_size, hidden_size, grid_height, grid_width)`."""
    if hasattr(config, "depths"):  # hierarchical (Swin): every stage but the first halves the grid, padding odd sides
        stride = config.patch_size * 2 ** (len(config.depths) - 1)
        height, width = (-(-side // stride) for side in image_size)
    else:
        height, width = (side // config.patch_size for side in image_size)
    # CLS and register tokens come first.
    return states[:, -height * width :].transpose(1, 2).unflatten(-1, (height, width))
