"""The part of a dual encoder that is the same by definition: two towers, how they are loaded, filled and saved."""

import os
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .layers_towers import build_tower, freeze_mask_tokens, image_states, load_towers, pool_text, similarity_maps


class DualEncoderPreTrainedModel(PreTrainedModel):
    """
    A vision tower and a text tower; subclasses add `visual_projection`, `text_projection`, their loss and `forward`.

    Args:
        config (`PreTrainedConfig`):
            Holds `vision_config` and `text_config`.
    """

    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    # Fields of the output that `compute_loss` takes.
    loss_inputs: tuple[str, ...] = ("image_embeds", "text_embeds")
    # Those that follow from the images, and those that follow from the texts; together they are `loss_inputs`.
    image_loss_inputs: tuple[str, ...]
    text_loss_inputs: tuple[str, ...]
    # The loss is a mean over the batch: `Trainer` must divide it by the steps that it accumulates.
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.vision_model = build_tower(config.vision_config)
        self.text_model = build_tower(config.text_config)

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
        model._freeze()  # Loading makes new parameters, all of them trainable.
        return loaded

    @classmethod
    def from_vision_text_pretrained(cls, vision_name_or_path: str, text_name_or_path: str, **kwargs: Any) -> Self:
        """
        Put two pretrained encoders together; the projections are new and need training.

        Args:
            vision_name_or_path (`str`):
                Hub id or folder of any image encoder of `AutoModel`.
            text_name_or_path (`str`):
                Hub id or folder of an encoder of the BERT family.
            kwargs (`dict`):
                Fields of the configuration; with the prefix `vision_` or `text_`, arguments of that tower.
        """
        own = {key: kwargs[key] for key in kwargs if key in cls.config_class.__dataclass_fields__}
        towers = {key: value for key, value in kwargs.items() if key not in own}
        unknown = [key for key in towers if not key.startswith(("vision_", "text_"))]
        if unknown:
            known = f"a field of {cls.config_class.__name__} or an argument with the prefix vision_ or text_"
            raise ValueError(f"{unknown[0]!r} is unknown; expected {known}.")
        vision_model, text_model = load_towers(vision_name_or_path, text_name_or_path, **towers)
        model = cls(cls.config_class(vision_config=vision_model.config, text_config=text_model.config, **own))
        model.vision_model.load_state_dict(vision_model.state_dict())
        model.text_model.load_state_dict(text_model.state_dict())
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
                `True` renames the weights of ViT-like towers to their old names. `Trainer` resumes with
                `load_state_dict(strict=False)`, which would then leave the vision tower untouched with no more than a
                warning (transformers #43701).
            kwargs (`dict`):
                As for `PreTrainedModel.save_pretrained`.
        """
        if self.is_remote_code():
            # `register_for_auto_class` records one Auto class; the stock zero-shot pipeline asks for another.
            reference = f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
            auto_map = getattr(self.config, "auto_map", None) or {}
            self.config.auto_map = {**auto_map, "AutoModelForZeroShotImageClassification": reference}
        super().save_pretrained(save_directory, *args, save_original_format=save_original_format, **kwargs)

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """
        Images into the shared space.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Normalised images.
            kwargs (`dict`):
                Handed to the vision tower.

        Returns:
            `torch.Tensor` of shape `(batch_size, projection_dim)`: Embeddings, not normalised.
        """
        pooled, _ = image_states(self.vision_model, pixel_values, **kwargs)
        return self.visual_projection(pooled)

    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """
        Texts into the shared space.

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                0 at padding, which never changes an embedding.
            token_type_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                Segments.
            kwargs (`dict`):
                Handed to the text tower.

        Returns:
            `torch.Tensor` of shape `(batch_size, projection_dim)`: Embeddings, not normalised.
        """
        return self.text_projection(self._pooled_text(input_ids, attention_mask, token_type_ids, **kwargs))

    def get_similarity_maps(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Where in image `i` is text `i`?

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Normalised images.
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens of one text per image.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                0 at padding.
            token_type_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                Segments.

        Returns:
            `torch.Tensor` of shape `(batch_size, grid_height, grid_width)`: Cosine of every projected patch with the
            text, -1 to 1, at the resolution of the vision tower's last layer.
        """
        _, patches = image_states(self.vision_model, pixel_values)
        return similarity_maps(
            patches, self.get_text_features(input_ids, attention_mask, token_type_ids), self.visual_projection
        )

    def compute_global_loss(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """
        The part of the loss that compares wholes: all of it, unless a model compares more.

        Args:
            image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
                Image embeddings, or what stands for them.
            text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
                Embeddings of texts of the same studies, view by view.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        return self.compute_loss(image_embeds, text_embeds)

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """
        What is not trained yet, although the loss reaches it; nothing, unless a model says otherwise.

        Args:
            epoch (`int`):
                Of the training, from 0.
        """
        return []

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """
        Exchange the word embeddings.

        Args:
            value (`nn.Module`):
                The new ones.
        """
        self.text_model.set_input_embeddings(value)

    def _freeze(self) -> None:
        """Called when the model has been built and when it has been loaded."""
        freeze_mask_tokens(self.vision_model)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, DualEncoderPreTrainedModel):
            # 0.02, the towers' deviation, would shrink the embeddings and blow up the gradient of their normalisation.
            for projection in (module.visual_projection, module.text_projection):
                for linear in projection.modules():
                    if isinstance(linear, nn.Linear):
                        init.normal_(linear.weight, std=linear.in_features**-0.5)

    def _pooled_sentences(
        self, sentence_input_ids: torch.Tensor, sentence_attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor:
        """`(batch_size, num_sentences, length)` to `(num_sentences * batch_size, hidden_size)`, view by view."""
        # Apart from the longer texts, so that no sentence is padded to their length; the projections see both at once.
        input_ids = sentence_input_ids.transpose(0, 1).flatten(0, 1)
        if sentence_attention_mask is not None:
            sentence_attention_mask = sentence_attention_mask.transpose(0, 1).flatten(0, 1)
        return self._pooled_text(input_ids, sentence_attention_mask, None, **kwargs)

    def _pooled_text(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """`(batch_size, sequence_length)` to `(batch_size, hidden_size)` by the configured pooling."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        states = self._text_states(input_ids, attention_mask, token_type_ids, **kwargs)
        return pool_text(states, attention_mask, pooling=self.config.text_pooling)

    def _text_states(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor:
        """`(batch_size, sequence_length)` to the last hidden states `(batch_size, sequence_length, hidden_size)`."""
        if token_type_ids is not None:  # not every BERT has segments
            kwargs["token_type_ids"] = token_type_ids
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        return outputs.last_hidden_state
