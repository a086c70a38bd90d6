"""Objectives between parts of an image and words: GLoRIA (Huang et al., ICCV 2021), MGCA (arXiv 2210.06044)."""

from typing import Literal

import torch
from torch.nn import functional as F

from .layers_word_region import ScoreRule, WordRegionScores


def word_region_loss(
    region_embeds: torch.Tensor,
    word_embeds: torch.Tensor,
    word_mask: torch.Tensor,
    *,
    attention_temperature: float,
    score_temperature: float,
    loss_temperature: float,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """
    Two-way cross-entropy on how well the words of report `i` are found among the regions of image `i` (GLoRIA).

    Args:
        region_embeds (`torch.Tensor` of shape `(batch_size, num_regions, dim)`):
            Region embeddings, not normalised.
        word_embeds (`torch.Tensor` of shape `(batch_size, num_words, dim)`):
            Word embeddings of the same studies, not normalised.
        word_mask (`torch.Tensor` of shape `(batch_size, num_words)`):
            0 at padding, which changes nothing, whatever it holds.
        attention_temperature (`float`):
            As for [`word_region_scores`].
        score_temperature (`float`):
            As for [`word_region_scores`].
        loss_temperature (`float`):
            Multiplies the scores.
        chunk_size (`int`, *optional*):
            As for [`word_region_scores`].

    Returns:
        `torch.Tensor` of shape `()`: Image-to-text plus text-to-image loss; `2 log(batch_size)` when the embeddings
        carry no information.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_local_alignment import word_region_loss

    >>> temperatures = {"attention_temperature": 4.0, "score_temperature": 5.0, "loss_temperature": 10.0}
    >>> regions, words, mask = torch.ones(4, 9, 8), torch.ones(4, 5, 8), torch.ones(4, 5)
    >>> round(word_region_loss(regions, words, mask, **temperatures).item(), 4)  # 2 log 4
    2.7726

    ```
    """
    scores = word_region_scores(
        region_embeds,
        word_embeds,
        word_mask,
        attention_temperature=attention_temperature,
        score_temperature=score_temperature,
        chunk_size=chunk_size,
    )
    return two_way_cross_entropy(loss_temperature * scores)


def two_way_cross_entropy(logits: torch.Tensor) -> torch.Tensor:
    """
    Every row must find itself among the columns, and every column itself among the rows.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, batch_size)`):
            Images down, texts across; image `i` and text `i` belong together.

    Returns:
        `torch.Tensor` of shape `()`: Image-to-text plus text-to-image loss, each a mean over the batch.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_local_alignment import two_way_cross_entropy

    >>> round(two_way_cross_entropy(torch.zeros(4, 4)).item(), 4)  # 2 log 4
    2.7726

    ```
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"The loss pairs row i with row i; got {logits.shape[0]} images, {logits.shape[-1]} texts.")
    targets = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)


def word_region_scores(
    region_embeds: torch.Tensor,
    word_embeds: torch.Tensor,
    word_mask: torch.Tensor,
    *,
    attention_temperature: float,
    score_temperature: float,
    reduction: Literal["logsumexp", "max"] = "logsumexp",
    chunk_size: int | None = None,
) -> torch.Tensor:
    r"""
    How well the words of every text are found among the regions of every image (GLoRIA's local similarity).

    The dot products of a text's words with an image's regions pass a softmax over the words, then, multiplied by
    `attention_temperature`, a softmax over the regions. Each word is compared with its average of the regions. This is
    what the authors' code computes; it has not been compared with the formulas of their paper.

    Only dot products are stored: with `G` the Gram matrix of an image's regions, an average `a` of them has the length
    \\( \sqrt{a^T G a} \\). Nothing waits for the device; on the CPU, texts of similar
    length go together, so that little padding is computed.

    Args:
        region_embeds (`torch.Tensor` of shape `(num_images, num_regions, dim)`):
            Region embeddings, not normalised.
        word_embeds (`torch.Tensor` of shape `(num_texts, num_words, dim)`):
            Word embeddings, not normalised.
        word_mask (`torch.Tensor` of shape `(num_texts, num_words)`):
            0 at padding, which changes nothing, whatever it holds.
        attention_temperature (`float`):
            Multiplies what the softmax over words gives, 0 or more. Higher attends to fewer regions.
        score_temperature (`float`):
            Multiplies the cosine of a word with its regions, above 0.
        reduction (`str`, *optional*, defaults to `"logsumexp"`):
            Over the words: `"logsumexp"` in training, `"max"` in the authors' inference.
        chunk_size (`int`, *optional*):
            Texts at a time, at least 1; the rest of the work is repeated in the backward pass, so that memory grows
            with the chunk only. When absent, chunks suit the cache, and up to 1 GiB (4 GiB on a GPU) is kept for the
            backward pass.

    Returns:
        `torch.Tensor` of shape `(num_images, num_texts)`: Scores in single precision at least; 0 for a text without
        words.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_local_alignment import word_region_scores

    >>> temperatures = {"attention_temperature": 4.0, "score_temperature": 5.0}
    >>> scores = word_region_scores(torch.ones(2, 9, 8), torch.ones(3, 4, 8), torch.ones(3, 4), **temperatures)
    >>> scores[0]  # 5 + log 4
    tensor([6.3863, 6.3863, 6.3863])

    ```
    """
    _check_words(region_embeds, word_embeds, word_mask)
    if reduction not in ("logsumexp", "max"):
        raise ValueError(f"Unknown reduction {reduction!r}; expected 'logsumexp' or 'max'.")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {chunk_size}.")
    with torch.autocast(region_embeds.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(region_embeds.dtype, word_embeds.dtype), torch.float32)
        mask = word_mask.bool()
        regions, words = region_embeds.to(dtype), word_embeds.to(dtype).masked_fill(~mask.unsqueeze(-1), 0.0)
        rule = ScoreRule(attention_temperature, score_temperature, reduction, chunk_size)
        if words.device.type != "cpu" or torch.compiler.is_compiling():  # to look at the lengths would be to wait
            return WordRegionScores.apply(regions, words, mask, None, rule)
        lengths, longest_first = mask.sum(dim=1).sort(descending=True, stable=True)
        words_first = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        order = longest_first.unsqueeze(1), words_first[longest_first]
        scores = WordRegionScores.apply(regions, words[order], mask[order], lengths.tolist(), rule)
        return scores[:, longest_first.argsort()]


def token_alignment_loss(
    patch_embeds: torch.Tensor,
    token_embeds: torch.Tensor,
    token_weights: torch.Tensor,
    *,
    temperature: float,
    patch_weights: torch.Tensor | None = None,
    token_mask: torch.Tensor | None = None,
    padding_as_negatives: bool = False,
) -> torch.Tensor:
    """
    Align words with the patches that they attend to, within each report (MGCA, cross-attention token alignment).

    A word asks the patches for an average, weighted by a softmax of their cosines, and must find its own answer among
    those of all words of the report; the answers must find their words. Patches ask the words likewise.

    Args:
        patch_embeds (`torch.Tensor` of shape `(batch_size, num_patches, dim)`):
            Patch embeddings, normalised here.
        token_embeds (`torch.Tensor` of shape `(batch_size, num_tokens, dim)`):
            Token embeddings of the same studies, normalised here.
        token_weights (`torch.Tensor` of shape `(batch_size, num_tokens)`):
            Importance of every token, 0 at padding; made to sum to 1 here. See [`attention_weights`].
        temperature (`float`):
            Divides the cosines of attention and of loss, above 0.
        patch_weights (`torch.Tensor` of shape `(batch_size, num_patches)`, *optional*):
            Importance of every patch, made to sum to 1 here; uniform when absent.
        token_mask (`torch.Tensor` of shape `(batch_size, num_tokens)`, *optional*):
            0 at padding. When absent, the tokens of weight 0 are padding: enough for clipped weights, whose smallest
            is positive; hand it in where a real token may have weight 0 and still shall be a negative.
        padding_as_negatives (`bool`, *optional*, defaults to `False`):
            Keep padded positions, whatever they hold, among the negatives of the words, as the authors' code does; the
            loss then depends on the length that a batch was padded to. The weights stay the caller's, and patches
            never ask padding.

    Returns:
        `torch.Tensor` of shape `()`: Loss of the words plus loss of the patches, each a mean of both directions,
        averaged over the batch.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_local_alignment import token_alignment_loss

    >>> patches, tokens = torch.ones(2, 4, 3), torch.ones(2, 8, 3)
    >>> round(token_alignment_loss(patches, tokens, torch.ones(2, 8), temperature=0.1).item(), 4)  # log 4 + log 8
    3.4657

    ```
    """
    _check_tokens(patch_embeds, token_embeds, token_weights)
    absent = token_weights == 0 if token_mask is None else token_mask == 0
    with torch.autocast(patch_embeds.device.type, enabled=False):
        patches = F.normalize(_at_least_single(patch_embeds), dim=-1)
        tokens = _at_least_single(token_embeds)
        if not padding_as_negatives:
            tokens = tokens.masked_fill(absent.unsqueeze(-1), 0.0)
        tokens = F.normalize(tokens, dim=-1)
        dots = tokens @ patches.mT / temperature  # (batch_size, num_tokens, num_patches)
        of_tokens = F.normalize(dots.softmax(dim=-1) @ patches, dim=-1)
        dots = dots.masked_fill(absent.unsqueeze(-1), torch.finfo(dots.dtype).min)
        of_patches = F.normalize(dots.mT.softmax(dim=-1) @ tokens, dim=-1)

        among_tokens = tokens @ of_tokens.mT / temperature
        if not padding_as_negatives:
            outside = absent.unsqueeze(1) | absent.unsqueeze(2)
            among_tokens = among_tokens.masked_fill(outside, torch.finfo(dots.dtype).min)
        among_patches = patches @ of_patches.mT / temperature
        if patch_weights is None:
            patch_weights = torch.ones_like(among_patches[:, 0])
        token_loss = _diagonal_cross_entropy(among_tokens, token_weights.masked_fill(absent, 0.0))
        return token_loss + _diagonal_cross_entropy(among_patches, patch_weights)


def attention_weights(
    cls_attention: torch.Tensor, mask: torch.Tensor, *, low: float = 0.1, high: float = 0.9
) -> torch.Tensor:
    """
    Importance of tokens or patches from the attention that the class token pays them (MGCA), without gradient.

    Args:
        cls_attention (`torch.Tensor` of shape `(batch_size, num_tokens)`):
            Attention of the class token, averaged over heads, 0 to 1.
        mask (`torch.Tensor` of shape `(batch_size, num_tokens)`):
            0 at padding.
        low (`float`, *optional*, defaults to 0.1):
            Quantile of a sample's own tokens below which a weight is raised to it, 0 to `high`.
        high (`float`, *optional*, defaults to 0.9):
            Quantile above which a weight is lowered to it, `low` to 1.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_tokens)`: Weights that sum to 1 in every sample; 0 at padding.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_local_alignment import attention_weights

    >>> attention_weights(torch.tensor([[0.1, 0.5, 0.9, 7.0]]), torch.tensor([[1, 1, 1, 0]]), low=0.5, high=1.0)
    tensor([[0.2632, 0.2632, 0.4737, 0.0000]])

    ```
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"Quantiles must rise from 0 to 1; got low {low} and high {high}.")
    values = _at_least_single(cls_attention.detach())
    padding = mask == 0
    ascending = values.masked_fill(padding, float("inf")).sort(dim=-1).values  # padding last
    last = (~padding).sum(dim=-1, keepdim=True).sub(1).clamp(min=0)

    def quantile(share: float) -> torch.Tensor:
        position = share * last.to(values.dtype)
        below, above = (ascending.gather(-1, index.long()) for index in (position.floor(), position.ceil()))
        return below.lerp(above, position.frac())

    clipped = values.clamp(min=quantile(low), max=quantile(high)).masked_fill(padding, 0.0)
    return clipped / clipped.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)


