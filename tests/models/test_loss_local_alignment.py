"""GLoRIA's and MGCA's local losses: the slow obvious way, and what must hold whatever the embeddings."""

import math
import re

import pytest
import torch
from torch.nn import functional as F

from synthcxr.models import layers_word_region
from synthcxr.models.loss_local_alignment import (
    attention_weights,
    token_alignment_loss,
    two_way_cross_entropy,
    word_region_loss,
    word_region_scores,
)


TEMPERATURES = {"attention_temperature": 4.0, "score_temperature": 5.0}
SHAPES = {  # (batch_size, num_regions, num_words, dim)
    "gram": (4, 9, 7, 16),
    "more-regions-than-channels": (3, 25, 5, 6),
    "one-image": (1, 4, 3, 8),
    "one-word": (3, 4, 1, 8),
    "one-region": (3, 1, 4, 8),
}


def random_batch(shape, *, ragged=True, dtype=torch.float64, seed=0):
    """Regions, words and lengths; the first text is the shortest, the last fills its row."""
    batch_size, num_regions, num_words, dim = shape
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(batch_size, num_regions, dim, generator=generator, dtype=torch.float64)
    words = torch.randn(batch_size, num_words, dim, generator=generator, dtype=torch.float64)
    lengths = torch.linspace(1, num_words, batch_size).long() if ragged else torch.full((batch_size,), num_words)
    mask = torch.arange(num_words) < lengths.unsqueeze(1)
    return regions.to(dtype).requires_grad_(), words.to(dtype).requires_grad_(), mask


def slow_scores(regions, words, mask, reduction="logsumexp", attention_temperature=4.0):
    """One image, one text and one word at a time."""
    rows = []
    for image in regions:
        for text, valid in zip(words, mask.bool(), strict=True):
            present = text[valid]
            over_words = (image @ present.T).softmax(dim=1)  # (num_regions, num_words)
            attention = (attention_temperature * over_words).softmax(dim=0)
            contexts = [(weight.unsqueeze(1) * image).sum(dim=0) for weight in attention.T]
            cosines = [torch.cosine_similarity(*pair, dim=0) for pair in zip(contexts, present, strict=True)]
            cosines = 5.0 * torch.stack(cosines)
            rows.append(cosines.exp().sum().log() if reduction == "logsumexp" else cosines.max())
    return torch.stack(rows).view(len(regions), len(words))


def slow_word_region_loss(regions, words, mask, **kwargs):
    logits = 10.0 * slow_scores(regions, words, mask, **kwargs)
    targets = range(len(logits))
    to_texts = sum(-logits[i].log_softmax(dim=0)[i] for i in targets) / len(logits)
    return to_texts + sum(-logits[:, i].log_softmax(dim=0)[i] for i in targets) / len(logits)


