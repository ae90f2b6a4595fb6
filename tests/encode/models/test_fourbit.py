"""Matrices in four bits: nothing is lost but what rounding takes."""

from __future__ import annotations

import torch

from moee_topics.encode.models import fourbit


def test_four_bits_lose_no_more_than_half_a_step() -> None:
    weight = torch.randn(10, 48, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    scales = fourbit.block_scales(weight)
    again = fourbit.unpack(fourbit.pack(weight, scales), scales, (10, 48), torch.float32)

    assert torch.equal(again, fourbit.rounded(weight, scales))
    assert not again[3].any()
    assert ((again - weight).square().sum() / weight.square().sum()) < 0.01
    assert torch.equal(fourbit.rounded(again, scales), again)
    rows_again = fourbit.unpack_rows(*fourbit.pack_rows(weight), torch.float32)
    assert (rows_again - weight).abs().max() <= weight.abs().max() / 127
