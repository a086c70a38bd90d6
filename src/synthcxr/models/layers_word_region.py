r"""
Scores of words against image regions, in little memory, with a backward pass by hand.

Let \\( s \\) be the dot products of one word with the regions of an image, \\( a \\) their attention weights and
\\( G \\) the Gram matrix of the regions. The average \\( c \\) of the regions is never built: its dot product with the
word is \\( a^T s \\) and its squared length \\( a^T G a \\). The cosine of both forgives a factor in \\( a \\), so the
attention need not be normalised.

Regions that differ about a mean of zero, as after a normalisation, cancel in an average of nearly even weights: the
squared length, far below its terms, would be lost in their rounding errors. So the average is written as
\\( c = \sum_j (a_j - \bar a) v_j + S m \\), with \\( S = \sum_j a_j = R \bar a \\) and the mean \\( m \\) of the `R`
regions, which stands behind them as one more row of attention 0. Of the weights only what differs is left then.

Going back, a score is one number per image and text: its slopes are known, but for
the gradient of that number, as soon as it is, and are kept while there is room or else computed again.
"""

from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable


# What the dot products of a chunk may take: a CPU's cache, or enough to fill a GPU. What may be kept for going back.
_CHUNK_BYTES = {"cpu": 2**24, "accelerator": 2**28}
_KEPT_BYTES = {"cpu": 2**30, "accelerator": 2**32}
_NUM_BUFFERS = 5
# Where lengths are known, a shorter text than this share of the longest of a chunk begins the next one.
_FULLNESS = 0.8
# Weights of e^20 leave their squares, summed over any image, far from the largest float.
_MAX_UNNORMALISED = 20.0


class ScoreRule(NamedTuple):
    """How words are compared with regions; see [`word_region_scores`]."""

    attention_temperature: float
    score_temperature: float
    reduction: str
    chunk_size: int | None


class _Chunk(NamedTuple):
    """Texts `start` to `stop`, cut to `num_words`; `padded` when some have fewer."""

    start: int
    stop: int
    num_words: int
    padded: bool


class _Comparison(NamedTuple):
    """A chunk beside all images; the first five are `(num_images, num_regions + 1, num_texts, num_words)`."""

    dots: torch.Tensor
    shares: torch.Tensor  # softmax of the dots over the words
    attention: torch.Tensor  # of the words to the regions, up to a factor per word; 0 for their mean
    products: torch.Tensor  # of the regions with a word's average of them
    scratch: torch.Tensor
    cosines: torch.Tensor  # (num_images, num_texts, num_words), as those below
    weights: torch.Tensor  # slope of the score on the cosine
    inverse_averages: torch.Tensor  # 1 / length of a word's average of the regions
    inverse_words: torch.Tensor  # 1 / length of a word, (num_texts, num_words)


class _Slopes(NamedTuple):
    """Of the scores of a chunk, with what they belong to."""

    dots: torch.Tensor  # (num_images, num_regions + 1, num_texts, num_words): on the dot products
    averages: torch.Tensor  # (num_images, num_texts, num_words): on the squared lengths of the averages, twice
    words: torch.Tensor  # (num_images, num_texts, num_words): on the squared lengths of the words, twice
    attention: torch.Tensor  # of the shape of `dots`: not a slope; `averages` go through it


