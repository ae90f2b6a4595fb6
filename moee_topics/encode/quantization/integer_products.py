"""Products of 8-bit integers on a CPU (``quantize: w8a8``, ``w7a8``), scaled for each output and each token.

Weights are -127 ... 127 (w8a8) or -63 ... 63 (w7a8), states 1 ... 255 around 128. oneDNN multiplies them, through
``onednn.qlinear_pointwise`` of torch; ``row_kernels`` rounds and scales. Sums are integers, so a vector has the
same bits in every pack: VNNI and AMX sum in 32 bits, and AVX2, which sums pairs in 16 bits, can with weights of seven.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch import Tensor, nn
from typing_extensions import TypeIs

from moee_topics.encode.settings import Integer
from moee_topics.errors import KernelError, ModelError

if TYPE_CHECKING:
    from types import ModuleType

KINDS: tuple[Integer, ...] = get_args(Integer)

LEVELS: dict[Integer, int] = {"w8a8": 127, "w7a8": 63}
"""The largest integer of a weight."""

ZERO = 128
"""The code of 0 of a state."""


def is_integer(kind: str) -> TypeIs[Integer]:
    """Whether weights of this kind are multiplied as integers."""
    return kind in KINDS


class IntegerMatrix:
    """A weight (rows, columns) of integers, laid out as the kernels of this processor read it.

    Attributes:
        nbytes: what it takes, scales included.

    Raises:
        ModelError: no kernel here multiplies this shape exactly.
    """

    def __init__(self, codes: Tensor, absmax: Tensor, kind: Integer) -> None:
        if not is_exact(kind, *codes.shape):
            raise ModelError(_lacking(kind, f"for weights of {codes.shape[0]} x {codes.shape[1]} "))
        self.rows = len(codes)
        self.scales = absmax.cpu().float() / LEVELS[kind]
        self._packed = _prepacked(codes.cpu())
        self.nbytes = codes.nbytes + self.scales.nbytes

    def product(self, codes: Tensor) -> Tensor:
        """Of states (T, columns) as codes the product (T, rows) in float32, still to be multiplied by their scales."""
        return _multiplied(codes, self._packed, self.scales)


def _prepacked(codes: Tensor) -> Tensor:
    # In rows: a transposed view is read as if it lay so, without a word (torch 2.13).
    return cast(Tensor, torch.ops.onednn.qlinear_prepack(codes.contiguous(), None))


def _multiplied(codes: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    # float32, not bfloat16: that output goes a slow way on AVX2.
    options: tuple[Any, ...] = (None, 1.0, 0, torch.float32, "none", [], "")
    return cast(
        Tensor, torch.ops.onednn.qlinear_pointwise(codes, 1.0, ZERO, packed, scales, _zeros(len(scales)), *options)
    )


@cache
def _zeros(count: int) -> Tensor:
    """Zero points of weights, which are none; shared by all of a shape."""
    return torch.zeros(count, dtype=torch.int32)


@cache
def is_exact(kind: Integer, rows: int = 64, columns: int = 64) -> bool:
    """Whether this processor multiplies weights of a shape without a sum that overflows, bit for bit."""
    # The largest codes in random signs: pairs of 255 x 127 leave 16 bits, and whole sums stay below 2^24, from where on
    # float32 rounds them.
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(2, (64, columns), generator=generator, dtype=torch.uint8) * 254 + 1
    weight = (torch.randint(2, (rows, columns), generator=generator, dtype=torch.int8) * 2 - 1) * LEVELS[kind]
    scales = torch.linspace(0.5, 1.0, rows)
    expected = ((codes.double() - ZERO) @ weight.double().T).float() * scales
    try:
        return torch.equal(_multiplied(codes, _prepacked(weight), scales), expected)
    except (AttributeError, RuntimeError, NotImplementedError):  # a torch without oneDNN, or not for this processor
        return False


def check_kernel(kind: str, device: torch.device) -> None:
    """Refuses integer arithmetic where it is not to be had; other kinds pass.

    Raises:
        KernelError: the device is no CPU, or the processor has no exact kernel.
    """
    if not is_integer(kind):
        return
    if device.type != "cpu":
        raise KernelError(f"quantize: {kind} is arithmetic of CPUs, not of {device}. Use int8, or device: cpu.")
    check_here(kind)


def check_here(kind: Integer) -> None:
    """Refuses integer arithmetic that this processor lacks.

    Raises:
        KernelError: it has no exact kernel; the message says what it has.
    """
    if not is_exact(kind):
        raise KernelError(_lacking(kind))


def exact_kinds() -> list[Integer]:
    """The kinds that this processor multiplies exactly, the truer first."""
    return [kind for kind in KINDS if is_exact(kind)]


def _lacking(kind: Integer, where: str = "") -> str:
    has = ", ".join([*(other for other in exact_kinds() if other != kind), "int8", "nf4", "none"])
    return f"This processor has no kernel {where}that computes quantize: {kind} exactly. It has: {has}."


def stored_as(shape: tuple[int, ...]) -> dict[str, tuple[int, torch.dtype]]:
    """Ending of the name -> (length, dtype) of each tensor that holds a weight of a shape until it is packed."""
    return {"": (math.prod(shape), torch.int8), "_absmax": (math.prod(shape[:-1]), torch.float32)}


def quantize(weight: Tensor, kind: Integer) -> dict[str, Tensor]:
    """Rounds a weight of shape (rows, columns) or (experts, rows, columns), one matrix at a time.

    Returns:
        ending of the name -> flat tensor, see ``stored_as``.
    """
    codes, largest = [], []
    for matrix in weight if weight.dim() == 3 else weight[None]:
        integers, absmax = _matrix(matrix, kind)
        codes.append(integers.view(-1))
        largest.append(absmax)
    return {"": torch.cat(codes), "_absmax": torch.cat(largest)}


def _matrix(weight: Tensor, kind: Integer) -> tuple[Tensor, Tensor]:
    """Codes of a matrix, int8, and the largest absolute value of each of its rows."""
    values = weight.float()
    absmax = values.abs().amax(dim=1)
    factor = LEVELS[kind] / torch.where(absmax > 0, absmax, 1.0)
    return (values * factor[:, None]).round_().to(torch.int8), absmax


def pack(module: Any) -> None:
    """Lays out the weights of a module that was loaded as ``stored_as`` says, in the place of its parameters.

    Raises:
        ModelError: no kernel here multiplies a weight of this shape exactly.
    """
    matrices: dict[str, list[IntegerMatrix]] = {}
    for name, shape in getattr(module, "quantized_shapes", {}).items():
        codes, absmax = (getattr(module, name + ending).data for ending in stored_as(shape))
        # One expert after the other, so that not all of them are in memory twice.
        stacked = zip(codes.view(-1, *shape[-2:]), absmax.view(-1, shape[-2]), strict=True)
        matrices[name] = [IntegerMatrix(*parts, module.quantized_kind) for parts in stacked]
        for ending in stored_as(shape):
            delattr(module, name + ending)
    if matrices:
        module.packed_matrices = matrices


def packed(module: Any) -> dict[str, list[IntegerMatrix]]:
    """The packed weights of a module by their names, a matrix for each expert; empty for any other module."""
    return getattr(module, "packed_matrices", {})


class IntegerLinear(nn.Module):
    """A linear layer in 8-bit integers."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.bias, self.weight = plain.bias, plain.weight
        self.packed_matrices: dict[str, list[IntegerMatrix]] = {}

    def forward(self, states: Tensor) -> Tensor:
        """Of (..., in) the product (..., out)."""
        codes, scales = rounded(states.reshape(-1, self.in_features))
        output = scaled(packed(self)["weight"][0].product(codes), scales, states.dtype)
        if self.bias is not None:
            output += self.bias
        return output.view(*states.shape[:-1], self.out_features)