def assert_equal_with_gradients(fast, slow, inputs, tolerance=1e-8):
    torch.testing.assert_close(fast.double(), slow.double(), rtol=tolerance, atol=tolerance)
    gradients = [[item.double() for item in torch.autograd.grad(loss, inputs)] for loss in (fast, slow)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1.0, other.abs().max().item()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("chunk_size", [None, 1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
def test_word_region_loss_equals_the_slow_loop(shape, ragged, chunk_size, dtype, tolerance):
    regions, words, mask = random_batch(SHAPES[shape], ragged=ragged, dtype=dtype)
    fast = word_region_loss(regions, words, mask, loss_temperature=10.0, chunk_size=chunk_size, **TEMPERATURES)
    slow = slow_word_region_loss(regions.double(), words.double(), mask)
    assert_equal_with_gradients(fast, slow, (regions, words), tolerance)


@pytest.mark.parametrize("reduction", ["logsumexp", "max"])
@pytest.mark.parametrize("attention_temperature", [0.0, 4.0, 500.0])
def test_scores_of_every_image_with_every_text_equal_the_slow_loop(reduction, attention_temperature):
    regions, _, _ = random_batch((3, 9, 1, 8))
    _, words, mask = random_batch((5, 1, 6, 8), seed=1)
    fast = word_region_scores(
        regions, words, mask, attention_temperature=attention_temperature, score_temperature=5.0, reduction=reduction
    )
    slow = slow_scores(regions, words, mask, reduction, attention_temperature)
    weights = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert_equal_with_gradients((weights * fast).sum(), (weights * slow).sum(), (regions, words))


@pytest.mark.parametrize("room", [0, 1500])
def test_what_is_kept_for_the_backward_pass_changes_nothing(room, monkeypatch):
    """With room for nothing, for some chunks or for all of them; in chunks of one text or of several."""
    inputs = random_batch(SHAPES["gram"])
    expected = word_region_loss(*inputs, loss_temperature=10.0, **TEMPERATURES)
    monkeypatch.setitem(layers_word_region._KEPT_BYTES, "cpu", 8 * room)
    monkeypatch.setitem(layers_word_region._CHUNK_BYTES, "cpu", 8 * 4 * 9 * 8)
    fast = word_region_loss(*inputs, loss_temperature=10.0, **TEMPERATURES)
    assert_equal_with_gradients(fast, expected, inputs[:2])


def test_a_second_backward_pass_gives_the_same_gradient():
    regions, words, mask = random_batch(SHAPES["gram"])
    loss = word_region_loss(regions, words, mask, loss_temperature=10.0, **TEMPERATURES)
    first = torch.autograd.grad(loss, (regions, words), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, (regions, words)), first, rtol=0, atol=0)


@pytest.mark.parametrize("filling", [0.0, 1e4, float("nan")])
def test_padding_may_hold_anything_anywhere(filling):
    """Padding before, between and after the words, such as a class token that is left out."""
    regions, words, _ = random_batch((3, 9, 4, 8), ragged=False)
    places = torch.tensor([1, 2, 5, 7])
    padded, mask = torch.full((3, 9, 8), filling, dtype=torch.float64), torch.zeros(3, 9, dtype=torch.long)
    padded[:, places], mask[:, places] = words.detach(), 1
    padded.requires_grad_()
    plain = word_region_loss(regions, words, torch.ones(3, 4), loss_temperature=10.0, **TEMPERATURES)
    fast = word_region_loss(regions, padded, mask, loss_temperature=10.0, **TEMPERATURES)
    torch.testing.assert_close(fast, plain)
    expected, gradient = torch.autograd.grad(plain, words)[0], torch.autograd.grad(fast, padded)[0]
    torch.testing.assert_close(gradient[:, places], expected)
    assert gradient[mask == 0].eq(0).all()


def test_with_one_region_every_word_attends_to_it():
    regions, words, mask = random_batch((3, 1, 6, 8), ragged=False)
    cosines = torch.cosine_similarity(regions[:, None], words[None], dim=-1)  # (num_images, num_texts, num_words)
    scores = word_region_scores(regions, words, mask, **TEMPERATURES)
    torch.testing.assert_close(scores, (5 * cosines).logsumexp(dim=-1))


@pytest.mark.parametrize("num_words", [1, 4, 97])
def test_words_that_are_the_regions_score_five_and_the_logarithm_of_their_number(num_words):
    vector = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    regions, words = vector.expand(1, 9, 8), vector.expand(1, num_words, 8)
    scores = [
        word_region_scores(regions, words, torch.ones(1, num_words), reduction=reduction, **TEMPERATURES).item()
        for reduction in ("logsumexp", "max")
    ]
    assert scores == pytest.approx([math.log(num_words) + 5, 5])


def test_a_text_without_words_scores_nothing_and_moves_nothing():
    regions, words, mask = random_batch(SHAPES["gram"])
    mask[2] = False
    scores = word_region_scores(regions, words, mask, **TEMPERATURES)
    assert scores[:, 2].eq(0).all()
    gradients = torch.autograd.grad(scores.sum(), (regions, words))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[1][2].eq(0).all()


def test_vectors_of_length_zero_have_no_gradient_rather_than_a_wrong_one():
    regions, words, mask = random_batch(SHAPES["gram"], ragged=False, dtype=torch.float32)
    regions.data[0], words.data[1, 2] = 0, 0
    scores = word_region_scores(regions, words, mask, **TEMPERATURES)
    torch.testing.assert_close(scores[0], torch.full((4,), math.log(7)))
    assert all(item.isfinite().all() for item in torch.autograd.grad(scores.sum(), (regions, words)))


def regions_around_zero(dtype=torch.float32):
    """As after a normalisation: their sum is nothing but rounding errors."""
    generator = torch.Generator().manual_seed(0)
    regions = torch.randn(3, 49, 128, generator=generator, dtype=torch.float64)
    words = torch.randn(3, 20, 128, generator=generator, dtype=torch.float64)
    return (regions - regions.mean(dim=1, keepdim=True)).to(dtype), words.to(dtype), torch.ones(3, 20)


@pytest.mark.parametrize("attention_temperature", [4.0, 30.0])
@pytest.mark.parametrize("reduction", ["logsumexp", "max"])
@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-3, 1e-4])
def test_an_average_of_regions_that_cancel_keeps_its_direction(scale, reduction, attention_temperature):
    """Short words attend almost evenly: the average has a hundred-thousandth of the length of its terms."""
    regions, words, mask = regions_around_zero()
    regions.requires_grad_(), words.mul_(scale).requires_grad_()
    fast = word_region_scores(
        regions, words, mask, attention_temperature=attention_temperature, score_temperature=5.0, reduction=reduction
    )
    slow = slow_scores(regions.double(), words.double(), mask, reduction, attention_temperature)
    torch.testing.assert_close(fast.double(), slow, rtol=0, atol=1e-3)
    weights = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((weights * scores).sum(), (regions, words)) for scores in (fast, slow)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.01 * other.abs().max().item())


