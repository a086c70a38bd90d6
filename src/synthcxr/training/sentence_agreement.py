"""Images and sentences, where a sentence is right for every image whose report says the same."""

from __future__ import annotations

import torch

from ..models.loss_contrastive import cosine_similarity


def true_sentences(sentences: torch.Tensor, reports: torch.Tensor) -> torch.Tensor:
    """
    Which sentences hold for which images, by what the images' reports say.

    A sentence holds if the report affirms all that it affirms, on the same sides, and nothing that it denies, unless
    the report denies that too. A sentence that speaks of no finding is not known to hold anywhere.

    Args:
        sentences (`torch.Tensor` of shape `(num_sentences, 4 * num_findings)`): Of
            [`~synthcxr.data.finding_statements.statement_vector`].
        reports (`torch.Tensor` of shape `(num_images, 4 * num_findings)`): The same of whole reports.

    Returns:
        `torch.Tensor` of shape `(num_images, num_sentences)`, dtype bool.
    """
    sentences, reports = sentences.float(), reports.float()
    count = sentences.shape[-1] // 4
    missing = (1 - reports[:, : 3 * count]) @ sentences[:, : 3 * count].T
    affirmed = reports[:, :count] * (1 - reports[:, 3 * count :])
    contradicted = affirmed @ sentences[:, 3 * count :].T
    return (missing + contradicted == 0) & (sentences.sum(-1) > 0)


def agreement_loss(
    image_embeds: torch.Tensor, sentence_embeds: torch.Tensor, holds: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    r"""
    Two-way cross-entropy between images and sentences, in which all sentences that hold for an image share its target.

    Of contrastive losses that pair row `i` with row `i` alone, those of sentences are wrong most of the time: "no
    effusion" is as true of most other images. Soft targets by what reports say are MedCLIP's (Wang et al., 2022, arXiv
    2210.10163), there between whole reports; several positives, averaged outside of the logarithm, are those of
    supervised contrastive learning (Khosla et al., 2020, arXiv 2004.11362, equation 2).

    Args:
        image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Image embeddings, normalised here.
        sentence_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
            A sentence of every image's report, then another; normalised here.
        holds (`torch.Tensor` of shape `(batch_size, num_views * batch_size)`, dtype bool):
            Of [`true_sentences`]; an image's own sentences count as true.
        temperature (`float`):
            Divides the cosine similarities.

    Returns:
        `torch.Tensor` of shape `()`: The mean over views and both directions.
    """
    batch_size = len(image_embeds)
    similarity = cosine_similarity(image_embeds, sentence_embeds) / temperature
    logits = similarity.unflatten(1, (-1, batch_size)).transpose(0, 1)  # (num_views, batch_size, batch_size)
    targets = holds.unflatten(1, (-1, batch_size)).transpose(0, 1)
    targets = (targets | torch.eye(batch_size, dtype=torch.bool, device=targets.device)).to(logits.dtype)
    directions = ((logits, targets), (logits.mT, targets.mT))
    losses = [-(target / target.sum(-1, keepdim=True) * each.log_softmax(-1)).sum(-1) for each, target in directions]
    return torch.stack(losses).mean()
