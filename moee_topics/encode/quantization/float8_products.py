"""Products in floating point of eight bits on a GPU (``quantize: fp8``), scaled for each output and each token.

Weights and states are e4m3 numbers (four bits of exponent, three of mantissa, 448 the largest; Micikevicius et al.,
"FP8 Formats for Deep Learning", arXiv 2209.05433) with a float32 scale for each row, so a vector does not depend on its
pack. GPUs of compute capability 8.9 multiply them, those of 9.0 for all experts in one product. Experts are held so,
and dense layers with a gate; attention stays in bfloat16.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from subprocess import SubprocessError
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from moee_topics.encode.settings import Float8
from moee_topics.errors import ModelError

logger = logging.getLogger(__name__)

KIND: Float8 = "fp8"

LARGEST = 448.0
"""The largest e4m3 number."""

LEAST_CAPABILITY = (8, 9)
"""Of a GPU: Ada; Hopper has 9.0."""

MULTIPLE = 16
"""Rows and columns of a weight are a multiple of it, or no kernel takes it."""

MOST_OFF = 0.01
"""How far a product may be from that of the same rounded numbers in float32, relative to its norm: rounding to bfloat16
is off by 0.002."""

FAILURES = (RuntimeError, ValueError, AttributeError)
"""What torch raises where it has no such product, or another one, and what a wrong number raises here."""

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


class Float8Linear(nn.Module):
    """A linear layer in float8."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.bias, self.weight = plain.bias, plain.weight

    def forward(self, states: Tensor) -> Tensor:
        """Of (..., in) the product (..., out)."""
        codes, scales = rounded(states.reshape(-1, self.in_features))
        output = product(codes, scales, weight_of(self, "weight")).to(states.dtype)
        if self.bias is not None:
            output += self.bias
        return output.view(*states.shape[:-1], self.out_features)


def product(codes: Tensor, scales: Tensor, weight: Float8Weight) -> Tensor:
    """Of rounded states (T, inputs) the product (T, outputs) with one matrix, in bfloat16."""
    return torch._scaled_mm(
        codes, weight.codes.t(), scales[:, None], weight.scales[None], out_dtype=torch.bfloat16, use_fast_accum=True
    )


def grouped_product(codes: Tensor, scales: Tensor, weight: Float8Weight, ends: Tensor) -> Tensor:
    """Of rounded states (T, inputs), in the order of their experts, the products (T, outputs) in bfloat16.

    Args:
        codes: e4m3.
        scales: of each row.
        weight: a matrix for each expert.
        ends: after which row the states of each expert end, int32; what lies behind the last is left open.
    """
    if groups(codes.device):
        return _all_experts(codes, scales, weight, ends)
    output = torch.empty(len(codes), weight.codes.shape[1], dtype=torch.bfloat16, device=codes.device)
    start = 0
    for expert, end in enumerate(ends.tolist()):  # the one place where the layer waits for the device
        rows, start = slice(start, end), end
        if rows.start < end:
            one = Float8Weight(weight.codes[expert], weight.scales[expert])
            output[rows] = product(codes[rows], scales[rows], one)
    return output


def _all_experts(codes: Tensor, scales: Tensor, weight: Float8Weight, ends: Tensor) -> Tensor:
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


