"""A classifier of findings on top of any image encoder of `transformers`."""

import os
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_cxr_classification import CxrClassificationConfig
from .layers_towers import build_tower, freeze_mask_tokens, hidden_width, image_states, load_tower


@dataclass
class CxrClassificationOutput(ModelOutput):
    """
    Output of [`CxrForImageClassification`].

    Args:
        loss (`torch.Tensor` of shape `()`, *optional*, returned when there are `labels`):
            Mean over what is known.
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`):
            Before the sigmoid (multi-label) or softmax.
        pooler_output (`torch.Tensor` of shape `(batch_size, hidden_size)`):
            The features that the logits are a linear function of.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None


class CxrForImageClassification(PreTrainedModel):
    """
    Findings of an image, by a linear layer over the pooled features of an image encoder. Not for clinical use.

    Args:
        config ([`CxrClassificationConfig`]):
            Encoder, pooling and labels.

    Example:

    ```python
    >>> import torch
    >>> from transformers import ResNetConfig
    >>> from synthcxr.models import CxrClassificationConfig, CxrForImageClassification

    >>> tower = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    >>> config = CxrClassificationConfig.of_labels(["edema", "pneumothorax"], vision_config=tower)
    >>> model = CxrForImageClassification(config).eval()
    >>> model(pixel_values=torch.zeros(3, 1, 64, 64)).logits.shape
    torch.Size([3, 2])

    ```
    """

    config_class = CxrClassificationConfig
    config: CxrClassificationConfig
    base_model_prefix = "cxr_classification"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    # The loss is a mean over the batch: `Trainer` must divide it by the steps that it accumulates.
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: CxrClassificationConfig) -> None:
        super().__init__(config)
        self.vision_model = build_tower(config.vision_config)
        self.classifier = nn.Linear(hidden_width(config.vision_config), config.num_labels)
        self.post_init()
        freeze_mask_tokens(self.vision_model)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Self:
        """
        Load weights, configuration and, from the Hub, code.

        Args:
            args (`tuple`):
                As for `PreTrainedModel.from_pretrained`.
            kwargs (`dict`):
                As for `PreTrainedModel.from_pretrained`.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        freeze_mask_tokens(model.vision_model)  # Loading makes new parameters, all of them trainable.
        return loaded

    @classmethod
    def from_vision_pretrained(cls, name_or_path: str, labels: list[str], **kwargs: Any) -> Self:
        """
        Put a fresh classifier on a pretrained encoder; it needs training.

        Args:
            name_or_path (`str`):
                Hub id or folder of any image encoder of `AutoModel`.
            labels (`list[str]`):
                What shall be told apart.
            kwargs (`dict`):
                Fields of the configuration; with the prefix `vision_`, arguments of the encoder's `from_pretrained`.
        """
        options = {key: value for key, value in kwargs.items() if key.startswith("vision_")}
        tower = load_tower(name_or_path, **{key.removeprefix("vision_"): options[key] for key in options})
        own = {key: value for key, value in kwargs.items() if key not in options}
        model = cls(CxrClassificationConfig.of_labels(labels, vision_config=tower.config, **own))
        model.vision_model.load_state_dict(tower.state_dict())
        return model

    def save_pretrained(
        self, save_directory: str | os.PathLike, *args: Any, save_original_format: bool = False, **kwargs: Any
    ) -> None:
        """
        Save weights, configuration and code.

        Args:
            save_directory (`str` or `os.PathLike`):
                Folder to write to.
            args (`tuple`):
                As for `PreTrainedModel.save_pretrained`.
            save_original_format (`bool`, *optional*, defaults to `False`):
                `True` gives the weights of ViT-like encoders their old names, which a resumed `Trainer` would pass
                over with no more than a warning (transformers #43701).
            kwargs (`dict`):
                As for `PreTrainedModel.save_pretrained`.
        """
        super().save_pretrained(save_directory, *args, save_original_format=save_original_format, **kwargs)

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """
        What the classifier sees of an image.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Normalised images.
            kwargs (`dict`):
                Handed to the encoder.

        Returns:
            `torch.Tensor` of shape `(batch_size, hidden_size)`: Pooled features, not normalised.
        """
        pooled, patches = image_states(self.vision_model, pixel_values, **kwargs)
        if self.config.pooling == "tower":
            return pooled
        patches = patches.flatten(2)  # (batch_size, hidden_size, num_patches)
        return patches.mean(dim=-1) if self.config.pooling == "mean" else patches.amax(dim=-1)

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: Any
    ) -> CxrClassificationOutput:
        """
        Classify images.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Normalised images.
            labels (`torch.Tensor` of shape `(batch_size, num_labels)` or `(batch_size,)`, *optional*):
                Multi-label: 1 where a label is true, 0 where it is false, below 0 where nobody knows (a hedged
                finding): that entry is left out of the loss. Single-label: the index of the true label; below 0 leaves
                the image out.
            kwargs (`dict`):
                `return_dict`, and arguments of the encoder.
        """
        pooled = self.get_image_features(pixel_values, **kwargs)
        logits = self.classifier(pooled)
        loss = None if labels is None else self._loss(logits.float(), labels)
        return CxrClassificationOutput(loss=loss, logits=logits, pooler_output=pooled)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        multi_label = self.config.problem_type == "multi_label_classification"
        expected = logits.shape if multi_label else logits.shape[:1]
        if labels.shape != expected:
            raise ValueError(f"labels have shape {tuple(labels.shape)}; expected {tuple(expected)}.")
        known = labels >= 0
        if multi_label:
            losses = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).to(logits.dtype), reduction="none")
        else:
            losses = F.cross_entropy(logits, labels.clamp(min=0).long(), reduction="none")
        # A batch of which nothing is known gives 0, with a gradient of 0, and not NaN.
        return (losses * known).sum() / known.sum().clamp(min=1)


CxrForImageClassification.register_for_auto_class("AutoModelForImageClassification")
