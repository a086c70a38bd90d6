"""MGCA: images and reports aligned as wholes, as patches and words, and by prototypes (Wang et al., 2210.06044)."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from .configuration_mgca import MgcaConfig
from .layers_cls_attention import ClsAttention, has_plain_attention, watch
from .layers_distributed import gather_pairs
from .layers_dual_encoder import DualEncoderPreTrainedModel
from .layers_heads import ProjectionHead, WordProjectionHead
from .layers_towers import hidden_width, image_states, pool_text, similarity_maps
from .layers_words import WordIndex, WordReader, sum_word_pieces
from .loss_contrastive import check_pairs, cosine_similarity, info_nce_loss
from .loss_local_alignment import attention_weights, token_alignment_loss
from .loss_prototype import cross_prototype_loss
from .modeling_outputs import MgcaOutput


logger = logging.get_logger(__name__)


class MgcaModel(WordReader, DualEncoderPreTrainedModel):
    """
    Image and text encoders with projections of the whole and of its parts, and prototypes that both share.

    The loss sums three alignments: of images with texts (ITA), of the patches of an image with the words of its own
    report (CTA), and of the prototypes that an image and its report are assigned to (CPA). Where the authors' code
    does something by accident, this is what it meant: the weight of a word is the attention paid to that word (there,
    to the next), taken before dropout; batch normalisation sees words and no padding.

    Patches weigh as the class token of a ViT, DeiT or DINOv2 attends to them. Those of other image encoders weigh
    alike, as the authors have it for a ResNet; one with a class token that is not read is logged.

    Args:
        config ([`MgcaConfig`]):
            Towers, projections, prototypes and losses.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models import MgcaConfig, MgcaModel

    >>> model = MgcaModel(MgcaConfig.tiny(vocab_size=100)).eval()
    >>> out = model(input_ids=torch.ones(3, 5, dtype=torch.long), pixel_values=torch.zeros(2, 1, 64, 64))
    >>> out.logits_per_image.shape, out.patch_embeds.shape, out.word_embeds.shape
    (torch.Size([2, 3]), torch.Size([2, 64, 128]), torch.Size([3, 4, 128]))

    ```
    """

    config_class = MgcaConfig
    config: MgcaConfig
    base_model_prefix = "mgca"
    loss_inputs = (
        *("image_embeds", "text_embeds", "patch_embeds", "patch_weights"),
        *("word_embeds", "word_weights", "word_mask"),
    )
    image_loss_inputs = ("image_embeds", "patch_embeds", "patch_weights")
    text_loss_inputs = ("text_embeds", "word_embeds", "word_weights", "word_mask")

    def __init__(self, config: MgcaConfig) -> None:
        super().__init__(config)
        shape = {"hidden_dim": config.projection_hidden_dim, "norm": config.projection_norm}
        patch_width = hidden_width(config.vision_config, stage=config.local_stage)
        self.visual_projection = ProjectionHead(hidden_width(config.vision_config), config.projection_dim, **shape)
        self.text_projection = ProjectionHead(hidden_width(config.text_config), config.projection_dim, **shape)
        self.patch_projection = ProjectionHead(patch_width, config.projection_dim, **shape)
        self.word_projection = WordProjectionHead(hidden_width(config.text_config), config.projection_dim, **shape)
        self.prototypes = Prototypes(config.projection_dim, config.num_prototypes)
        self.word_index = WordIndex(config.text_config.vocab_size)
        if not has_plain_attention(self.vision_model) and _has_class_token(self.vision_model):
            logger.warning(
                "Patches of %s weigh alike: the attention of its class token is not read.",
                type(self.vision_model).__name__,
            )
        if not has_plain_attention(self.text_model):
            self.text_model.set_attn_implementation("eager")
        watch(self.text_model)
        if has_plain_attention(self.vision_model):
            watch(self.vision_model)
        self.post_init()
        self._freeze()

    def compute_loss(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        patch_embeds: torch.Tensor,
        patch_weights: torch.Tensor,
        word_embeds: torch.Tensor,
        word_weights: torch.Tensor,
        word_mask: torch.Tensor,
    ) -> torch.Tensor:
        """
        The loss of a batch from its embeddings alone, wherever they were computed.

        While several processes train, images, texts and their prototypes are compared across all of them; patches and
        words only ever meet those of their own study.

        Args:
            image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
                Image embeddings.
            text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
                Embeddings of texts of the same studies, view by view: whole texts first, then sentences, which take
                part in the alignment of images with texts alone.
            patch_embeds (`torch.Tensor` of shape `(batch_size, num_patches, projection_dim)`):
                Patch embeddings, normalised here.
            patch_weights (`torch.Tensor` of shape `(batch_size, num_patches)`):
                Importance of the patches.
            word_embeds (`torch.Tensor` of shape `(batch_size, num_words, projection_dim)`):
                Word embeddings of the whole texts, normalised here.
            word_weights (`torch.Tensor` of shape `(batch_size, num_words)`):
                Importance of the words.
            word_mask (`torch.Tensor` of shape `(batch_size, num_words)`):
                0 at padding.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        config = self.config
        if self.training:
            image_embeds, text_embeds = gather_pairs(image_embeds, text_embeds)
        loss = config.global_weight * self._global_loss(image_embeds, text_embeds)
        if config.local_weight > 0:
            loss = loss + config.local_weight * token_alignment_loss(
                patch_embeds,
                word_embeds,
                word_weights,
                temperature=config.local_temperature,
                patch_weights=patch_weights,
                token_mask=word_mask,
                padding_as_negatives=config.padding_as_negatives,
            )
        if config.prototype_weight > 0:
            loss = loss + config.prototype_weight * cross_prototype_loss(
                self.prototypes(image_embeds),
                self.prototypes(text_embeds[: len(image_embeds)]),
                temperature=config.prototype_temperature,
                epsilon=config.sinkhorn_epsilon,
                num_iterations=config.num_sinkhorn_iterations,
            )
        return loss

    def compute_global_loss(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """
        The alignment of images with texts alone (ITA).

        Args:
            image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
                Image embeddings, or what stands for them.
            text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
                Embeddings of texts of the same studies, view by view.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        if self.training:
            image_embeds, text_embeds = gather_pairs(image_embeds, text_embeds)
        return self._global_loss(image_embeds, text_embeds)

    def _global_loss(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        return info_nce_loss(
            image_embeds,
            text_embeds,
            temperature=self.config.temperature,
            image_to_text_weight=1.0,
            text_to_image_weight=1.0,
        )

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """
        The prototypes, in the first epochs.

        Args:
            epoch (`int`):
                Of the training, from 0.
        """
        return list(self.prototypes.parameters()) if epoch < self.config.num_frozen_prototype_epochs else []

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
            `torch.Tensor` of shape `(batch_size, grid_height, grid_width)`: Cosine, -1 to 1, of every patch with the
            text in the space of patches and words, where the text is the weighted mean of its words.
        """
        _, patches = image_states(self.vision_model, pixel_values, stage=self.config.local_stage)
        _, word_embeds, word_weights, _ = self._text_parts(input_ids, attention_mask, token_type_ids)
        words = F.normalize(word_embeds.to(word_weights.dtype), dim=-1)
        text_embeds = torch.einsum("bw,bwd->bd", word_weights, words)
        return similarity_maps(patches, text_embeds, self.patch_projection)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        *,
        sentence_input_ids: torch.Tensor | None = None,
        sentence_attention_mask: torch.Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> MgcaOutput:
        """
        Compare images with texts; train on them when they are `batch_size` pairs.

        Args:
            input_ids (`torch.Tensor` of shape `(num_texts, sequence_length)`):
                Tokens.
            pixel_values (`torch.Tensor` of shape `(num_images, num_channels, height, width)`):
                Normalised images.
            attention_mask (`torch.Tensor` of shape `(num_texts, sequence_length)`, *optional*):
                0 at padding.
            token_type_ids (`torch.Tensor` of shape `(num_texts, sequence_length)`, *optional*):
                Segments.
            sentence_input_ids (`torch.Tensor` of shape `(num_images, num_sentences, length)`, *optional*):
                Tokens of sentences of every image's report. They follow the texts of `input_ids` in the output: the
                first of every image, then the second of every image.
            sentence_attention_mask (`torch.Tensor` of shape `(num_images, num_sentences, length)`, *optional*):
                0 at padding.
            return_loss (`bool`, *optional*):
                Compute the loss: `num_images = num_texts`, and text `i` belongs to image `i`.
            kwargs (`dict`):
                `return_dict`, and arguments of both towers.
        """
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        pooled, patch_embeds, patch_weights = self._image_parts(pixel_values, **kwargs)
        image_embeds = F.normalize(self.visual_projection(pooled), dim=-1)
        texts, word_embeds, word_weights, word_mask = self._text_parts(
            input_ids, attention_mask, token_type_ids, **kwargs
        )
        if sentence_input_ids is not None:
            sentences = self._pooled_sentences(sentence_input_ids, sentence_attention_mask, **kwargs)
            texts = torch.cat([texts, sentences])
        text_embeds = F.normalize(self.text_projection(texts), dim=-1)
        if return_loss:
            check_pairs(pixel_values, input_ids, sentence_input_ids)
        states = {
            "image_embeds": image_embeds,
            "text_embeds": text_embeds,
            "patch_embeds": patch_embeds,
            "patch_weights": patch_weights,
            "word_embeds": word_embeds,
            "word_weights": word_weights,
            "word_mask": word_mask,
        }
        logits_per_image = cosine_similarity(image_embeds, text_embeds) / self.config.temperature
        return MgcaOutput(
            loss=self.compute_loss(**states) if return_loss else None,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.T,
            **states,
        )

    def _image_parts(
        self, pixel_values: torch.Tensor, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The pooled images `(batch_size, hidden_size)`; embeddings and weights of their patches."""
        stage = self.config.local_stage
        if has_plain_attention(self.vision_model):
            with ClsAttention(self.vision_model) as attention:
                pooled, patches = image_states(self.vision_model, pixel_values, stage=stage, **kwargs)
            # CLS and register tokens come first.
            importance = attention.values[:, -patches[0, 0].numel() :]
        else:
            pooled, patches = image_states(self.vision_model, pixel_values, stage=stage, **kwargs)
            importance = torch.ones_like(patches[:, 0].flatten(1), dtype=torch.float32)
        patches = patches.flatten(2).mT  # (batch_size, num_patches, hidden_size)
        embeds = self.patch_projection(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        return pooled, embeds, self._weights(importance, torch.ones_like(importance))

    def _text_parts(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The pooled texts `(batch_size, hidden_size)`; embeddings, weights and mask of their words."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        with ClsAttention(self.text_model, attention_mask) as attention:
            states = self._text_states(input_ids, attention_mask, token_type_ids, **kwargs)
        pooled = pool_text(states, attention_mask, pooling=self.config.text_pooling)
        # [CLS] is no word; [SEP] is one, as in the authors' code.
        is_word = torch.cat([torch.zeros_like(attention_mask[:, :1]), attention_mask[:, 1:]], dim=1)
        word_index = self.word_index(input_ids, is_word)[:, 1:]
        parts = torch.cat([states[:, 1:], attention.values[:, 1:].unsqueeze(-1)], dim=-1)
        parts, mask = sum_word_pieces(parts, word_index)
        if (
            input_ids.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and not self.config.padding_as_negatives
        ):
            # Here nothing waits for a number, and places that no text fills are left out.
            longest = max(int(word_index.max()) + 1, 1)
            parts, mask = parts[:, :longest], mask[:, :longest]
        words, importance = parts[..., :-1].to(states.dtype), parts[..., -1].detach()
        embeds = self.word_projection(words.flatten(0, 1), mask.flatten()).unflatten(0, mask.shape)
        return pooled, embeds, self._weights(importance, mask), mask

    def _weights(self, importance: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return attention_weights(importance, mask, low=self.config.low_quantile, high=self.config.high_quantile)

    def _freeze(self) -> None:
        super()._freeze()
        # What a weight of 0 leaves out has no gradient, which distributed training refuses.
        if self.config.local_weight == 0:
            self.patch_projection.requires_grad_(requires_grad=False)
            self.word_projection.requires_grad_(requires_grad=False)
        if self.config.prototype_weight == 0:
            self.prototypes.requires_grad_(requires_grad=False)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MgcaModel):
            for part in (module.patch_projection, module.word_projection, module.prototypes):
                for linear in part.modules():
                    if isinstance(linear, nn.Linear):  # as the base class does for the other projections
                        init.normal_(linear.weight, std=linear.in_features**-0.5)


def _has_class_token(vision_model: nn.Module) -> bool:
    names = (name.rpartition(".")[-1] for name, _ in vision_model.named_parameters())
    return not {"cls_token", "class_embedding"}.isdisjoint(names)


class Prototypes(nn.Linear):
    """
    Directions of the shared space; only their direction counts.

    Args:
        dim (`int`):
            Width of the shared space.
        num_prototypes (`int`):
            How many.
    """

    def __init__(self, dim: int, num_prototypes: int) -> None:
        super().__init__(dim, num_prototypes, bias=False)

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        """
        Cosine of every embedding with every prototype, never below single precision.

        Args:
            embeds (`torch.Tensor` of shape `(batch_size, dim)`):
                Embeddings, normalised here.
        """
        return cosine_similarity(embeds, self.weight)


MgcaModel.register_for_auto_class("AutoModel")
