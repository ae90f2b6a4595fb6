"""Matrices in four bits on disk, as ``pocket`` has: integers from -8 to 7 times the scale of their block of 24.

A scale is a signed float16: the largest weight of a block is near -8 times it, and the scale that loses least is looked
for around that. 4.67 bits a weight. Embeddings are kept in eight bits with a scale for each row. Nothing but torch is
needed to read them, and the integers are there for a processor that multiplies such.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 24
"""Weights that share a scale; divides the width of every matrix and of every group of neurons of the embedded model."""

_TRIED = (1.0, 1.06, 0.94, 0.88, 1.13, 0.82)


def block_scales(weight: Tensor) -> Tensor:
    """The scale of each block that loses least, float16 of shape (blocks,); 0 for a block of zeros."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    top = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    best = lost = None
    for factor in _TRIED:
        # Integers go from -8 to 7: by this sign the largest weight gets the side that has one more. Rounded as it
        # will be stored, so that its own error counts too.
        scale = (top * (-factor / 8)).half()
        error = (blocks - _rounded(blocks, scale.float())).square_().sum(1, keepdim=True)
        better = error < lost if lost is not None else torch.ones_like(error, dtype=torch.bool)
        best = torch.where(better, scale, best) if best is not None else scale
        lost = torch.where(better, error, lost) if lost is not None else error
    assert best is not None
    return best.view(-1)


def _whole(blocks: Tensor, scale: Tensor) -> Tensor:
    return (blocks / torch.where(scale == 0, 1.0, scale)).round_().clamp_(-8, 7)


def _rounded(blocks: Tensor, scale: Tensor) -> Tensor:
    return _whole(blocks, scale).mul_(scale)


def rounded(weight: Tensor, scales: Tensor) -> Tensor:
    """What a weight becomes in four bits, in its shape and float32."""
    return _rounded(weight.reshape(-1, BLOCK), scales.float()[:, None]).view(weight.shape)


def pack(weight: Tensor, scales: Tensor) -> Tensor:
    """Two integers to a byte, the first in the low half, flat uint8."""
    integers = (
        _whole(weight.detach().float().reshape(-1, BLOCK), scales.float()[:, None]).add_(8).to(torch.uint8).view(-1, 2)
    )
    return integers[:, 0] | (integers[:, 1] << 4)


def unpack(codes: Tensor, scales: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The weight again."""
    integers = torch.stack([codes & 15, codes >> 4], dim=1).view(-1, BLOCK).to(torch.float32).sub_(8)
    return integers.mul_(scales.float()[:, None]).to(dtype).view(shape)


def pack_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in eight bits and their scales: int8 (rows, columns) and float16 (rows,)."""
    scales = (weight.detach().float().abs().amax(1) / 127).half()
    safe = torch.where(scales == 0, 1.0, scales.float())
    return (weight.detach().float() / safe[:, None]).round_().clamp_(-127, 127).to(torch.int8), scales


def unpack_rows(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """The rows again."""
    return codes.float().mul_(scales.float()[:, None]).to(dtype)
