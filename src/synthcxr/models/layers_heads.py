"""Small trainable parts that follow the towers."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
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


class WordProjectionHead(ProjectionHead):
    """A [`ProjectionHead`] for words, whose batch normalisation sees words and no padding."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for index, layer in enumerate(self):
            if isinstance(layer, nn.BatchNorm1d):
                self[index] = WordBatchNorm(layer.num_features, affine=layer.affine)

    def forward(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """
        Words into the shared space.

        Args:
            words (`torch.Tensor` of shape `(batch_size * num_words, hidden_size)`):
                Words.
            mask (`torch.Tensor` of shape `(batch_size * num_words,)`):
                0 at padding.
        """
        for layer in self:
            if isinstance(layer, WordBatchNorm):
                words = layer(words, mask)
            elif isinstance(layer, _BatchNorm):
                raise ValueError(
                    f"A {type(layer).__name__} counts padding as words; expected a WordBatchNorm. "
                    "`convert_sync_batchnorm` suits the other parts of a model, such as its towers."
                )
            else:
                words = layer(words)
        return words


class WordBatchNorm(nn.BatchNorm1d):
    """Batch normalisation by the statistics of some rows, without waiting for the device to count them."""

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """
        Normalise all rows.

        Args:
            states (`torch.Tensor` of shape `(batch_size * num_words, num_features)`):
                Rows.
            mask (`torch.Tensor` of shape `(batch_size * num_words,)`):
                0 at rows that the statistics leave out.
        """
        if not self.training:
            return super().forward(states)
        with torch.autocast(states.device.type, enabled=False):
            precise = states.to(torch.promote_types(states.dtype, torch.float32))
            share = mask.unsqueeze(0).to(precise.dtype)  # (1, num_rows)
            count = share.sum()
            share = share / count.clamp(min=1)
            mean = share @ precise
            centred = precise - mean
            variance = share @ centred.square()
            self._track(mean[0].detach(), (variance[0] * count / (count - 1).clamp(min=1)).detach())
            scale = torch.rsqrt(variance + self.eps)
            if self.affine:
                normalised = torch.addcmul(self.bias, centred, scale * self.weight)
            else:
                normalised = centred * scale
        return normalised.to(states.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


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
        # One entry and no scalar, which FSDP cannot cut.
        self.log_scale = nn.Parameter(torch.tensor([scale_init_value]))
        self.register_parameter("bias", None)
        if bias_init_value is not None:
            self.bias = nn.Parameter(torch.tensor([bias_init_value]))

    def reset(self) -> None:
        """Put the initial values back, unless a checkpoint has filled them."""
        init.constant_(self.log_scale, self.scale_init_value)
        if self.bias is not None:
            init.constant_(self.bias, self.bias_init_value)

    def temperature(self) -> torch.Tensor:
        """The divisor of the cosines, a scalar of at least 1 / 100."""
        return self.log_scale.clamp(max=math.log(self.max_scale)).neg().exp().squeeze()

    def forward(self, cosines: torch.Tensor) -> torch.Tensor:
        """
        Cosines to logits.

        Args:
            cosines (`torch.Tensor` of shape `(batch_size, batch_size)` or any other):
                Similarities, -1 to 1.
        """
        logits = cosines / self.temperature()
        return logits if self.bias is None else logits + self.bias
