"""
Two and four processes against one with the whole batch: the loss and every gradient of every objective.

The processes are this file, run as a script.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from synthcxr.models.layers_distributed import gather_batch, is_distributed
from synthcxr.models.loss_contrastive import info_nce_loss, sigmoid_loss
from synthcxr.models.loss_local_alignment import token_alignment_loss, two_way_cross_entropy, word_region_scores
from synthcxr.models.loss_prototype import cross_prototype_loss


BATCH_SIZE, NUM_REGIONS, NUM_WORDS, NUM_VIEWS = 8, 6, 7, 3
SIZES = (2, 4)
DTYPES = {"float64": torch.float64, "float32": torch.float32}
TEMPERATURES = {"attention_temperature": 4.0, "score_temperature": 5.0}


class TinyModel(nn.Module):
    """Linear towers; every objective of the package on what they give."""

    def __init__(self, objective, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.objective = objective
        self.image_tower = nn.Linear(5, 12, dtype=dtype)
        self.text_tower = nn.Linear(4, 12, dtype=dtype)
        self.prototypes = nn.Linear(12, 9, bias=False, dtype=dtype)
        self.log_temperature = nn.Parameter(torch.zeros((), dtype=dtype))

    def forward(self, images, words, mask):
        regions, words = self.image_tower(images), self.text_tower(words)
        # Every parameter takes part in every objective, so that every one has a gradient to average.
        unused = 0 * (self.prototypes.weight.sum() + self.log_temperature)
        return OBJECTIVES[self.objective](self, regions, words, mask) + unused


def pooled(regions, words, mask):
    views = mask.unflatten(0, (NUM_VIEWS, -1)).unsqueeze(-1) * words.unflatten(0, (NUM_VIEWS, -1))
    return gather_batch(regions.mean(1)), gather_batch(views.sum(2).flatten(0, 1), num_views=NUM_VIEWS)


def contrastive(loss, model, regions, words, mask):
    return loss(*pooled(regions, words, mask), temperature=model.log_temperature.exp())


def block_word_region(model, regions, words, mask):
    """Each process scores its own texts against all images."""
    own = len(regions)
    block = word_region_scores(gather_batch(regions), words[:own], mask[:own], **TEMPERATURES)
    scores = 10 * gather_batch(block.T).T
    return two_way_cross_entropy(scores)


def token_alignment(model, regions, words, mask):
    """Within a report: the average over processes is all there is to do."""
    own = len(regions)
    return token_alignment_loss(regions, words[:own], mask[:own], temperature=0.5)


def prototypes(model, regions, words, mask):
    images, texts = pooled(regions, words, mask)
    scores = (model.prototypes(nn.functional.normalize(item, dim=-1)) for item in (images, texts[: len(images)]))
    return cross_prototype_loss(*scores)


OBJECTIVES = {
    "info_nce": partial(contrastive, info_nce_loss),
    "sigmoid": partial(contrastive, sigmoid_loss),
    "word_region": block_word_region,
    "token_alignment": token_alignment,
    "prototypes": prototypes,
}


def run(objective, dtype, *, rank=0, size=1):
    """Loss and gradients of this process's share of one fixed batch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(BATCH_SIZE, NUM_REGIONS, 5, generator=generator, dtype=torch.float64).to(dtype)
    words = torch.randn(NUM_VIEWS, BATCH_SIZE, NUM_WORDS, 4, generator=generator, dtype=torch.float64).to(dtype)
    lengths = torch.randint(1, NUM_WORDS + 1, (NUM_VIEWS, BATCH_SIZE), generator=generator)
    lengths[0, 0] = NUM_WORDS  # one process knows longer texts than the others
    own = slice(rank * BATCH_SIZE // size, (rank + 1) * BATCH_SIZE // size)
    longest = int(lengths[:, own].max())
    mask = (torch.arange(longest) < lengths[:, own].unsqueeze(-1)).to(dtype)

    model = TinyModel(objective, dtype)
    loss = model(images[own], words[:, own, :longest].flatten(0, 1), mask.flatten(0, 1))
    loss.backward()
    gradients = {name: item.grad for name, item in model.named_parameters()}
    if size > 1:
        average(gradients.values(), size)
    return {"loss": loss.detach()} | gradients


def average(gradients, size):
    """What `DistributedDataParallel` does, which takes longer to import than this file to run."""
    for gradient in gradients:
        dist.all_reduce(gradient)
        gradient /= size


def work(rank, folder):
    torch.set_num_threads(1)
    for size in SIZES:
        if rank < size:
            dist.init_process_group("gloo", init_method=f"file://{folder}/{size}", rank=rank, world_size=size)
            results = {
                (objective, name): run(objective, dtype, rank=rank, size=size)
                for objective in OBJECTIVES
                for name, dtype in DTYPES.items()
            }
            torch.save((results, is_distributed()), folder / f"{size}_{rank}.pt")
            dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    workers = [subprocess.Popen([sys.executable, __file__, str(rank), folder]) for rank in range(max(SIZES))]
    assert [worker.wait(timeout=120) for worker in workers] == [0] * max(SIZES)
    return {(size, rank): torch.load(folder / f"{size}_{rank}.pt") for size in SIZES for rank in range(size)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_processes_together_equal_one_with_the_whole_batch(results, objective, dtype, size):
    expected = run(objective, DTYPES[dtype])
    shares = [results[size, rank][0][objective, dtype] for rank in range(size)]
    if objective == "token_alignment":
        shares[0]["loss"] = torch.stack([share["loss"] for share in shares]).mean()
        shares = shares[:1]
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    for share in shares:
        torch.testing.assert_close(share, expected, rtol=tolerance, atol=tolerance)
    assert all(expected[f"{tower}_tower.weight"].abs().max() > 1e-4 for tower in ("image", "text"))


def test_several_processes_are_noticed(results):
    assert all(distributed for _, distributed in results.values())
    assert not is_distributed()


def test_one_process_gathers_what_it_has():
    tensor = torch.randn(6, 3)
    assert gather_batch(tensor, num_views=2) is tensor


def test_rows_that_are_not_whole_views_are_refused():
    with pytest.raises(ValueError, match="5 rows cannot be 2 views"):
        gather_batch(torch.ones(5, 3), num_views=2)


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
