"""One training step of every model in a group of processes, for tests; spawned, so importable from outside a test."""

import copy
from pathlib import Path

import torch
from tiny_models import FAMILIES, make_batch, make_model
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_layers import GradientCheckpointingLayer

from synthcxr.training.gradient_cache import average_gradients, cached_backward


BATCH_SIZE = 8


def make_step_model(family, dropout=0.0):
    """Without batch normalisation, which sees what a process sees, and in double precision."""
    fields = {"vision": "vit"}
    if "projection_norm" in FAMILIES[family][0].__dataclass_fields__:
        fields["projection_norm"] = False
    model = make_model(family, **fields).double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    model.set_attn_implementation("eager")
    for tower in (model.config.vision_config, model.config.text_config):
        tower.attention_probs_dropout_prob = tower.hidden_dropout_prob = dropout
    return model


def make_pairs(batch_size=BATCH_SIZE):
    """Pairs with two sentences each."""
    batch = make_batch(batch_size)
    sentences = torch.randint(5, 50, (batch_size, 2, 4), generator=torch.Generator().manual_seed(1))
    return batch | {"pixel_values": batch["pixel_values"].double(), "sentence_input_ids": sentences}


def step_in_one_process():
    """Loss and gradients of the whole batch, per family."""
    steps = {}
    for family in FAMILIES:
        model = make_step_model(family)
        loss = model(**make_pairs(), return_loss=True).loss
        loss.backward()
        steps[family] = _results(model, loss)
    return steps


def steps_in_groups(rank, folder, world_sizes):
    """What a spawned process does: the same steps in groups of so many; plain, with cached gradients, and cut up."""
    torch.set_num_threads(1)
    for world_size in world_sizes:
        if rank >= world_size:
            continue
        file = Path(folder) / f"group-{world_size}"
        distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world_size)
        steps = {family: _step(family, rank, world_size) for family in FAMILIES}
        if rank == 0:
            torch.save(steps, Path(folder) / f"steps-{world_size}.pt")
        distributed.barrier()
        distributed.destroy_process_group()


def _step(family, rank, world_size):
    own = slice(rank * BATCH_SIZE // world_size, (rank + 1) * BATCH_SIZE // world_size)
    batch = {name: values[own] for name, values in make_pairs().items()}
    model = make_step_model(family)
    cached = DistributedDataParallel(copy.deepcopy(model))
    with cached.no_sync():
        cached_loss = cached_backward(cached, batch, mini_batch_size=1)
    average_gradients(cached)
    sharded = copy.deepcopy(model)
    for layer in sharded.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer)
    fully_shard(sharded)
    sharded_loss = sharded(**batch, return_loss=True).loss
    sharded_loss.backward()
    plain = DistributedDataParallel(model)
    loss = plain(**batch, return_loss=True).loss
    loss.backward()
    for value in (loss, cached_loss, sharded_loss):  # the log's mean over processes
        distributed.all_reduce(value.detach())
    return {
        "plain": _results(plain.module, loss / world_size),
        "cached": _results(cached.module, cached_loss / world_size),
        "sharded": _results(sharded, sharded_loss / world_size),
    }


def _results(model, loss):
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    gradients = {name: _whole(gradient) for name, gradient in gradients.items()}
    return loss.item(), gradients


def _whole(gradient):
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
