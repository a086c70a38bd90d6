from copy import deepcopy

import pytest
import torch
from tiny_generators import tiny_flow_pipeline
from torch import nn
from transformers import ViTConfig, ViTModel

from synthcxr.training.diffusion_trainer import ConditionedDenoiser
from synthcxr.training.optimizers import MuonAdamW, build_optimizer, hidden_matrices, orthogonalise
from synthcxr.training.text_to_cxr_arguments import DenoisingArguments, DiffusionTrainingArguments


def gradients_of(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def groups(model, lr=0.02, weight_decay=0.1):
    matrices = hidden_matrices(model)
    return [
        {
            "params": [p for p in model.parameters() if p in matrices],
            "orthogonal": True,
            "lr": lr,
            "weight_decay": weight_decay,
        },
        {"params": [p for p in model.parameters() if p not in matrices], "lr": 1e-3, "weight_decay": 0.05},
    ]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 12), nn.Linear(12, 5), nn.LayerNorm(5), nn.Linear(5, 20))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_matrices_move_as_with_torchs_muon_and_the_rest_as_with_adamw(model):
    start = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = MuonAdamW(groups(model))
    for step in range(4):
        gradients_of(model, step)
        optimizer.step()
    ours = {name: value.clone() for name, value in model.state_dict().items()}

    model.load_state_dict(start)
    matrices, rest = (group["params"] for group in groups(model))
    theirs = [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(rest, lr=1e-3, weight_decay=0.05)]
    for step in range(4):
        gradients_of(model, step)
        for optimizer in theirs:
            optimizer.step()
    for name, value in model.state_dict().items():
        # Their products are rounded to bfloat16.
        torch.testing.assert_close(ours[name], value, atol=3e-3 if name.startswith(("1.w", "3.w")) else 1e-7, rtol=0)
        assert not ours[name].equal(start[name])


def test_a_kernel_moves_as_the_matrix_of_its_output_channels():
    torch.manual_seed(0)
    kernel, matrix = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(27, 8, bias=False)
    matrix.weight.data.copy_(kernel.weight.data.flatten(1))
    for layer in (kernel, matrix):
        gradients_of(layer, 1)
    kernel.weight.grad = kernel.weight.grad.contiguous(memory_format=torch.channels_last)
    matrix.weight.grad.copy_(kernel.weight.grad.flatten(1))
    for layer in (kernel, matrix):
        MuonAdamW([{"params": list(layer.parameters()), "orthogonal": True}], lr=0.1).step()
    assert kernel.weight.flatten(1).equal(matrix.weight)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_an_orthogonalised_matrix_keeps_its_directions_and_levels_its_strengths(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    levelled = left.T @ orthogonalise(matrix).float() @ right.T
    assert levelled.diagonal().min() > 0.6
    assert levelled.diagonal().max() < 1.3
    assert (levelled - levelled.diagonal().diag()).abs().max() < 0.05


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 9)])
def test_factors_multiplied_first_give_what_the_plain_iteration_gives(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    slow = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = slow @ slow.T
        slow = 3.4445 * slow - 4.7750 * gram @ slow + 2.0315 * gram @ gram @ slow
    torch.testing.assert_close(orthogonalise(matrix).double(), slow, atol=1e-4, rtol=0)


def test_strengths_of_very_different_size_do_not_blow_up():
    generator = torch.Generator().manual_seed(3)
    left, right = (torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q for _ in range(2))
    levelled = torch.linalg.svdvals(orthogonalise(left * torch.logspace(0, -12, 64) @ right))
    assert levelled.max() < 1.3
    assert (levelled > 0.6).sum() >= 12  # those within a thousandth of the largest


def test_zero_gradients_leave_finite_weights():
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.grad = torch.zeros(4, 4)
    MuonAdamW([{"params": list(layer.parameters()), "orthogonal": True}], lr=0.1, weight_decay=0.0).step()
    assert layer.weight.isfinite().all()


def test_gradients_are_there_after_the_step_and_a_closure_gives_its_loss(model):
    optimizer = MuonAdamW(groups(model))

    def closure():
        gradients_of(model, 0)
        return 3.0

    assert optimizer.step(closure) == 3.0
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_restored_optimizer_goes_on_as_if_never_stopped(model):
    optimizer = MuonAdamW(groups(model))
    gradients_of(model, 0)
    optimizer.step()
    state, weights = deepcopy(optimizer.state_dict()), deepcopy(model.state_dict())
    gradients_of(model, 1)
    optimizer.step()
    expected = {name: value.clone() for name, value in model.state_dict().items()}

    model.load_state_dict(weights)
    restored = MuonAdamW(groups(model, lr=0.5))
    restored.load_state_dict(state)
    gradients_of(model, 1)
    restored.step()
    for name, value in model.state_dict().items():
        assert value.equal(expected[name])


def test_tables_and_vectors_are_left_to_adamw(model):
    assert hidden_matrices(model) == {model[1].weight, model[3].weight}
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    tower = ViTModel(ViTConfig(**size, image_size=32, patch_size=16))
    names = {name for name, parameter in tower.named_parameters() if parameter in hidden_matrices(tower)}
    assert "embeddings.patch_embeddings.projection.weight" in names
    assert not names & {"embeddings.cls_token", "embeddings.position_embeddings"}
    assert all(name.endswith(".weight") and "norm" not in name for name in names)


def test_a_group_may_join_later(model):
    optimizer = MuonAdamW([model[1].bias], lr=0.1)
    optimizer.add_param_group({"params": [model[1].weight], "orthogonal": True})
    gradients_of(model, 0)
    before = model[1].weight.clone()
    optimizer.step()
    assert not model[1].weight.equal(before)


def test_matrices_go_to_muon_and_vectors_are_not_decayed():
    unet = tiny_flow_pipeline().unet
    args = DiffusionTrainingArguments(output_dir="x", dataset=["y"], muon_learning_rate=0.02, weight_decay=0.1)
    groups = build_optimizer(unet, args).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(unet.parameters()))
    for group in groups:
        assert all(group["orthogonal"] == (item.ndim > 1) for item in group["params"])
        assert (group["weight_decay"] == 0) == (not group["orthogonal"])


def test_a_text_encoder_with_a_rate_of_its_own_keeps_to_adamw():
    pipeline = tiny_flow_pipeline()
    denoiser = ConditionedDenoiser(pipeline.unet, pipeline.text_encoder)
    args = DenoisingArguments(
        output_dir="x", dataset=["y"], learning_rate=1e-3, muon_learning_rate=0.02, text_learning_rate=1e-4
    )
    groups = build_optimizer(denoiser, args).param_groups
    text = set(pipeline.text_encoder.parameters())
    for group in groups:
        of_text = {item in text for item in group["params"]}
        assert len(of_text) == 1
        if of_text == {True}:
            assert (group["lr"], group["orthogonal"]) == (1e-4, False)
    assert sum(len(group["params"]) for group in groups) == len(list(denoiser.parameters()))