class WordRegionScores(torch.autograd.Function):
    """Chunks of texts against all images. Differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        regions: torch.Tensor,
        words: torch.Tensor,
        mask: torch.Tensor,
        lengths: list[int] | None,
        rule: ScoreRule,
    ) -> torch.Tensor:
        """
        Score every text against every image.

        Args:
            ctx (`FunctionCtx`):
                For the backward pass.
            regions (`torch.Tensor` of shape `(image_batch_size, num_regions, dim)`):
                Region embeddings.
            words (`torch.Tensor` of shape `(text_batch_size, num_words, dim)`):
                Word embeddings, 0 at padding.
            mask (`torch.Tensor` of shape `(text_batch_size, num_words)`):
                `False` at padding.
            lengths (`list[int]`, *optional*):
                Words of every text, descending, if they are known and come first; else padding is scored and dropped.
            rule ([`ScoreRule`]):
                Temperatures, reduction and chunks.

        Returns:
            `torch.Tensor` of shape `(image_batch_size, text_batch_size)`: Scores.
        """
        differentiable = any(ctx.needs_input_grad)
        regions = torch.cat([regions, regions.mean(dim=1, keepdim=True)], dim=1)
        room = _KEPT_BYTES[_place(regions)] if rule.chunk_size is None else 0
        chunks = _chunks(regions, words, lengths, rule)
        buffers = _buffers(regions, chunks)
        gram = regions @ regions.mT if _by_gram(regions, words) else None
        scores, kept = [], []
        for chunk in chunks:
            size = _size(regions, chunk)
            room -= 2 * size * regions.element_size()
            keeps = differentiable and room >= 0
            own = [regions.new_empty(size) for _ in range(2)] if keeps else buffers[3:]
            score, comparison = _compare(regions, gram, words, mask, chunk, rule, buffers[:3] + own)
            scores.append(score)
            if keeps:
                kept += _slopes(comparison, rule)
        ctx.save_for_backward(regions, words, mask, *kept)
        ctx.chunks, ctx.rule = chunks, rule
        return torch.cat(scores, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """`(image_batch_size, text_batch_size)` to the gradients of regions and words."""
        regions, words, mask, *kept = ctx.saved_tensors
        slopes = [_Slopes(*kept[first : first + 4]) for first in range(0, len(kept), 4)]
        again = len(slopes) < len(ctx.chunks)
        buffers = _buffers(regions, ctx.chunks, number=_NUM_BUFFERS if again else 1)
        by_gram = _by_gram(regions, words)
        gram = regions @ regions.mT if again and by_gram else None
        region_grad, word_grad = torch.zeros_like(regions), torch.zeros_like(words)
        gram_grad = regions.new_zeros(*regions.shape[:2], regions.shape[1]) if by_gram else None
        with torch.autocast(regions.device.type, enabled=False):
            for index, chunk in enumerate(ctx.chunks):
                if index < len(slopes):
                    slope = slopes[index]
                else:
                    slope = _slopes(_compare(regions, gram, words, mask, chunk, ctx.rule, buffers)[1], ctx.rule)
                _descend(slope, grad, regions, words, chunk, (region_grad, word_grad, gram_grad), buffers[0])
            if gram_grad is not None:
                region_grad.baddbmm_(gram_grad, regions)
        # The mean's own row is zero: what goes through it goes through the attention.
        return region_grad[:, :-1], word_grad, None, None, None


def _compare(
    regions: torch.Tensor,
    gram: torch.Tensor | None,
    words: torch.Tensor,
    mask: torch.Tensor,
    chunk: _Chunk,
    rule: ScoreRule,
    buffers: list[torch.Tensor],
) -> tuple[torch.Tensor, _Comparison]:
    """Scores `(num_images, num_texts)` of a chunk, and how they came about, in the buffers."""
    words, mask = words[chunk.start : chunk.stop, : chunk.num_words], mask[chunk.start : chunk.stop, : chunk.num_words]
    shape = (*regions.shape[:2], *words.shape[:2])
    dots, shares, scratch, products, attention = (item[: _size(regions, chunk)].view(shape) for item in buffers)
    empty = ~mask.any(dim=1)
    torch.mm(regions.flatten(0, 1), words.flatten(0, 1).T, out=dots.view(-1, mask.numel()))
    if chunk.padded:
        # A text without words keeps finite numbers; its score is set below.
        torch.add(dots, _minus_infinity(~mask & ~empty.unsqueeze(1), dots.dtype), out=scratch)
    torch.softmax(scratch if chunk.padded else dots, dim=-1, out=shares)
    if rule.attention_temperature <= _MAX_UNNORMALISED:
        torch.mul(shares, rule.attention_temperature, out=attention).exp_()
    else:
        torch.softmax(torch.mul(shares, rule.attention_temperature, out=scratch), dim=1, out=attention)
    attention[:, -1] = 0
    total = attention.sum(dim=1)
    centred = torch.sub(attention, total.unsqueeze(1) / (len(regions[0]) - 1), out=scratch)
    centred[:, -1] = total

    along = torch.mul(centred, dots, out=products).sum(dim=1)
    _times_gram(regions, gram, centred.flatten(2), products.flatten(2))
    squared = torch.mul(centred, products, out=scratch).sum(dim=1)
    # An average shorter than the rounding errors of its terms has no direction.
    longest = regions.square().sum(dim=-1).amax(dim=1)  # (num_images,)
    errors = (torch.finfo(total.dtype).eps * total).square() * longest.view(-1, 1, 1)
    inverse_averages = _inverse_root(squared, errors)
    inverse_words = _inverse_root(words.square().sum(dim=-1))
    unbounded = along * inverse_averages * inverse_words
    cosines = unbounded.clamp(-1, 1)
    exponents = (rule.score_temperature * cosines).masked_fill(~mask, float("-inf"))
    if rule.reduction == "max":
        scores, best = exponents.max(dim=-1)
        weights = torch.zeros_like(cosines).scatter_(-1, best.unsqueeze(-1), rule.score_temperature)
    else:
        scores = exponents.logsumexp(dim=-1)
        weights = (exponents - scores.unsqueeze(-1)).exp() * rule.score_temperature
    weights = weights.masked_fill(~mask | (unbounded != cosines), 0.0)
    lengths = inverse_averages, inverse_words
    comparison = _Comparison(dots, shares, attention, products, scratch, cosines, weights, *lengths)
    return scores.masked_fill(empty, 0.0), comparison


def _slopes(comparison: _Comparison, rule: ScoreRule) -> _Slopes:
    """Overwrites `scratch` and `products`."""
    dots, shares, attention, products, scratch, cosines, weights, inverse_averages, inverse_words = comparison
    along = weights * inverse_averages * inverse_words
    averages = -weights * cosines * inverse_averages.square()
    # What reaches the attention, then what reaches the exponents of the regions' softmax: its normaliser has no
    # gradient, because the cosine does not see it.
    torch.mul(dots, (rule.attention_temperature * along).unsqueeze(1), out=scratch)
    scratch.addcmul_(products, (rule.attention_temperature * averages).unsqueeze(1)).mul_(attention)
    total = torch.mul(scratch, shares, out=products).sum(dim=-1, keepdim=True)
    slope = torch.mul(scratch.sub_(total), shares, out=products)
    slope.addcmul_(attention, along.unsqueeze(1))
    return _Slopes(slope, averages, -weights * cosines * inverse_words.square(), attention)


def _descend(
    slopes: _Slopes,
    grad: torch.Tensor,
    regions: torch.Tensor,
    words: torch.Tensor,
    chunk: _Chunk,
    grads: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
    buffer: torch.Tensor,
) -> None:
    """Add what a chunk sends back to the gradients of the regions, of the words and of the regions' average."""
    region_grad, word_grad, gram_grad = grads
    grad = grad[:, chunk.start : chunk.stop, None]  # (num_images, num_texts, 1)
    words = words[chunk.start : chunk.stop, : chunk.num_words]
    scaled = buffer[: _size(regions, chunk)].view(slopes.dots.shape)

    by_dots = torch.mul(slopes.dots, grad.unsqueeze(1), out=scaled).flatten(2).flatten(0, 1)
    region_grad.view(-1, region_grad.shape[-1]).addmm_(by_dots, words.flatten(0, 1))
    along = (slopes.words * grad).sum(dim=0).unsqueeze(-1) * words
    across = (by_dots.T @ regions.flatten(0, 1)).view(words.shape)
    word_grad[chunk.start : chunk.stop, : chunk.num_words] = along + across

    by_averages = torch.mul(slopes.attention, (slopes.averages * grad).unsqueeze(1), out=scaled).flatten(2)
    attention = slopes.attention.flatten(2).mT
    if gram_grad is None:
        region_grad.baddbmm_(by_averages, attention @ regions)
    else:
        gram_grad.baddbmm_(by_averages, attention)


