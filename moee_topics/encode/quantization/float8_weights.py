"""Weights in floating point of eight bits (``quantize: fp8``): how they are rounded, held, and multiplied by torch.

Weights and states are e4m3 numbers (four bits of exponent, three of mantissa, 448 the largest; Micikevicius et al.,
"FP8 Formats for Deep Learning", arXiv 2209.05433) with a float32 scale for each row, so a vector does not depend on its
pack. Experts are held so, and dense layers with a gate; attention stays in bfloat16.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from moee_topics.encode.settings import Float8

KIND: Float8 = "fp8"

LARGEST = 448.0
"""The largest e4m3 number."""

MULTIPLE = 16
"""Rows and columns of a weight are a multiple of it, or no kernel takes it."""

_TINY = 1e-12  # the scale of a row of zeros


class Float8Weight(NamedTuple):
    """A weight of one matrix, or of one for each expert.

    Attributes:
        codes: e4m3, (..., outputs, inputs).
        scales: float32, (..., outputs).
    """

    codes: Tensor
    scales: Tensor


def stored_as(shape: tuple[int, ...]) -> dict[str, tuple[int, torch.dtype]]:
    """Ending of the name -> (length, dtype) of each tensor that holds a weight of a shape (..., outputs, inputs)."""
    # As bytes, which no one takes for weights to be cast to the type of the model.
    return {"": (math.prod(shape), torch.uint8), "_scale": (math.prod(shape[:-1]), torch.float32)}


def quantize(weight: Tensor) -> dict[str, Tensor]:
    """Rounds a weight of shape (outputs, inputs) or (experts, outputs, inputs), one matrix at a time.

    Returns:
        ending of the name -> flat tensor, see ``stored_as``.
    """
    codes, scales = zip(*map(rounded_by_torch, weight if weight.dim() == 3 else weight[None]), strict=True)
    return {"": torch.cat([some.view(torch.uint8).view(-1) for some in codes]), "_scale": torch.cat(scales)}


def takes(shape: torch.Size | tuple[int, ...]) -> bool:
    """Whether a kernel takes weights of this shape (..., outputs, inputs)."""
    return len(shape) >= 2 and not any(size % MULTIPLE for size in shape[-2:])


def is_held(module: Any) -> bool:
    """Whether the weights of a module are held in float8."""
    return getattr(module, "quantized_kind", None) == KIND


def weight_of(module: Any, name: str) -> Float8Weight:
    """A weight of a module that holds it as ``stored_as`` says."""
    shape = module.quantized_shapes[name]
    codes = getattr(module, name).view(torch.float8_e4m3fn).view(shape)
    return Float8Weight(codes, getattr(module, f"{name}_scale").view(shape[:-1]))


def rounded_by_torch(states: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of states (T, columns) in e4m3, and the scale of each row in float32, in several passes."""
    values = states.float()
    scales = values.abs().amax(dim=-1).clamp_min(_TINY) / LARGEST
    return (values / scales[..., None]).to(torch.float8_e4m3fn), scales


def gated_and_rounded_by_torch(product: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`rounded_by_torch` of silu(gate) * up, of a product (T, 2 x columns)."""
    gate, up = product.float().chunk(2, dim=-1)
    return rounded_by_torch(functional.silu(gate) * up)


def product(codes: Tensor, scales: Tensor, weight: Float8Weight) -> Tensor:
    """Of rounded states (T, inputs) the product (T, outputs) with one matrix, in bfloat16."""
    return torch._scaled_mm(
        codes, weight.codes.t(), scales[:, None], weight.scales[None], out_dtype=torch.bfloat16, use_fast_accum=True
    )


def product_of_experts(codes: Tensor, scales: Tensor, weight: Float8Weight, ends: Tensor) -> Tensor:
    """Of rounded states (T, inputs), in the order of their experts, the products (T, outputs) in bfloat16.

    Args:
        codes: e4m3.
        scales: of each row.
        weight: a matrix for each expert.
        ends: after which row the states of each expert end, int32; what lies behind the last is left open.
    """
    # torch 2.9, the least that is supported, has no public function for it; scaled_grouped_mm calls the same kernel.
    return torch._scaled_grouped_mm(
        codes,
        weight.codes.transpose(1, 2),
        scales,
        weight.scales,
        offs=ends,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )
