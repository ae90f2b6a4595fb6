"""One weight in 4 or 8 bits: beside the same written out."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from moee_topics.encode.quantization import bitsandbytes_blocks
from moee_topics.encode.quantization.bitsandbytes_blocks import KINDS
from moee_topics.encode.settings import Kind
from moee_topics.errors import ModelError

NF4 = [
    *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0),
    *(0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
]


def plain_dequantize(parts: dict[str, Tensor], kind: Kind) -> Tensor:
    """Written out: the codes of each block times the scale of the block."""
    absmax = bitsandbytes_blocks.scales(parts, kind)[:, None]
    if kind == "int8":
        return parts[""].view(-1, 64).float() * absmax / 127
    codes = torch.stack([parts[""] >> 4, parts[""] & 15], dim=-1).view(-1, 64)
    return torch.tensor(NF4)[codes.long()] * absmax


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [64, 48, 96, 128])
def test_dequantize_equals_the_plain_one_also_for_odd_last_dimensions(kind: Kind, columns: int) -> None:
    torch.manual_seed(columns)
    weight = torch.randn(4, 64, columns)
    parts = bitsandbytes_blocks.quantize(weight, kind)
    expanded = bitsandbytes_blocks.dequantize(parts[""], bitsandbytes_blocks.scales(parts, kind), kind, torch.float32)
    torch.testing.assert_close(expanded, plain_dequantize(parts, kind), atol=1e-6, rtol=1e-6)
    assert (expanded.view_as(weight) - weight).norm() / weight.norm() < {"nf4": 0.1, "int8": 0.01}[kind]


def test_every_nf4_code_is_the_nearest_value() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 256)
    blocks = weight.view(-1, 64)
    scaled = blocks / blocks.abs().amax(dim=1, keepdim=True)
    nearest = (scaled[..., None] - torch.tensor(NF4)).abs().min(dim=-1).values
    codes = bitsandbytes_blocks.quantize(weight, "nf4")[""]
    chosen = torch.tensor(NF4)[torch.stack([codes >> 4, codes & 15], dim=-1).view(-1, 64).long()]
    torch.testing.assert_close((scaled - chosen).abs(), nearest, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_have_the_lengths_and_types_that_stored_as_says(kind: Kind) -> None:
    weight = torch.randn(3, 64, 80)
    parts = bitsandbytes_blocks.quantize(weight, kind)
    layout = {ending: (len(part), part.dtype) for ending, part in parts.items()}
    assert layout == bitsandbytes_blocks.stored_as(kind, weight.numel())


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_of_zeros_stays_zero(kind: Kind) -> None:
    weight = torch.randn(64, 64)
    weight[3] = 0
    parts = bitsandbytes_blocks.quantize(weight, kind)
    expanded = bitsandbytes_blocks.dequantize(parts[""], bitsandbytes_blocks.scales(parts, kind), kind, torch.float32)
    assert torch.isfinite(expanded).all()
    assert not expanded.view(64, 64)[3].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_that_is_no_whole_number_of_blocks_is_refused(kind: Kind) -> None:
    with pytest.raises(ModelError, match="multiple of 64"):
        bitsandbytes_blocks.quantize(torch.randn(4, 3, 40), kind)


def test_without_bitsandbytes_it_is_said_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match="pip install bitsandbytes, or use quantize: none"):
        bitsandbytes_blocks.quantize(torch.randn(64, 64), "int8")
