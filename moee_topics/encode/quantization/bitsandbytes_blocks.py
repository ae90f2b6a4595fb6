"""Weights in nf4 or int8, in memory, of any mixture: blocks of 64 values by the functions of bitsandbytes.

A quantized tensor is kept as plain tensors under names that differ in their ending, so that safetensors can hold them:

=======================  ==============================================  =======================================
ending                   nf4 (0.516 bytes per weight)                    int8 (1.0625 bytes per weight)
=======================  ==============================================  =======================================
(none)                   two 4-bit codes per byte, first one high        the integers -127 ... 127
``_absmax``              largest value per block, in 8 bits              largest value per block, float32
``_absmax_scale``        largest such number per 256 blocks, float32     -
``_absmax_offset``       mean of the largest values, float32             -
=======================  ==============================================  =======================================
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from typing import Any, get_args

import torch
from torch import Tensor

from moee_topics.encode.settings import Kind
from moee_topics.errors import ModelError

KINDS: tuple[Kind, ...] = get_args(Kind)

BLOCK = 64
"""Weights that share one scale, as in QLoRA (arXiv 2305.14314)."""

SCALES_BLOCK = 256
"""Scales of nf4 that share one scale of their own ("double quantization" of the same paper)."""

_ZERO = 7
"""The nf4 code of 0."""

BYTES_PER_WEIGHT: dict[Kind, float] = {
    "nf4": 1 / 2 + 1 / BLOCK + 4 / (BLOCK * SCALES_BLOCK),
    "int8": 1 + 4 / BLOCK,
}
"""What one weight takes, its share of the scales included."""


def stored_as(kind: Kind, weights: int) -> dict[str, tuple[int, torch.dtype]]:
    """Ending of the name -> (length, dtype) of each tensor that holds ``weights`` quantized weights."""
    blocks = weights // BLOCK
    if kind == "int8":
        return {"": (weights, torch.int8), "_absmax": (blocks, torch.float32)}
    return {
        "": (weights // 2, torch.uint8),
        "_absmax": (blocks, torch.uint8),
        "_absmax_scale": (math.ceil(blocks / SCALES_BLOCK), torch.float32),
        "_absmax_offset": (1, torch.float32),
    }


def quantizable(shape: torch.Size | tuple[int, ...]) -> bool:
    """Whether each matrix of a weight of this shape (..., rows, columns) is a whole number of blocks."""
    return len(shape) >= 2 and math.prod(shape[-2:]) % BLOCK == 0


def quantize(weight: Tensor, kind: Kind) -> dict[str, Tensor]:
    """Quantizes a weight of shape (rows, columns) or (experts, rows, columns), one matrix at a time.

    Returns:
        ending of the name -> flat tensor, see ``stored_as``.

    Raises:
        ModelError: a matrix of the weight is not a whole number of blocks.
    """
    if not quantizable(weight.shape):
        raise ModelError(
            f"A weight of shape {tuple(weight.shape)} cannot be quantized to {kind}: rows times columns must be a "
            f"multiple of {BLOCK}. Use quantize: none for this model."
        )
    matrices = weight if weight.dim() == 3 else weight[None]
    if kind == "int8":
        by_row = bitsandbytes().functional.int8_vectorwise_quant
        codes, absmax, _ = zip(
            *(by_row(matrix.reshape(-1, BLOCK).to(torch.float16)) for matrix in matrices), strict=True
        )
        return {"": torch.cat(codes).view(-1), "_absmax": torch.cat(absmax)}
    codes, absmax = zip(*(_quantize_nf4(matrix.contiguous()) for matrix in matrices), strict=True)
    parts = {"": torch.cat(codes), "_absmax": torch.cat(absmax)}
    # The scales themselves in 8 bits: 0.4 bits a weight less. Their mean is taken off, since all are positive.
    offset = parts["_absmax"].mean()
    code = _dynamic_code(offset.device)
    few, scale = _ops().quantize_blockwise.default(parts["_absmax"] - offset, code, SCALES_BLOCK)
    return parts | {"_absmax": few, "_absmax_scale": scale, "_absmax_offset": offset.view(1)}


def scales(parts: dict[str, Tensor], kind: Kind) -> Tensor:
    """The largest absolute value of each block, float32 of shape (blocks,)."""
    if kind == "int8":
        return parts["_absmax"]
    values: Tensor = _ops().dequantize_blockwise.default(
        parts["_absmax"], parts["_absmax_scale"], _dynamic_code(parts["_absmax"].device), SCALES_BLOCK, torch.float32
    )
    return values.add_(parts["_absmax_offset"])


def dequantize(codes: Tensor, absmax: Tensor, kind: Kind, dtype: torch.dtype) -> Tensor:
    """Weights of shape (blocks, 64) from their codes and the scales of their blocks."""
    if kind == "nf4":
        # The blocks are the rows: bitsandbytes 0.50.2 on a CPU returns wrong weights, without a word, for nf4 matrices
        # whose last dimension is no multiple of 64.
        weights: Tensor = _ops().dequantize_4bit.default(codes, absmax, BLOCK, "nf4", (absmax.numel(), BLOCK), dtype)
        return weights
    # A product of torch: 3.1 Gweights/s on one thread, dequantize_blockwise 0.5 to 0.8 (benchmarks/LOG.md).
    return codes.view(-1, BLOCK).to(dtype).mul_((absmax / 127).to(dtype)[:, None])


def bitsandbytes() -> Any:
    """The package bitsandbytes, without its warning about a kernel that is downloaded at import.

    Raises:
        ModelError: it is not installed.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        import bitsandbytes as package
    except ImportError as missing:
        # It comes with this package on Linux alone, and no extra brings it.
        raise ModelError(
            "Weights in four or eight bits need the package 'bitsandbytes', which is not installed. Install it with: "
            "pip install bitsandbytes, or use quantize: none."
        ) from missing
    return package


def _ops() -> Any:
    bitsandbytes()
    return torch.ops.bitsandbytes


def _quantize_nf4(matrix: Tensor) -> tuple[Tensor, Tensor]:
    if matrix.device.type != "cpu":
        codes, absmax = _ops().quantize_4bit.default(matrix, BLOCK, "nf4", torch.uint8)
        return codes.view(-1), absmax
    # Four times as fast on a CPU as quantize_4bit of 0.50.2, which calls torch.bucketize: the 8-bit kernel with each of
    # the 16 values 16 times in its table. The value is then the high half of the code.
    wide, absmax = _ops().quantize_blockwise.default(matrix.view(-1, BLOCK), _nf4_code_of_256(), BLOCK)
    if not bool(absmax.all()):
        wide[absmax == 0] = _ZERO << 4  # the kernel divides by the scale
    first, second = wide.view(-1, 2).unbind(1)
    return first.bitwise_and(0xF0).bitwise_or_(second >> 4), absmax


@lru_cache
def _dynamic_code(device: torch.device) -> Tensor:
    code: Tensor = bitsandbytes().functional.create_dynamic_map().to(device)
    return code


@lru_cache
def _nf4_code_of_256() -> Tensor:
    code: Tensor = bitsandbytes().functional.get_4bit_type("nf4", device="cpu")
    return code.repeat_interleave(16).contiguous()