def rounded(states: Tensor, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Codes of states (T, columns), uint8, and the scale of each row in float32.

    Args:
        states: of any floating type.
        rows: rows of the codes, where more are wanted than there are; what the others hold is left open.
    """
    codes, scales = torch.empty(rows or len(states), states.shape[1], dtype=torch.uint8), torch.empty(len(states))
    if states.dtype == torch.bfloat16:
        _kernels().round_bfloat16(_bits(states.contiguous()), codes.numpy(), scales.numpy())
    else:
        _kernels().round_float32(states.float().contiguous().numpy(), codes.numpy(), scales.numpy())
    return codes, scales


def gated_and_rounded(product: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """``rounded`` of silu(gate) * up: of a product (rows, 2 x columns) whose first rows have these scales."""
    codes, own = torch.empty(len(product), product.shape[1] // 2, dtype=torch.uint8), torch.empty(len(scales))
    _kernels().silu_and_round(product.numpy(), scales.numpy(), codes.numpy(), own.numpy())
    return codes, own


def scaled(product: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """A product with each row multiplied by its scale."""
    if dtype == torch.bfloat16:
        output = torch.empty(product.shape, dtype=dtype)
        _kernels().scale_to_bfloat16(product.numpy(), scales.numpy(), _bits(output))
        return output
    return (product * scales[:, None]).to(dtype)


def add_scaled(product: Tensor, scales: Tensor, tokens: Tensor, total: Tensor) -> None:
    """Adds the first rows of a product, each times its scale, to the rows of ``total`` that their tokens have."""
    _kernels().add_scaled(product.numpy(), scales.numpy(), tokens.numpy(), total.numpy())


def _bits(states: Tensor) -> Any:
    return states.view(torch.uint16).numpy()


@cache
def _kernels() -> ModuleType:
    # Numba takes half a second to import, and most models need none of it.
    from moee_topics.encode.kernels import row_kernels

    return row_kernels