@pytest.mark.parametrize("scale", [1e-5, 1e-6, 1e-7, 1e-8, 0.0])
def test_no_word_fits_better_than_perfectly_whatever_is_left_of_its_average(scale):
    regions, words, mask = regions_around_zero()
    regions.requires_grad_(), words.mul_(scale).requires_grad_()
    scores = word_region_scores(regions, words, mask, reduction="max", **TEMPERATURES)
    assert scores.abs().max() <= 5.0
    assert all(item.isfinite().all() for item in torch.autograd.grad(scores.sum(), (regions, words)))


def test_where_rounding_passes_the_best_cosine_the_slope_is_zero():
    """A word that equals the only region has nowhere to go."""
    vectors = torch.randn(64, 1, 24, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scores = word_region_scores(vectors, vectors.detach(), torch.ones(64, 1), reduction="max", **TEMPERATURES)
    assert scores.max() <= 5.0
    assert torch.autograd.grad(scores.diagonal().sum(), vectors)[0].abs().max() < 1e-5


def test_an_average_that_is_nothing_but_rounding_errors_moves_nothing():
    regions, _, mask = regions_around_zero()
    regions.requires_grad_()
    words = torch.randn(128, generator=torch.Generator().manual_seed(1)).expand(3, 20, 128)  # even attention
    scores = word_region_scores(regions, words, mask, reduction="max", **TEMPERATURES)
    assert scores.eq(0).all()
    assert torch.autograd.grad(scores.sum(), regions)[0].eq(0).all()


def test_a_loss_of_a_matrix_wants_as_many_images_as_texts():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    rows, columns = logits.log_softmax(dim=1).diagonal().mean(), logits.log_softmax(dim=0).diagonal().mean()
    torch.testing.assert_close(two_way_cross_entropy(logits), -rows - columns)
    with pytest.raises(ValueError, match="4 images, 5 texts"):
        two_way_cross_entropy(logits[:4])


def test_half_precision_is_worked_on_in_single():
    regions, words, mask = random_batch(SHAPES["gram"], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast = word_region_loss(regions, words, mask, loss_temperature=10.0, **TEMPERATURES)
        gradients = torch.autograd.grad(fast, (regions, words))
    slow = slow_word_region_loss(regions.double(), words.double(), mask)
    torch.testing.assert_close(fast.double(), slow, rtol=1e-5, atol=1e-5)
    expected = torch.autograd.grad(slow, (regions, words))
    torch.testing.assert_close(gradients, expected, rtol=2e-2, atol=1e-3)


def test_scores_compile_without_a_graph_break():
    """The form without sorting, for devices whose lengths nobody waits for, is what the compiler sees."""
    inputs = random_batch(SHAPES["gram"])
    inputs[2][1] = False

    def loss(regions, words, mask):
        return word_region_scores(regions, words, mask, chunk_size=4, **TEMPERATURES).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    assert_equal_with_gradients(compiled(*inputs), loss(*inputs), inputs[:2])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 4, 3), (3, 5, 3), (3, 5)), "2 images, 3 texts"),
        (((2, 4, 3), (2, 5, 4), (2, 5)), "region_embeds (2, 4, 3), word_embeds (2, 5, 4)"),
        (((2, 4, 3), (2, 5, 3), (2, 4)), "word_mask (2, 4)"),
        (((2, 4, 3), (2, 0, 3), (2, 0)), "none empty"),
    ],
)
def test_words_and_regions_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        word_region_loss(*(torch.ones(shape) for shape in shapes), loss_temperature=10.0, **TEMPERATURES)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"chunk_size": 0}, "at least 1; got 0"), ({"reduction": "sum"}, "Unknown reduction 'sum'")]
)
def test_unknown_ways_to_score_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        word_region_scores(*(item.detach() for item in random_batch(SHAPES["gram"])), **TEMPERATURES, **wrong)