def rounded(states: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of states (T, columns) in e4m3, and the scale of each row in float32."""
    return passes_for(states.device).rounded(states)


def gated_and_rounded(product: Tensor) -> tuple[Tensor, Tensor]:
    """``rounded`` of silu(gate) * up, of a product (T, 2 x columns)."""
    return passes_for(product.device).gated_and_rounded(product)


def rounded_by_torch(states: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`rounded` in several passes."""
    values = states.float()
    scales = values.abs().amax(dim=-1).clamp_min(_TINY) / LARGEST
    return (values / scales[..., None]).to(torch.float8_e4m3fn), scales


def gated_and_rounded_by_torch(product: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`gated_and_rounded` in several passes."""
    gate, up = product.float().chunk(2, dim=-1)
    return rounded_by_torch(functional.silu(gate) * up)


@dataclass(frozen=True)
class Passes:
    """What rounds states on one kind of device."""

    name: str = "torch"
    rounded: Callable[[Tensor], tuple[Tensor, Tensor]] = rounded_by_torch
    gated_and_rounded: Callable[[Tensor], tuple[Tensor, Tensor]] = gated_and_rounded_by_torch


@cache
def passes_for(device: torch.device) -> Passes:
    """One pass each on a GPU where Triton's kernels give what torch gives, which takes several."""
    if device.type != "cuda":
        return Passes()
    plain, several = Passes(), "States are rounded to float8 in several passes each on %s: %s."
    try:
        from moee_topics.encode.kernels import triton_kernels
    except ImportError:
        logger.warning(several, device, "one needs pip install triton")
        return plain
    ours, example = Passes("triton", triton_kernels.rounded, triton_kernels.gated_and_rounded), _states(device, 288)
    # It is compiled now, for which a C compiler and a driver are needed that fit.
    failures: tuple[type[Exception], ...] = (*FAILURES, OSError, TypeError, SubprocessError, *triton_kernels.ERRORS)
    try:
        _check_near(_expanded(*ours.rounded(example)), _expanded(*plain.rounded(example)))
        _check_near(_expanded(*ours.gated_and_rounded(example)), _expanded(*plain.gated_and_rounded(example)))
    except failures as error:
        logger.warning(several, device, _first_line(error))
        return plain
    return ours


@cache
def groups(device: torch.device) -> bool:
    """Whether a device multiplies with all experts at once."""
    if device.type != "cuda":
        return False
    states, weight = _states(device, 64), Float8Weight(*rounded_by_torch(_states(device, 64, 5 * 48).view(5, 48, 64)))
    ends = torch.tensor([9, 9, 20, 36, 37], dtype=torch.int32, device=device)
    codes, scales = rounded_by_torch(states)
    experts = torch.bucketize(torch.arange(len(states), device=device), ends, right=True)
    known = torch.einsum("ti,toi->to", _expanded(codes, scales), _expanded(*weight)[experts])
    try:
        _check_near(_all_experts(codes, scales, weight, ends), known)
    except FAILURES as error:
        logger.warning(
            "In float8 the experts are multiplied one after the other on %s: %s.", device, _first_line(error)
        )
        return False
    return True


def check_kernel(kind: str, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
    """Refuses products in float8 where they are not to be had; other kinds pass.

    Raises:
        ModelError: the device is no GPU that has them, or their numbers are wrong; the message says what it has. Or the
            rest of the model would be in another type than products are.
    """
    if kind != KIND:
        return
    if reason := lacking(device):
        has = "w8a8, w7a8, int8, nf4" if device.type == "cpu" else "int8, nf4"
        raise ModelError(f"quantize: {KIND} is arithmetic of GPUs, and {reason}. For {device} there are {has}, none.")
    if dtype != torch.bfloat16:
        name = str(dtype).removeprefix("torch.")
        raise ModelError(f"quantize: {KIND} gives bfloat16, and encoder.dtype is {name}. Leave encoder.dtype out.")


@cache
def lacking(device: torch.device, outputs: int = 64, inputs: int = 64) -> str:
    """Why a device does not multiply weights of a shape in float8; empty where it does."""
    if device.type != "cuda":
        return f"this is {device}"
    capability, name = torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device)
    if capability < LEAST_CAPABILITY:
        least, its = (".".join(map(str, numbers)) for numbers in (LEAST_CAPABILITY, capability))
        return f"it needs compute capability {least}, while {name} has {its}"
    try:
        check_product(device, outputs, inputs)
    except FAILURES as error:
        return f"{name} fails with weights of {outputs} x {inputs}: {_first_line(error)}"
    return ""


def check_product(device: torch.device, outputs: int, inputs: int) -> None:
    """Multiplies random states with a weight of a shape.

    Raises:
        ValueError: the product is not that in float32 of the same rounded numbers.
    """
    codes, scales = rounded(_states(device, inputs))
    weight = Float8Weight(*rounded(_states(device, inputs, outputs)))
    _check_near(product(codes, scales, weight), _expanded(codes, scales) @ _expanded(*weight).T)


def check_weights(model: Any) -> None:
    """Multiplies with weights of each shape that a model holds in float8, where it holds them.

    Raises:
        ModelError: a product is not near that in float32.
    """
    for module in model.modules():
        for name, shape in module.quantized_shapes.items() if is_held(module) else ():
            device = getattr(module, name).device
            if reason := lacking(device, *shape[-2:]):
                raise ModelError(f"This model cannot be read in {KIND}: {reason}. Use int8, nf4 or none.")


def _states(device: torch.device, columns: int, rows: int = 37) -> Tensor:
    """Random numbers of which some are large, as those of hidden states are."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(rows, columns, generator=generator, device="cpu")
    states[:, ::31] *= 30
    return states.to(device, torch.bfloat16)


def _expanded(codes: Tensor, scales: Tensor) -> Tensor:
    """The numbers (..., columns), in float32, that codes and scales stand for."""
    return codes.float() * scales[..., None]


def _check_near(ours: Tensor, known: Tensor) -> None:
    off = float((ours.float() - known).norm() / known.norm())
    if not off <= MOST_OFF:
        raise ValueError(f"its numbers are off by {off:.3f}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
