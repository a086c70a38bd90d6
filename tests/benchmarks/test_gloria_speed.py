"""
A training step of GLoRIA, and its words, against the straightforward way: one token and one caption at a time.

Equal losses and gradients are asserted, and a loose floor of the ratio of times, which is reported: add
`-o log_cli=true --log-cli-level=INFO`. CPU time, or, where there is a GPU, time on the clock. `-m slow` adds larger
batches and the published sizes.
"""

import logging
import time
from statistics import median

import pytest
import torch
from torch.nn import functional as F
from transformers import set_seed

from synthcxr.models import GloriaConfig, GloriaModel, set_word_pieces
from synthcxr.models.layers_words import WordIndex, sum_word_pieces
from synthcxr.reports import write_report
from synthcxr.simulation import sample_cohort
from synthcxr.training.tokenizer import train_tokenizer


logger = logging.getLogger(__name__)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NUM_PAIRS = 3


def seconds(function):
    if DEVICE == "cpu":
        started = time.process_time()
        function()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(plain, fast, record_property, what, *, floor):
    """Interleaved; both have run before, to be compared. `floor` leaves room for a busy machine."""
    times = [(seconds(plain), seconds(fast)) for _ in range(NUM_PAIRS)]
    ratios = [one / other for one, other in times]
    fastest = min(other for _, other in times)
    message = "%s on %s: %.1f times less time (%.1f to %.1f), %.0f ms"
    logger.info(message, what, DEVICE, median(ratios), min(ratios), max(ratios), 1000 * fastest)
    record_property("ratio", median(ratios))
    assert max(ratios) > floor


def slow_words(states, input_ids, pieces):
    """`[CLS]` and words of every text, one token at a time: `(num_words, dim)` each."""
    texts = []
    for ids, of_text in zip(input_ids, states, strict=True):
        words, parts = [], []
        for entry, state in zip(ids, of_text, strict=True):
            piece = pieces[entry.item()]
            if piece == "[SEP]":
                break
            if parts and not piece.startswith("##"):
                words.append(torch.stack(parts).sum(dim=0))
                parts = []
            parts.append(state)
        words.append(torch.stack(parts).sum(dim=0))
        texts.append(torch.stack(words))
    return texts


def slow_local_loss(regions, words):
    """One caption at a time, repeated for every image."""
    columns = []
    for of_text in words:
        query = of_text.unsqueeze(0).expand(len(regions), -1, -1)
        attention = torch.bmm(regions, query.mT).softmax(dim=-1)
        attention = (4.0 * attention).softmax(dim=1)
        context = torch.bmm(attention.mT, regions)
        columns.append((5.0 * F.cosine_similarity(context, query, dim=-1)).exp().sum(dim=1).log())
    logits = 10.0 * torch.stack(columns, dim=1)
    return two_way(logits)


def two_way(logits):
    targets = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)


def slow_loss(model, batch, pieces):
    vision = model.vision_model(batch["pixel_values"], output_hidden_states=True)
    images = model.visual_projection(vision.pooler_output.flatten(1))
    regions = model.local_projection(vision.hidden_states[-2]).flatten(2).mT
    text = model.text_model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True)
    states = torch.stack(text.hidden_states[-model.config.num_text_layers_summed :]).sum(dim=0)
    words = [model.text_projection(of_text) for of_text in slow_words(states, batch["input_ids"], pieces)]
    mask = batch["attention_mask"].unsqueeze(-1)
    texts = model.text_projection((states * mask).sum(dim=1) / mask.sum(dim=1))
    return slow_local_loss(regions, words) + two_way(10.0 * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T)


def make_texts(num_texts):
    texts = [write_report(spec) for spec in sample_cohort(num_texts, preset="hospital", seed=0)]
    return texts, train_tokenizer(texts, vocab_size=400)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_words_of_48_reports(record_property):
    texts, tokenizer = make_texts(48)
    inputs = tokenizer(texts, padding="max_length", truncation=True, max_length=97, return_tensors="pt").to(DEVICE)
    pieces = {entry: piece for piece, entry in tokenizer.get_vocab().items()}
    word_index = WordIndex(len(tokenizer)).to(DEVICE)
    word_index.set_tokenizer(tokenizer)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(48, 97, 768, generator=generator).to(DEVICE).requires_grad_()
    weight = torch.randn(97, 768, generator=generator).to(DEVICE)
    mask = inputs["attention_mask"].masked_fill(word_index.closing(inputs["input_ids"]), 0)

    def plain():
        texts = slow_words(states, inputs["input_ids"], pieces)
        words = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
        return texts, torch.autograd.grad((words * weight[: words.shape[1]]).sum(), states)[0]

    def fast():
        words, word_mask = sum_word_pieces(states, word_index(inputs["input_ids"], mask))
        return words, word_mask, torch.autograd.grad((words * weight).sum(), states)[0]

    (words, word_mask, gradient), (texts, expected_gradient) = fast(), plain()
    for expected, row, num_words in zip(texts, words, word_mask.sum(dim=1), strict=True):
        torch.testing.assert_close(row[:num_words], expected)
    torch.testing.assert_close(gradient, expected_gradient)
    what = "words of 48 reports of 97 tokens, 768 dimensions, with gradient"
    compare(plain, fast, record_property, what, floor=2.0)


CASES = {
    "tiny, 48 pairs, 64 px": (GloriaConfig.tiny, 48, 64, 1),
    "tiny, 128 pairs, 64 px": (GloriaConfig.tiny, 128, 64, 1),
    "base, 48 pairs, 224 px": (GloriaConfig.base, 48, 224, 3),
}


@pytest.mark.parametrize(
    "case", [next(iter(CASES)), *(pytest.param(case, marks=pytest.mark.slow) for case in [*CASES][1:])]
)
def test_a_training_step(case, record_property):
    make_config, batch_size, size, num_channels = CASES[case]
    texts, tokenizer = make_texts(batch_size)
    set_seed(0)
    model = GloriaModel(make_config(vocab_size=len(tokenizer))).train().to(DEVICE)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # it would draw differently in the two
    model.text_model.config.attention_probs_dropout_prob = 0.0
    set_word_pieces(model, tokenizer)
    pieces = {entry: piece for piece, entry in tokenizer.get_vocab().items()}
    batch = tokenizer(
        texts, padding=True, truncation=True, max_length=97, return_token_type_ids=False, return_tensors="pt"
    )
    batch = {**batch, "pixel_values": torch.randn(batch_size, num_channels, size, size)}
    batch = {name: value.to(DEVICE) for name, value in batch.items()}

    def step(loss):
        return loss.detach(), *torch.autograd.grad(loss, [*model.parameters()])

    def plain():
        return step(slow_loss(model, batch, pieces))

    def fast():
        return step(model(**batch, return_loss=True).loss)

    # Batch normalisation magnifies what single precision rounds off: equal in double, timed in single.
    model.double()
    batch["pixel_values"] = batch["pixel_values"].double()
    expected = plain()
    largest = max(values.abs().max().item() for values in expected[1:])  # some are 0 but for rounding
    for one, other in zip(fast(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9 * largest)
    model.float()
    batch["pixel_values"] = batch["pixel_values"].float()
    compare(plain, fast, record_property, f"step of {case}", floor=1.3)
