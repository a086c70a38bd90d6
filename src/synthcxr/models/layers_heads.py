"""Small trainable parts that follow the towers."""

import math

import torch
from torch import nn
from transformers import initialization as init


class ProjectionHead(nn.Sequential):
    """
    Two-layer perceptron into the shared space.

    Args:
        input_dim (`int`):
            Width of the tower.
        output_dim (`int`):
            Width of the shared space.
        hidden_dim (`int`, *optional*):
            Width between the layers; `output_dim` when absent.
        norm (`bool`, *optional*, defaults to `False`):
            Batch normalisation after both layers, the last one without affine weights.
    """

    def __init__(self, input_dim: int, output_dim: int, *, hidden_dim: int | None = None, norm: bool = False) -> None:
        hidden_dim = output_dim if hidden_dim is None else hidden_dim
        layers = [nn.Linear(input_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, output_dim)]
        if norm:
            layers.insert(1, nn.BatchNorm1d(hidden_dim))
            layers.append(nn.BatchNorm1d(output_dim, affine=False))
        super().__init__(*layers)


class LogitScale(nn.Module):
    """
    The learnt factor (and bias) between cosines and logits.

    A module rather than a bare parameter of the model, because PEFT can only train modules (`modules_to_save`).

    Args:
        scale_init_value (`float`):
            Logarithm of the first factor.
        bias_init_value (`float`, *optional*):
            First bias; none is learnt when absent.
    """

    # CLIP's bound: beyond it a batch is decided by rounding errors.
    max_scale = 100.0

    def __init__(self, scale_init_value: float, bias_init_value: float | None = None) -> None:
        super().__init__()
        self.scale_init_value = scale_init_value
        self.bias_init_value = bias_init_value
        self.log_scale = nn.Parameter(torch.tensor(scale_init_value))
        self.register_parameter("bias", None)
        if bias_init_value is not None:
            self.bias = nn.Parameter(torch.tensor(bias_init_value))

    def reset(self) -> None:
        """Put the initial values back, unless a checkpoint has filled them."""
        init.constant_(self.log_scale, self.scale_init_value)
        if self.bias is not None:
            init.constant_(self.bias, self.bias_init_value)

    def temperature(self) -> torch.Tensor:
        """The divisor of the cosines, a scalar of at least 1 / 100."""
        return self.log_scale.clamp(max=math.log(self.max_scale)).neg().exp()

    def forward(self, cosines: torch.Tensor) -> torch.Tensor:
        """
        Cosines to logits.

        Args:
            cosines (`torch.Tensor` of shape `(batch_size, batch_size)` or any other):
                Similarities, -1 to 1.
        """
        logits = cosines / self.temperature()
        return logits if self.bias is None else logits + self.bias
