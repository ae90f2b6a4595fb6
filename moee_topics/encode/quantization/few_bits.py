"""The weights of a module in few bits, whichever kind they are of."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from moee_topics.encode.quantization import bitsandbytes_blocks, float8_weights, integer_products
from moee_topics.encode.quantization.float8_products import Float8Linear
from moee_topics.encode.quantization.integer_products import IntegerLinear
from moee_topics.encode.settings import FewBits, Kind

KINDS: tuple[FewBits, ...] = (*bitsandbytes_blocks.KINDS, *integer_products.KINDS, float8_weights.KIND)


def stored_as(shape: tuple[int, ...], kind: FewBits) -> dict[str, tuple[int, torch.dtype]]:
    """Ending of the name -> (length, dtype) of each tensor that holds a weight of a shape."""
    if kind == float8_weights.KIND:
        return float8_weights.stored_as(shape)
    if integer_products.is_integer(kind):
        return integer_products.stored_as(shape)
    return bitsandbytes_blocks.stored_as(kind, math.prod(shape))


def quantize(weight: Tensor, kind: FewBits) -> dict[str, Tensor]:
    """Rounds a weight: ending of the name -> tensor, see ``stored_as``."""
    if kind == float8_weights.KIND:
        return float8_weights.quantize(weight)
    if integer_products.is_integer(kind):
        return integer_products.quantize(weight, kind)
    return bitsandbytes_blocks.quantize(weight, kind)


def quantized_parts(module: nn.Module, name: str) -> dict[str, Tensor]:
    """Ending -> tensor of a quantized weight of a module, see ``stored_as`` of its kind."""
    return {
        parameter.removeprefix(name): value
        for parameter, value in module.named_parameters(recurse=False)
        if parameter == name or parameter.startswith((f"{name}_absmax", f"{name}_scale"))
    }


def hold_quantized(module: Any, names: list[str], kind: FewBits) -> None:
    """Replaces weights of a module by empty ones in the quantized layout, on the same device."""
    shapes = {name: tuple(getattr(module, name).shape) for name in names}
    for name, shape in shapes.items():
        device = getattr(module, name).device
        for ending, (length, dtype) in stored_as(shape, kind).items():
            empty = torch.empty(length, dtype=dtype, device=device)
            setattr(module, name + ending, nn.Parameter(empty, requires_grad=False))
    module.quantized_shapes, module.quantized_kind = shapes, kind


def round_weights(module: Any, names: list[str], kind: FewBits) -> None:
    """Rounds weights that a module has, in their place; integers are packed too.

    Raises:
        ModelError: no kernel here multiplies a weight of this shape exactly.
    """
    weights = {name: getattr(module, name).data for name in names}
    hold_quantized(module, names, kind)
    for name, weight in weights.items():
        for ending, part in quantize(weight, kind).items():
            getattr(module, name + ending).data = part
    if integer_products.is_integer(kind):
        integer_products.pack(module)


class QuantizedLinear(nn.Module):
    """A linear layer whose weight is expanded at each call."""

    # bitsandbytes' Linear4bit is slower from 64 rows on, repacks its weights in place, and refuses matrices such as
    # qwen2_moe's shared_expert_gate (benchmarks/LOG.md).

    quantized_kind: Kind

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.bias = plain.bias
        self.weight = plain.weight

    def forward(self, states: Tensor) -> Tensor:
        """Of (..., in) the product (..., out)."""
        parts, kind = quantized_parts(self, "weight"), self.quantized_kind
        weight = bitsandbytes_blocks.dequantize(parts[""], bitsandbytes_blocks.scales(parts, kind), kind, states.dtype)
        return functional.linear(states, weight.view(self.out_features, self.in_features), self.bias)


def linear_class(kind: FewBits) -> type[QuantizedLinear | IntegerLinear | Float8Linear]:
    """What takes the place of a linear layer."""
    if integer_products.is_integer(kind):
        return IntegerLinear
    return Float8Linear if kind == float8_weights.KIND else QuantizedLinear
