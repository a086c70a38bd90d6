"""What the models return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class ImageReportOutput(ModelOutput):
    """
    Output of the dual encoders, for `num_images` images and `num_texts` texts.

    Args:
        loss (`torch.Tensor` of shape `()`, *optional*, returned when `return_loss=True`):
            The contrastive loss of the batch.
        logits_per_image (`torch.Tensor` of shape `(num_images, num_texts)`):
            Similarity of every image to every text, on the scale of the model's own loss.
        logits_per_text (`torch.Tensor` of shape `(num_texts, num_images)`):
            The same, transposed.
        image_embeds (`torch.Tensor` of shape `(num_images, projection_dim)`):
            Image embeddings of length 1.
        text_embeds (`torch.Tensor` of shape `(num_texts, projection_dim)`):
            Text embeddings of length 1.
    """

    loss: torch.Tensor | None = None
    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


@dataclass
class GloriaOutput(ImageReportOutput):
    """
    Output of GLoRIA. `logits_per_image` are those of `GloriaModel.score_pairs`, for the texts of `input_ids`; in
    training mode there are none unless asked for.

    Args:
        region_embeds (`torch.Tensor` of shape `(num_images, num_regions, projection_dim)`):
            Regions of every image, row by row, not normalised.
        word_embeds (`torch.Tensor` of shape `(num_texts, num_words, projection_dim)`):
            `[CLS]` and the words of every text, not normalised.
        word_mask (`torch.Tensor` of shape `(num_texts, num_words)`):
            0 at padding.
    """

    region_embeds: torch.Tensor | None = None
    word_embeds: torch.Tensor | None = None
    word_mask: torch.Tensor | None = None


@dataclass
class MgcaOutput(ImageReportOutput):
    """
    Output of [`MgcaModel`]: with the parts of images and texts, for the alignment within a study.

    Args:
        loss (`torch.Tensor` of shape `()`, *optional*, returned when `return_loss=True`):
            Weighted sum of the three losses of the batch.
        logits_per_image (`torch.Tensor` of shape `(num_images, num_texts)`):
            Cosine of every image with every text over the temperature.
        logits_per_text (`torch.Tensor` of shape `(num_texts, num_images)`):
            The same, transposed.
        image_embeds (`torch.Tensor` of shape `(num_images, projection_dim)`):
            Image embeddings of length 1.
        text_embeds (`torch.Tensor` of shape `(num_texts, projection_dim)`):
            Text embeddings of length 1.
        patch_embeds (`torch.Tensor` of shape `(num_images, num_patches, projection_dim)`):
            Patch embeddings, not normalised.
        patch_weights (`torch.Tensor` of shape `(num_images, num_patches)`):
            Importance of the patches; sums to 1 in an image.
        word_embeds (`torch.Tensor` of shape `(num_texts, num_words, projection_dim)`):
            Word embeddings, not normalised, without `[CLS]`; of whole texts only, not of sentences.
        word_weights (`torch.Tensor` of shape `(num_texts, num_words)`):
            Importance of the words; sums to 1 in a text, 0 behind its last word.
        word_mask (`torch.Tensor` of shape `(num_texts, num_words)`):
            0 behind the last word of a text.
    """

    patch_embeds: torch.Tensor | None = None
    patch_weights: torch.Tensor | None = None
    word_embeds: torch.Tensor | None = None
    word_weights: torch.Tensor | None = None
    word_mask: torch.Tensor | None = None