def slow_token_alignment(patches, tokens, weights, mask, temperature, patch_weights, *, padding_as_negatives=False):
    """One report and one row at a time."""
    patches, tokens = F.normalize(patches, dim=-1), F.normalize(tokens, dim=-1)
    total = 0
    for i in range(len(patches)):
        valid = mask[i].bool()
        asked = tokens[i] if padding_as_negatives else tokens[i][valid]
        weight = weights[i] if padding_as_negatives else weights[i][valid]
        answers = F.normalize((asked @ patches[i].T / temperature).softmax(dim=1) @ patches[i], dim=-1)
        total = total + slow_pairs(asked, answers, weight / weight.sum(), temperature)
        answers = (patches[i] @ tokens[i][valid].T / temperature).softmax(dim=1) @ tokens[i][valid]
        weight = patch_weights[i] / patch_weights[i].sum()
        total = total + slow_pairs(patches[i], F.normalize(answers, dim=-1), weight, temperature)
    return total / len(patches)


def slow_pairs(asked, answers, weights, temperature):
    similarity = asked @ answers.T / temperature
    there = [-similarity[j].log_softmax(dim=0)[j] for j in range(len(asked))]
    back = [-similarity[:, j].log_softmax(dim=0)[j] for j in range(len(asked))]
    return sum(weight * (one + other) / 2 for weight, one, other in zip(weights, there, back, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("kept", [False, True], ids=["masked", "padding_as_negatives"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
def test_token_alignment_loss_equals_the_slow_loop(shape, ragged, temperature, kept, dtype, tolerance):
    patches, tokens, mask = random_batch(SHAPES[shape], ragged=ragged, dtype=dtype)
    weights = mask * torch.rand(mask.shape, generator=torch.Generator().manual_seed(1), dtype=dtype).add(0.1)
    patch_weights = torch.rand(patches.shape[:2], generator=torch.Generator().manual_seed(2), dtype=dtype)
    fast = token_alignment_loss(
        patches, tokens, weights, temperature=temperature, patch_weights=patch_weights, padding_as_negatives=kept
    )
    slow = slow_token_alignment(
        *(item.double() for item in (patches, tokens, weights)),
        mask,
        temperature,
        patch_weights.double(),
        padding_as_negatives=kept,
    )
    assert_equal_with_gradients(fast, slow, (patches, tokens), tolerance)


def test_patches_weigh_the_same_unless_told_otherwise():
    patches, tokens, mask = random_batch(SHAPES["gram"])
    uniform = torch.full(patches.shape[:2], 3.0)
    plain = token_alignment_loss(patches, tokens, mask, temperature=0.1)
    torch.testing.assert_close(
        plain, token_alignment_loss(patches, tokens, mask, temperature=0.1, patch_weights=uniform)
    )


def test_tokens_of_weight_zero_stay_negatives_when_a_mask_says_so():
    patches, tokens, mask = random_batch(SHAPES["gram"], ragged=False)
    weights = torch.ones(mask.shape, dtype=torch.float64)
    weights[:, 2] = 0
    fast = token_alignment_loss(patches, tokens, weights, temperature=0.1, token_mask=mask)
    slow = slow_token_alignment(patches, tokens, weights, mask, 0.1, torch.ones(patches.shape[:2]))
    assert_equal_with_gradients(fast, slow, (patches, tokens))
    assert fast.item() != pytest.approx(token_alignment_loss(patches, tokens, weights, temperature=0.1).item())


@pytest.mark.parametrize("filling", [0.0, 5.0, float("nan")])
def test_the_length_that_reports_are_padded_to_changes_nothing(filling):
    patches, tokens, mask = random_batch(SHAPES["gram"])
    longer = torch.full((4, 11, 16), filling, dtype=torch.float64)
    longer[:, :7] = tokens.detach().masked_fill(~mask.unsqueeze(-1), filling)
    longer.requires_grad_()
    plain = token_alignment_loss(patches, tokens, mask, temperature=0.1)
    fast = token_alignment_loss(patches, longer, F.pad(mask, (0, 4)), temperature=0.1)
    torch.testing.assert_close(fast, plain)
    gradient = torch.autograd.grad(fast, longer)[0]
    torch.testing.assert_close(gradient[:, :7], torch.autograd.grad(plain, tokens)[0])
    assert gradient[:, 7:].eq(0).all()


def test_padding_is_a_negative_only_when_asked_for():
    patches, tokens, mask = random_batch(SHAPES["gram"])
    longer, more = F.pad(tokens, (0, 0, 0, 4)), F.pad(mask, (0, 4))
    losses = [
        [token_alignment_loss(patches, *texts, temperature=0.1, padding_as_negatives=kept) for kept in (False, True)]
        for texts in ((tokens, mask), (longer, more))
    ]
    assert losses[0][0].item() == pytest.approx(losses[1][0].item())
    assert losses[0][0] < losses[0][1] < losses[1][1]


def test_half_precision_tokens_are_worked_on_in_single():
    """Against the slow loop in double precision; the gradients end in three digits, those of their dtype."""
    patches, tokens, mask = random_batch(SHAPES["gram"], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast = token_alignment_loss(patches, tokens, mask, temperature=0.1)
    gradients = torch.autograd.grad(fast, (patches, tokens))
    inputs = [item.detach().double().requires_grad_() for item in (patches, tokens)]
    slow = slow_token_alignment(*inputs, mask.double(), mask, 0.1, torch.ones(patches.shape[:2]))
    torch.testing.assert_close(fast.double(), slow, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradients, torch.autograd.grad(slow, inputs), strict=True):
        assert other.abs().max() > 0.01
        torch.testing.assert_close(one.double(), other, rtol=2**-8, atol=1e-6)


def test_token_alignment_compiles_without_a_graph_break():
    inputs = random_batch(SHAPES["gram"])

    def loss(patches, tokens, mask):
        return token_alignment_loss(patches, tokens, attention_weights(mask / 2, mask), temperature=0.1)

    assert_equal_with_gradients(
        torch.compile(loss, fullgraph=True, backend="eager")(*inputs), loss(*inputs), inputs[:2]
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"token_embeds": torch.ones(4, 7, 15)}, "token_embeds (4, 7, 15)"),
        ({"token_weights": torch.ones(4, 6)}, "token_weights (4, 6)"),
    ],
)
def test_tokens_that_cannot_be_aligned_are_refused(wrong, message):
    patches, tokens, mask = random_batch(SHAPES["gram"])
    with pytest.raises(ValueError, match=re.escape(message)):
        token_alignment_loss(
            **{"token_weights": mask, "token_embeds": tokens, **wrong}, patch_embeds=patches, temperature=1
        )


@pytest.mark.parametrize("quantiles", [(0.1, 0.9), (0.0, 1.0), (0.25, 0.25)])
@pytest.mark.parametrize("num_tokens", [1, 2, 30])
def test_weights_are_clipped_to_the_quantiles_of_their_own_sample(quantiles, num_tokens):
    attention = torch.rand(6, num_tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.arange(num_tokens) < torch.linspace(1, num_tokens, 6).long().unsqueeze(1)
    weights = attention_weights(attention, mask, low=quantiles[0], high=quantiles[1])
    for row, valid, weight in zip(attention, mask, weights, strict=True):
        own = row[valid]
        clipped = own.clamp(*(torch.quantile(own, share) for share in quantiles))
        torch.testing.assert_close(weight[valid], clipped / clipped.sum())
        assert weight[~valid].eq(0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6, dtype=torch.float64))


def test_a_sample_without_tokens_has_no_weights():
    weights = attention_weights(torch.rand(2, 4), torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]]))
    assert weights[0].eq(0).all()
    assert weights[1].sum().item() == pytest.approx(1)


def test_quantiles_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match=r"low 0.9 and high 0.1"):
        attention_weights(torch.rand(2, 4), torch.ones(2, 4), low=0.9, high=0.1)
