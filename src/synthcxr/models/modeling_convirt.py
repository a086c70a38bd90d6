"""ConVIRT: contrastive learning of images and reports (Zhang et al., 2022, arXiv 2010.00747)."""

from typing import Any

import torch
from torch.nn import functional as F
from transformers.utils.generic import can_return_tuple

from .configuration_convirt import ConvirtConfig
from .layers_distributed import gather_pairs
from .layers_dual_encoder import DualEncoderPreTrainedModel
from .layers_heads import ProjectionHead
from .layers_towers import freeze_text_layers, hidden_width
from .loss_contrastive import check_pairs, cosine_similarity, info_nce_loss
from .modeling_outputs import ImageReportOutput


class ConvirtModel(DualEncoderPreTrainedModel):
    """
    Image and text encoders, each followed by a two-layer projection.

    Args:
        config ([`ConvirtConfig`]):
            Towers, projections, pooling and loss.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models import ConvirtConfig, ConvirtModel

    >>> model = ConvirtModel(ConvirtConfig.tiny(vocab_size=100)).eval()
    >>> out = model(input_ids=torch.ones(3, 5, dtype=torch.long), pixel_values=torch.zeros(2, 1, 128, 128))
    >>> out.logits_per_image.shape
    torch.Size([2, 3])

    ```
    """

    config_class = ConvirtConfig
    config: ConvirtConfig
    base_model_prefix = "convirt"
    image_loss_inputs = ("image_embeds",)
    text_loss_inputs = ("text_embeds",)

    def __init__(self, config: ConvirtConfig) -> None:
        super().__init__(config)
        shape = {"hidden_dim": config.projection_hidden_dim, "norm": config.projection_norm}
        self.visual_projection = ProjectionHead(hidden_width(config.vision_config), config.projection_dim, **shape)
        self.text_projection = ProjectionHead(hidden_width(config.text_config), config.projection_dim, **shape)
        self.post_init()
        self._freeze()

    def compute_loss(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """
        The loss of a batch from its embeddings alone, wherever they were computed.

        While several processes train, the negatives are those of all.

        Args:
            image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
                Image embeddings.
            text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
                Embeddings of texts of the same studies, view by view.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        if self.training:
            image_embeds, text_embeds = gather_pairs(image_embeds, text_embeds)
        return info_nce_loss(
            image_embeds,
            text_embeds,
            temperature=self.config.temperature,
            image_to_text_weight=self.config.image_to_text_weight,
            text_to_image_weight=self.config.text_to_image_weight,
        )

    def _freeze(self) -> None:
        super()._freeze()
        freeze_text_layers(self.text_model, self.config.num_frozen_text_layers)

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
    ) -> ImageReportOutput:
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
                Compute the contrastive loss: `num_images = num_texts`, and text `i` belongs to image `i`.
            kwargs (`dict`):
                `return_dict`, and arguments of both towers.
        """
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        image_embeds = F.normalize(self.get_image_features(pixel_values, **kwargs), dim=-1)
        texts = self._pooled_text(input_ids, attention_mask, token_type_ids, **kwargs)
        if sentence_input_ids is not None:
            sentences = self._pooled_sentences(sentence_input_ids, sentence_attention_mask, **kwargs)
            texts = torch.cat([texts, sentences])
        text_embeds = F.normalize(self.text_projection(texts), dim=-1)
        if return_loss:
            check_pairs(pixel_values, input_ids, sentence_input_ids)
        logits_per_image = cosine_similarity(image_embeds, text_embeds) / self.config.temperature
        return ImageReportOutput(
            loss=self.compute_loss(image_embeds, text_embeds) if return_loss else None,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.T,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
        )


ConvirtModel.register_for_auto_class("AutoModel")