def _diagonal_cross_entropy(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Rows and columns of `(batch_size, length, length)` must find themselves; weighted within a sample."""
    weights = weights.to(logits.dtype)
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(logits.dtype).tiny)
    # Halved first: at padding all logits are the smallest number, and twice that is infinite.
    normalisers = logits.logsumexp(dim=-1) / 2 + logits.logsumexp(dim=-2) / 2
    return (weights * (normalisers - logits.diagonal(dim1=-2, dim2=-1))).sum(dim=-1).mean()


def _at_least_single(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision keeps 2-3 digits, too few for what a temperature divides."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _check_tokens(patch_embeds: torch.Tensor, token_embeds: torch.Tensor, token_weights: torch.Tensor) -> None:
    if (
        len(patch_embeds) != len(token_embeds)
        or patch_embeds.shape[-1] != token_embeds.shape[-1]
        or token_weights.shape != token_embeds.shape[:2]
        or 0 in token_embeds.shape
    ):
        raise ValueError(
            f"The loss pairs sample i with sample i; got patch_embeds {tuple(patch_embeds.shape)}, token_embeds "
            f"{tuple(token_embeds.shape)} and token_weights {tuple(token_weights.shape)}."
        )


def _check_words(region_embeds: torch.Tensor, word_embeds: torch.Tensor, word_mask: torch.Tensor) -> None:
    if (
        region_embeds.ndim != 3
        or region_embeds.shape[-1] != word_embeds.shape[-1]
        or word_mask.shape != word_embeds.shape[:2]
        or 0 in (*region_embeds.shape, *word_embeds.shape)
    ):
        raise ValueError(
            f"Got region_embeds {tuple(region_embeds.shape)}, word_embeds {tuple(word_embeds.shape)} and word_mask "
            f"{tuple(word_mask.shape)}; expected (num_images, num_regions, dim), (num_texts, num_words, dim) and "
            "(num_texts, num_words), none empty."
        )
