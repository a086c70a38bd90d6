"""Steps of the low-data recipe in a group of processes, for tests; spawned, so importable from outside a test."""

from pathlib import Path

import torch
from distributed_steps import make_pairs, make_step_model
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from synthcxr.data.finding_statements import NUM_STATEMENTS
from synthcxr.ontology import FINDING_IDS
from synthcxr.training.gradient_cache import average_gradients, cached_backward
from synthcxr.training.low_data_recipe import LowDataRecipe
from synthcxr.training.low_data_settings import LowDataSettings
from synthcxr.training.tokenizer import train_tokenizer


BATCH_SIZE = 4
# Not SimSiam, whose batch normalisation sees what a process sees, and no hidden words, which each process draws.
SETTINGS = LowDataSettings(
    local_loss_weight=0.5,
    num_image_views=2,
    num_text_views=2,
    neighbour_weight=0.9,
    neighbour_queue_size=6,
    agreement_weight=0.6,
    outline_weight=0.8,
)


def make_views():
    """Four pairs with two views each of image and text, and two sentences."""
    pairs = make_pairs()
    names = ("pixel_values", "input_ids", "attention_mask")
    views = {name: pairs[name].unflatten(0, (BATCH_SIZE, 2)) for name in names}
    sentences = pairs["sentence_input_ids"][:BATCH_SIZE]
    views |= {"sentence_input_ids": sentences, "report_key": torch.tensor([3, -1, 3, 8])}
    generator = torch.Generator().manual_seed(2)
    views["report_statements"] = torch.rand(BATCH_SIZE, NUM_STATEMENTS, generator=generator) < 0.3
    said = torch.rand(BATCH_SIZE, sentences.shape[1], NUM_STATEMENTS, generator=generator)
    views["sentence_statements"] = said < 0.005
    maps = torch.rand(BATCH_SIZE, len(FINDING_IDS), 16, 16, generator=generator, dtype=torch.float64)
    return views | {"finding_maps": maps, "has_maps": torch.tensor([True, False, True, True])}


def steps(rank, world_size, *, cached):
    """Loss of the second of two steps, gradients of both, and the queue behind them."""
    tokenizer = train_tokenizer(["no left effusion", "tuft of lint", "unfit lens"])
    torch.manual_seed(0)
    recipe = LowDataRecipe(make_step_model("convirt"), tokenizer, SETTINGS).double()
    trained = DistributedDataParallel(recipe) if world_size > 1 else recipe
    own = slice(rank * BATCH_SIZE // world_size, (rank + 1) * BATCH_SIZE // world_size)
    batch = {name: values[own] for name, values in make_views().items()}
    for _ in range(2):
        if cached:
            with trained.no_sync():
                loss = cached_backward(trained, batch, mini_batch_size=1)
        else:
            loss = trained(**batch, return_loss=True)["loss"]
            loss.backward()
    if cached:
        average_gradients(trained)
    gradients = {name: parameter.grad for name, parameter in recipe.named_parameters() if parameter.grad is not None}
    return {"loss": loss.item(), "gradients": gradients, "queue": recipe.neighbours.state_dict()}


def steps_in_groups(rank, folder, world_sizes):
    """What a spawned process does: the same steps in groups of so many processes."""
    torch.set_num_threads(1)
    for size in world_sizes:
        if rank >= size:
            continue
        method = f"file://{Path(folder) / f'group-{size}'}"
        distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=size)
        found = {way: steps(rank, size, cached=way == "cached") for way in ("plain", "cached")}
        torch.save(found, Path(folder) / f"{size}-{rank}.pt")
        distributed.barrier()
        distributed.destroy_process_group()
