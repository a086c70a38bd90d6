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
