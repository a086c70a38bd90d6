"""Whether a processor computes in bfloat16, or only pretends to."""

from __future__ import annotations

import logging

import torch


logger = logging.getLogger(__name__)

# What processors call their units for it: Intel's tiles, AVX-512 of Intel and AMD, ARM.
_UNITS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def computes_in_bfloat16(device: torch.device) -> bool:
    """
    Whether a device has units for bfloat16, so that it is the faster type there.

    Args:
        device (`torch.device`): Of the CPU, `False` where torch is too old to tell.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(capabilities.get(unit, False) for unit in _UNITS)


def warn_of_emulated_bfloat16(device: torch.device) -> None:
    """
    Say that bfloat16 was asked for on a CPU without units for it.

    Measured on one with AVX2 alone: a convolution took 6 to 10 times as long as in float32, a product of matrices 285
    times, the training of `synthcxr demo` 10 times.

    Args:
        device (`torch.device`): Where the work is done.
    """
    if device.type == "cpu" and not computes_in_bfloat16(device):
        logger.warning("This CPU has no units for bfloat16: it will be many times slower than float32 here.")
