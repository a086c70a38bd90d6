"""Image-report contrastive objectives: plain functions on embeddings, no model imported here."""

import torch
import torch.nn.functional as F


def cosine_similarity(image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
    """
    Cosine of every image with every text, never below single precision.

    Args:
        image_embeds (`torch.Tensor` of shape `(num_images, projection_dim)`):
            Image embeddings, normalised here.
        text_embeds (`torch.Tensor` of shape `(num_texts, projection_dim)`):
            Text embeddings, normalised here.

    Returns:
        `torch.Tensor` of shape `(num_images, num_texts)`: Cosines, -1 to 1.
    """
    # Half precision keeps 2-3 digits: divided by a temperature of 0.07, a cosine would be off by 0.06.
    with torch.autocast(image_embeds.device.type, enabled=False):
        image_embeds = F.normalize(image_embeds.to(torch.promote_types(image_embeds.dtype, torch.float32)), dim=-1)
        text_embeds = F.normalize(text_embeds.to(torch.promote_types(text_embeds.dtype, torch.float32)), dim=-1)
        return image_embeds @ text_embeds.T


def info_nce_loss(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    *,
    temperature: float | torch.Tensor,
    image_to_text_weight: float = 0.5,
    text_to_image_weight: float | None = None,
) -> torch.Tensor:
    r"""
    Two-way cross-entropy that pairs row `i` of the images with row `i` of the texts.

    An image may come with several texts, such as the sentences of its report: every view of the texts is compared
    with the images on its own, and the losses are averaged. So the texts of a study are never each other's negatives.

    Args:
        image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Image embeddings, normalised here.
        text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
            Text embeddings, normalised here: those of the first view, then those of the second, and so on.
        temperature (`float` or `torch.Tensor`):
            Divides the cosine similarities. Lower is sharper.
        image_to_text_weight (`float`, *optional*, defaults to 0.5):
            Weight of the image-to-text direction.
        text_to_image_weight (`float`, *optional*):
            Weight of the text-to-image direction; `1 - image_to_text_weight` when absent.

    Returns:
        `torch.Tensor`: Scalar loss; `log(batch_size)` when the embeddings carry no information and the weights sum
        to 1.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_contrastive import info_nce_loss

    >>> info_nce_loss(torch.eye(4), torch.eye(4), temperature=0.01).item()
    0.0
    >>> round(info_nce_loss(torch.ones(4, 2), torch.ones(4, 2), temperature=1.0).item(), 4)
    1.3863

    ```
    """
    logits_per_image = _similarity_by_view(image_embeds, text_embeds) / temperature
    num_views, batch_size, _ = logits_per_image.shape
    targets = torch.arange(batch_size, device=logits_per_image.device).repeat(num_views)
    if text_to_image_weight is None:
        text_to_image_weight = 1 - image_to_text_weight

    image_to_text = F.cross_entropy(logits_per_image.flatten(0, 1), targets)
    text_to_image = F.cross_entropy(logits_per_image.mT.flatten(0, 1), targets)
    return image_to_text_weight * image_to_text + text_to_image_weight * text_to_image


def sigmoid_loss(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    *,
    temperature: float | torch.Tensor,
    bias: float | torch.Tensor = 0.0,
) -> torch.Tensor:
    r"""
    Binary cross-entropy of every image-text pair on its own (SigLIP, arXiv 2303.15343, equation 2).

    Args:
        image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Image embeddings, normalised here.
        text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
            Text embeddings, normalised here; views as in [`info_nce_loss`].
        temperature (`float` or `torch.Tensor`):
            Divides the cosine similarities. Lower is sharper.
        bias (`float` or `torch.Tensor`, *optional*, defaults to 0.0):
            Added afterwards; strongly negative at first, since `batch_size - 1` of `batch_size` pairs are negative.

    Returns:
        `torch.Tensor`: Scalar loss: summed over the texts of a view, averaged over images and views.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_contrastive import sigmoid_loss

    >>> round(sigmoid_loss(torch.zeros(4, 2), torch.ones(4, 2), temperature=1.0).item(), 4)  # 4 log 2
    2.7726

    ```
    """
    logits_per_image = _similarity_by_view(image_embeds, text_embeds) / temperature + bias
    signs = 2 * torch.eye(len(image_embeds), device=logits_per_image.device, dtype=logits_per_image.dtype) - 1
    return -F.logsigmoid(signs * logits_per_image).sum(dim=-1).mean()


def _similarity_by_view(image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
    """Cosines of shape `(num_views, batch_size, batch_size)`: images down, the texts of one view across."""
    batch_size = len(image_embeds)
    if (
        batch_size == 0
        or len(text_embeds) == 0
        or len(text_embeds) % batch_size
        or image_embeds.shape[1:] != text_embeds.shape[1:]
    ):
        raise ValueError(
            f"The loss pairs row i with row i of every view; got image_embeds {tuple(image_embeds.shape)} and "
            f"text_embeds {tuple(text_embeds.shape)}, expected as many texts as images, or a multiple."
        )
    similarity = cosine_similarity(image_embeds, text_embeds)  # (batch_size, num_views * batch_size)
    return similarity.view(batch_size, -1, batch_size).transpose(0, 1)


def check_pairs(images: torch.Tensor, texts: torch.Tensor, sentences: torch.Tensor | None = None) -> None:
    """
    Refuse a batch whose rows do not pair, before their embeddings are compared.

    Args:
        images (`torch.Tensor` of shape `(batch_size, ...)`):
            Images.
        texts (`torch.Tensor` of shape `(batch_size, ...)`):
            A text of each.
        sentences (`torch.Tensor` of shape `(batch_size, num_sentences, ...)`, *optional*):
            Sentences of each.
    """
    rows = {len(part) for part in (images, texts, sentences) if part is not None}
    if len(rows) > 1:
        raise ValueError(
            f"The loss pairs row i with row i; got {len(images)} images, {len(texts)} texts"
            + (f" and sentences of {len(sentences)}." if sentences is not None else ".")
        )
