"""Matrices in four bits: nothing is lost but what rounding takes."""

from __future__ import annotations

import torch

from moee_topics.encode.quantization import int4_blocks


def test_four_bits_lose_no_more_than_half_a_step() -> None:
    weight = torch.randn(10, 48, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    scales = int4_blocks.block_scales(weight)
    again = int4_blocks.unpack(int4_blocks.pack(weight, scales), scales, (10, 48), torch.float32)

    assert torch.equal(again, int4_blocks.rounded(weight, scales))
    assert not again[3].any()
    assert ((again - weight).square().sum() / weight.square().sum()) < 0.01
    assert torch.equal(int4_blocks.rounded(again, scales), again)
    rows_again = int4_blocks.unpack_rows(*int4_blocks.pack_rows(weight), torch.float32)
    assert (rows_again - weight).abs().max() <= weight.abs().max() / 127
