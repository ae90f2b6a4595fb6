"""Float8 rounds each row by itself, and experts of a shape that no kernel takes are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from quantized_models import load
from torch import nn

from moee_topics.encode.quantization import float8_weights
from moee_topics.errors import ModelError


def test_a_row_is_rounded_by_its_own_largest_number_whatever_stands_beside() -> None:
    states = torch.randn(9, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 9)[:, None]
    states[4] = 0
    codes, scales = float8_weights.rounded_by_torch(states)
    numbers = codes.float() * scales[:, None]
    assert torch.allclose(numbers.abs().amax(1), states.abs().amax(1), rtol=1e-6)
    # Three bits of mantissa; below a row's largest by more than 2^14 numbers have fewer.
    assert bool(((numbers - states).abs() <= states.abs() / 16 + scales[:, None] / 512).all())
    assert not numbers[4].any()
    alone = float8_weights.rounded_by_torch(states[3:4])
    assert torch.equal(alone[0].view(torch.uint8), codes[3:4].view(torch.uint8)) and alone[1] == scales[3]


def test_a_gated_product_is_rounded_after_its_gate() -> None:
    product = torch.randn(7, 96, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    gate, up = product.float().chunk(2, dim=1)
    found = float8_weights.gated_and_rounded_by_torch(product)
    known = float8_weights.rounded_by_torch(nn.functional.silu(gate) * up)
    assert torch.equal(found[0].view(torch.uint8), known[0].view(torch.uint8)) and torch.equal(found[1], known[1])


def test_experts_that_no_kernel_takes_are_refused(had: None, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "gpt_oss" in str(checkpoint):
        with pytest.raises(ModelError, match=r"'gpt_oss' cannot be quantized to fp8.*transposed.*Use quantize: int8"):
            load(checkpoint, "fp8")
        return
    monkeypatch.setattr(float8_weights, "MULTIPLE", 1024)
    with pytest.raises(ModelError, match=r"their experts are \d+ x \d+, no multiples of 1024\. Use quantize: int8"):
        load.__wrapped__(checkpoint, "fp8")