def _by_gram(regions: torch.Tensor, words: torch.Tensor) -> bool:
    """Is `(V V^T) a`, with one Gram matrix per image, cheaper for all words `a` than `V (V^T a)`?"""
    _, num_regions, dim = regions.shape
    num_words = words.shape[0] * words.shape[1]
    return num_regions * (dim + num_words) < 2 * dim * num_words


def _times_gram(
    regions: torch.Tensor, gram: torch.Tensor | None, attention: torch.Tensor, products: torch.Tensor
) -> None:
    """The Gram matrix times the attention `(num_images, num_regions, num_texts * num_words)`, into `products`."""
    if gram is None:
        torch.bmm(regions, regions.mT @ attention, out=products)
    else:
        torch.bmm(gram, attention, out=products)


def _inverse_root(squared: torch.Tensor, errors: torch.Tensor | float = 0.0) -> torch.Tensor:
    """0 for a vector that is no longer than its errors: it resembles nothing and moves nowhere."""
    return torch.where((squared > torch.finfo(squared.dtype).tiny) & (squared > errors), squared.rsqrt(), 0.0)


def _minus_infinity(where: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros_like(where, dtype=dtype).masked_fill_(where, float("-inf"))


def _chunks(regions: torch.Tensor, words: torch.Tensor, lengths: list[int] | None, rule: ScoreRule) -> list[_Chunk]:
    bytes_per_word = regions.shape[0] * regions.shape[1] * regions.element_size()
    room = _CHUNK_BYTES[_place(regions)]
    chunks, start = [], 0
    while start < len(words):
        num_words = words.shape[1] if lengths is None else max(lengths[start], 1)
        stop = min(start + (rule.chunk_size or max(1, room // (bytes_per_word * num_words))), len(words))
        while lengths is not None and lengths[stop - 1] < _FULLNESS * lengths[start]:
            stop -= 1
        chunks.append(_Chunk(start, stop, num_words, lengths is None or lengths[stop - 1] < num_words))
        start = stop
    return chunks


def _place(tensor: torch.Tensor) -> str:
    return "cpu" if tensor.device.type == "cpu" else "accelerator"


def _size(regions: torch.Tensor, chunk: _Chunk) -> int:
    return regions.shape[0] * regions.shape[1] * (chunk.stop - chunk.start) * chunk.num_words


def _buffers(regions: torch.Tensor, chunks: list[_Chunk], *, number: int = _NUM_BUFFERS) -> list[torch.Tensor]:
    # Allocated once: fresh memory costs a CPU more than the arithmetic that fills it.
    largest = max(_size(regions, chunk) for chunk in chunks)
    return [regions.new_empty(largest) for _ in range(number)]
