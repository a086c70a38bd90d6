"""bfloat16 is chosen where a device computes in it, and its price is told elsewhere."""

import logging

import pytest
import torch

from synthcxr.data.bfloat16 import computes_in_bfloat16, warn_of_emulated_bfloat16


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False}, False),
        ({"avx512_f": True}, False),
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_with_units_for_it(capabilities, expected, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert computes_in_bfloat16(CPU) is expected
    with caplog.at_level(logging.WARNING):
        warn_of_emulated_bfloat16(CPU)
    assert ("no units for bfloat16" in caplog.text) is not expected


def test_without_a_way_to_tell_a_cpu_stays_with_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not computes_in_bfloat16(CPU)
