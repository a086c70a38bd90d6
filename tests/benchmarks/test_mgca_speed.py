"""
A whole training step of MGCA against the straightforward one, which keeps the attention maps of all layers, joins word
pieces token by token and takes quantiles and alignments study by study.

Both compute the same loss and gradients, which is asserted, and so is a loose floor of the ratio of CPU times: 1.9 to
2.2 at 32 pairs, since the towers are most of a step. It is reported: add `-o log_cli=true --log-cli-level=INFO`.
`python tests/benchmarks/test_mgca_speed.py` measures more sizes.
"""

import logging
import time
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F
from transformers import set_seed

from synthcxr.models import MgcaConfig, MgcaModel
from synthcxr.models.layers_towers import image_states, pool_text
from synthcxr.models.layers_words import set_word_pieces
from synthcxr.reports import write_report
from synthcxr.simulation import sample_cohort
from synthcxr.training.tokenizer import train_tokenizer


logger = logging.getLogger(__name__)

NUM_PAIRS = 3


def make_step(batch_size, image_size=64, **kwargs):
    """A model, its tokenizer and a batch of simulated reports with noise for images."""
    set_seed(0)
    texts = [write_report(spec) for spec in sample_cohort(batch_size, preset="balanced", seed=0)]
    tokenizer = train_tokenizer(texts, vocab_size=500)
    model = MgcaModel(MgcaConfig.tiny(vocab_size=len(tokenizer), **kwargs)).train()
    set_word_pieces(model, tokenizer)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=96, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    batch["pixel_values"] = torch.randn(batch_size, 1, image_size, image_size)
    return model, tokenizer, batch


def clipped(values):
    """Weights of one study."""
    values = values.clip(torch.quantile(values, 0.1), torch.quantile(values, 0.9))
    return values / values.sum()


def join_pieces(states, attention, input_ids, pieces):
    """Of one text, token by token up to `[SEP]`: vectors and attention of its words, without `[CLS]`."""
    words: list[list[torch.Tensor]] = []
    weights: list[list[torch.Tensor]] = []
    for state, share, entry in zip(states[1:], attention[1:], input_ids[1:], strict=True):
        piece = pieces[entry.item()]
        if not piece.startswith("##") or not words:
            words.append([])
            weights.append([])
        words[-1].append(state)
        weights[-1].append(share)
        if piece == "[SEP]":
            break
    sums = [torch.stack(bank).sum(dim=0) for bank in words], [torch.stack(bank).sum() for bank in weights]
    return torch.stack(sums[0]), torch.stack(sums[1])


def align(own, others, weights, temperature):
    """Words of one study with its patches, or the other way round."""
    attention = (own @ others.T / temperature).softmax(dim=-1)
    answers = F.normalize(attention @ others, dim=-1)
    logits = own @ answers.T / temperature
    targets = torch.arange(len(own))
    losses = [F.cross_entropy(one, targets, reduction="none") for one in (logits, logits.T)]
    return ((losses[0] + losses[1]) / 2 * weights).sum()


def assign(scores, config):
    """Sinkhorn on exponentials."""
    codes = (scores.detach() / config.sinkhorn_epsilon).exp()
    for _ in range(config.num_sinkhorn_iterations):
        codes = codes / codes.sum(dim=0, keepdim=True)
        codes = codes / codes.sum(dim=1, keepdim=True)
    return codes


def plain_loss(model, pieces, input_ids, attention_mask, pixel_values):
    """The loss of a batch, the straightforward way."""
    config = model.config
    pooled, patches = image_states(model.vision_model, pixel_values, stage=config.local_stage)
    patches = F.normalize(model.patch_projection(patches.flatten(2).mT), dim=-1)
    images = F.normalize(model.visual_projection(pooled), dim=-1)
    outputs = model.text_model(input_ids, attention_mask=attention_mask, output_attentions=True)
    states, attention = outputs.last_hidden_state, outputs.attentions[-1][:, :, 0].mean(dim=1).detach()
    texts = F.normalize(model.text_projection(pool_text(states, attention_mask, pooling=config.text_pooling)), dim=-1)
    local_loss = 0.0
    for row in range(len(input_ids)):
        words, weights = join_pieces(states[row], attention[row], input_ids[row], pieces)
        words = F.normalize(nn.Sequential(*model.word_projection)(words), dim=-1)
        even = torch.full((patches.shape[1],), 1 / patches.shape[1])
        local_loss += align(words, patches[row], clipped(weights), config.local_temperature) / len(input_ids)
        local_loss += align(patches[row], words, even, config.local_temperature) / len(input_ids)

    logits = images @ texts.T / config.temperature
    targets = torch.arange(len(images))
    global_loss = F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)
    prototypes = F.normalize(model.prototypes.weight, dim=-1)
    scores = images @ prototypes.T, texts @ prototypes.T
    logs = [(score / config.prototype_temperature).log_softmax(dim=-1) for score in scores]
    prototype_loss = -(assign(scores[0], config) * logs[1] + assign(scores[1], config) * logs[0]).sum(dim=1).mean() / 2
    return global_loss + local_loss + prototype_loss


def measure(batch_size, num_pairs=NUM_PAIRS, **kwargs):
    """Interleaved; both once before. The plain step runs the slow attention that shows its maps."""
    model, tokenizer, batch = make_step(batch_size, **kwargs)
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    seconds, results = {False: [], True: []}, {}
    for _ in range(num_pairs + 1):
        for plain in (True, False):
            model.text_model.set_attn_implementation("eager" if plain else "sdpa")
            model.zero_grad()
            started = time.process_time()
            loss = plain_loss(model, pieces, **batch) if plain else model(**batch, return_loss=True).loss
            loss.backward()
            seconds[plain].append(time.process_time() - started)
            results[plain] = [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]
    for one, other in zip(results[True], results[False], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    ratios = [plain / fast for plain, fast in zip(seconds[True][1:], seconds[False][1:], strict=True)]
    shape = f"MGCA step, batch {batch_size}, {batch['input_ids'].shape[1]} tokens"
    logger.info("%s: %.1f times less CPU time (%.1f to %.1f)", shape, median(ratios), min(ratios), max(ratios))
    return ratios


def test_a_whole_step(record_property):
    ratios = measure(32)
    record_property("ratio", median(ratios))
    assert max(ratios) > 1.3


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for size in (16, 32, 64, 128):
        measure(size, num_pairs=7)
