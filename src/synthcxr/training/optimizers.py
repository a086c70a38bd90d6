"""Optimisers beyond those that `Trainer` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from .text_to_cxr_arguments import DenoisingArguments, DiffusionTrainingArguments


# The quintic iteration of Jordan et al. (2024): steep at zero, and all singular values end between 0.7 and 1.2.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_NUM_ITERATIONS = 5


class MuonAdamW(AdamW):
    """
    AdamW, except for parameter groups with `orthogonal=True`: these take Muon's steps.

    Muon replaces the averaged gradient of a weight matrix by the nearest matrix with orthogonal rows or columns, so
    that rare directions are learnt as fast as common ones (Jordan et al., 2024, "Muon: an optimizer for hidden
    layers"). A convolution's kernel counts as the matrix `(out_channels, in_channels * height * width)`, which
    `torch.optim.Muon` does not take; on matrices the steps are its own.

    Args:
        params (`iterable`): Parameter groups. One with `orthogonal=True` may set `momentum` (0.95 by default).
        kwargs: As for `AdamW`, for the groups that are not orthogonal; `lr` and `weight_decay` count for both.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in every optimizer; called by it for the first groups, too."""
        super().add_param_group({"orthogonal": False, "momentum": 0.95, **param_group})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        taken = []
        for group in self.param_groups:
            if group["orthogonal"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._orthogonal_step(parameter, group)
                        taken.append((parameter, parameter.grad))
        for parameter, _ in taken:
            parameter.grad = None  # AdamW passes over what has no gradient
        super().step()
        for parameter, gradient in taken:
            parameter.grad = gradient
        return loss

    def _orthogonal_step(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        gradient, momentum = parameter.grad, group["momentum"]
        state = self.state[parameter]
        if not state:
            # AdamW asks every state for its step when it is restored.
            state |= {"step": torch.tensor(0.0), "momentum_buffer": torch.zeros_like(gradient)}
        average = state["momentum_buffer"]
        average.lerp_(gradient, 1 - momentum)
        update = gradient.lerp(average, momentum).flatten(start_dim=1)  # Nesterov
        rate = group["lr"] * max(1.0, update.shape[0] / update.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonalise(update).view(parameter.shape).to(parameter.dtype), alpha=-rate)


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """
    The orthogonal factor of a matrix, roughly: singular vectors stay, singular values become about 1.

    Muon's iteration multiplies the matrix by a polynomial of its Gram matrix, five times. All these factors commute
    and act on the shorter side, so they are multiplied first, and the matrix, nine times as wide for a 3 x 3 kernel,
    once.

    Args:
        matrix (`torch.Tensor` of shape `(num_rows, num_columns)`): Any matrix but zero, which stays zero.

    Returns:
        `torch.Tensor` of shape `(num_rows, num_columns)`, `torch.float32`: Singular values 0.7 to 1.2; those that were
        a thousand times below the largest may be less.
    """
    matrix = matrix.float()
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    gram = wide @ wide.T
    product = factor = _factor(gram)
    for _ in range(_NUM_ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    result = product @ wide
    return result.T if tall else result


def _factor(gram: torch.Tensor) -> torch.Tensor:
    """What one iteration multiplies a matrix by, from its Gram matrix `(size, size)`."""
    first, second, third = _COEFFICIENTS
    factor = torch.addmm(gram, gram, gram, beta=second, alpha=third)
    factor.diagonal().add_(first)
    return factor


def hidden_matrices(model: nn.Module) -> set[nn.Parameter]:
    """
    Weights that Muon is meant for: those of linear and convolutional layers.

    Not tables (words, positions, class tokens), whose rows are looked up and not multiplied.
    """
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    return {module.weight for module in model.modules() if isinstance(module, layers)} - tables


def build_optimizer(model: nn.Module, args: DiffusionTrainingArguments) -> torch.optim.Optimizer:
    """
    AdamW, with Muon for matrices and kernels on request.

    Args:
        model (`nn.Module`): What requires a gradient in it is trained.
        args (`DiffusionTrainingArguments`): Rates and decay.
    """
    text_rate = args.text_learning_rate if isinstance(args, DenoisingArguments) else None
    text = set() if text_rate is None else set(model.text_encoder.parameters())
    matrices = hidden_matrices(model) - text if args.muon_learning_rate is not None else set()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = []
    for members, rate in ((set(trained) - matrices - text, args.learning_rate), (text, text_rate)):
        chosen = [parameter for parameter in trained if parameter in members]
        groups.append({"params": [item for item in chosen if item.ndim > 1], "lr": rate})
        groups.append({"params": [item for item in chosen if item.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    muon = [item for item in trained if item in matrices]
    groups.append({"params": muon, "lr": args.muon_learning_rate, "orthogonal": True})
    groups = [group for group in groups if group["params"]]
    return MuonAdamW(groups, lr=args.learning_rate, betas=(0.9, 0.99), weight_decay=args.weight_decay)
