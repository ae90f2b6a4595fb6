"""Which device multiplies in float8, by which kernels: each has to give in a trial what float32 gives.

GPUs of compute capability 8.9 multiply float8, those of 9.0 for all experts in one product.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from moee_topics.encode import kernels
from moee_topics.encode.quantization import float8_weights, integer_products
from moee_topics.encode.quantization.float8_weights import (
    KIND,
    Float8Weight,
    gated_and_rounded_by_torch,
    is_held,
    rounded_by_torch,
)
from moee_topics.errors import KernelError, ModelError
from moee_topics.messages import first_lines

logger = logging.getLogger(__name__)

LEAST_CAPABILITY = (8, 9)
"""Of a GPU: Ada; Hopper has 9.0."""

MOST_OFF = 0.01
"""How far a product may be from that of the same rounded numbers in float32, relative to its norm: rounding to bfloat16
is off by 0.002."""

FAILURES = (RuntimeError, ValueError, AttributeError)
"""What torch raises where it has no such product, or another one, and what a wrong number raises here."""


@dataclass(frozen=True)
class Passes:
    """What rounds states on one kind of device.

    Attributes:
        failures: what they raise where they cannot run, a compiler's errors too.
    """

    name: str = "torch"
    rounded: Callable[[Tensor], tuple[Tensor, Tensor]] = rounded_by_torch
    gated_and_rounded: Callable[[Tensor], tuple[Tensor, Tensor]] = gated_and_rounded_by_torch
    failures: tuple[type[Exception], ...] = FAILURES


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
    failures: tuple[type[Exception], ...] = (*FAILURES, *kernels.FAILURES, *triton_kernels.ERRORS)
    ours = Passes("triton", triton_kernels.rounded, triton_kernels.gated_and_rounded, failures)
    example = _states(device, 288)
    try:
        _check_near(_expanded(*ours.rounded(example)), _expanded(*plain.rounded(example)))
        _check_near(_expanded(*ours.gated_and_rounded(example)), _expanded(*plain.gated_and_rounded(example)))
    except failures as error:
        logger.warning(several, device, first_lines(error))
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
        _check_near(float8_weights.product_of_experts(codes, scales, weight, ends), known)
    except FAILURES as error:
        logger.warning(
            "In float8 the experts are multiplied one after the other on %s: %s.", device, first_lines(error)
        )
        return False
    return True


def check_kernel(kind: str, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
    """Refuses products in float8 where they are not to be had; other kinds pass.

    Raises:
        KernelError: the device is no GPU that has them, or their numbers are wrong; the message says what it has.
        ModelError: the rest of the model would be in another type than products are.
    """
    if kind != KIND:
        return
    if reason := lacking(device):
        integers = integer_products.exact_kinds() if device.type == "cpu" else []
        has = ", ".join([*integers, "int8", "nf4", "none"])
        raise KernelError(f"quantize: {KIND} is arithmetic of GPUs, and {reason}. For {device} there are {has}.")
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
    except passes_for(device).failures as error:
        return f"{name} fails with weights of {outputs} x {inputs}: {first_lines(error)}"
    return ""


def fails(device: torch.device) -> bool:
    """Whether a GPU that is new enough for float8 fails in its trial; older ones are not made for it."""
    is_gpu = device.type == "cuda"
    return is_gpu and torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY and bool(lacking(device))


def check_product(device: torch.device, outputs: int, inputs: int) -> None:
    """Multiplies random states with a weight of a shape.

    Raises:
        ValueError: the product is not that in float32 of the same rounded numbers.
    """
    rounded = passes_for(device).rounded
    codes, scales = rounded(_states(device, inputs))
    weight = Float8Weight(*rounded(_states(device, inputs, outputs)))
    _check_near(float8_weights.product(codes, scales, weight), _expanded(codes, scales) @ _expanded(*weight).T)


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
