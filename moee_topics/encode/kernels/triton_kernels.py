"""What stands between the matrix products of a model on a GPU, in Triton: passes that read every number once.

Triton comes with torch where there are GPUs. A kernel is compiled at its first call, in tenths of a second, and kept on
disk. Sums are in float32 and in one order, so that a row depends neither on its neighbours nor on their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ERRORS: tuple[type[Exception], ...] = (triton.TritonError,)
"""What a kernel raises that this GPU cannot run, beside Python's own errors."""

COLUMNS = 1024
"""Of a row that a program takes: 16 bytes of 16-bit numbers for each of its 128 threads."""


def _kernel(function: Callable[..., Any]) -> Any:
    return triton.jit(function)  # whose decorator has no types


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of two halves of one product or two products, (..., width) each."""
    inner = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    gate, up = gate.flatten(0, -2), up.flatten(0, -2)
    if gate.stride(1) != 1 or up.stride(1) != 1:
        gate, up = gate.contiguous(), up.contiguous()
    width = gate.shape[1]
    with torch.cuda.device(gate.device):
        grid = len(gate), triton.cdiv(width, COLUMNS)
        _gate[grid](gate, up, inner, gate.stride(0), up.stride(0), width, COLUMNS)
    return inner


@_kernel
def _gate(gates, ups, inner, gate_stride, up_stride, width: tl.constexpr, columns: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inside = column < width
    gate = tl.load(gates + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(ups + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(inner + row * width + column, gate * tl.sigmoid(gate) * up, mask=inside)


def rounded(states: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of states (T, columns) in e4m3, each row by the scale that takes its largest number to 448, in float32."""
    states = states if states.stride(1) == 1 else states.contiguous()
    return _in_float8(_round, states, states.shape[1])


def gated_and_rounded(product: Tensor) -> tuple[Tensor, Tensor]:
    """``rounded`` of silu(gate) * up, of a product (T, 2 x columns)."""
    product = product if product.stride(1) == 1 else product.contiguous()
    return _in_float8(_gate_and_round, product, product.shape[1] // 2)


def _in_float8(kernel: Any, states: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    codes = torch.empty(len(states), columns, dtype=torch.float8_e4m3fn, device=states.device)
    scales = torch.empty(len(states), dtype=torch.float32, device=states.device)
    if len(states):
        with torch.cuda.device(states.device):
            # A row is one program, whose numbers are in registers: 16 of a thread while it has no more than 8,192.
            wide = triton.next_power_of_2(columns)
            warps = min(16, max(4, wide // 512))
            kernel[len(states),](states, codes, scales, states.stride(0), columns, wide, num_warps=warps)
    return codes, scales


@_kernel
def _round(states, codes, scales, stride, width: tl.constexpr, wide: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, wide)
    inside = column < width
    values = tl.load(states + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / 448.0
    tl.store(codes + row * width + column, (values / scale).to(tl.float8e4nv), mask=inside)
    tl.store(scales + row, scale)


@_kernel
def _gate_and_round(product, codes, scales, stride, width: tl.constexpr, wide: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, wide)
    inside = column < width
    gate = tl.load(product + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(product + row * stride + width + column, mask=inside, other=0.0).to(tl.float32)
    values = gate * tl.sigmoid(gate) * up
    scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / 448.0
    tl.store(codes + row * width + column, (values / scale).to(tl.float8e4nv), mask=inside)
    tl.store(scales + row, scale)


def weighted_sum(rows: Tensor, places: Tensor, weights: Tensor, computed: Tensor) -> Tensor:
    """The rows (S, D) at the places (T, k) of each token, added up by their weights (T, k): (T, D).

    Of the rows the first ``computed`` (1,) are numbers; what lies behind them counts as 0.
    """
    tokens, k = places.shape
    total = rows.new_empty(tokens, rows.shape[1])
    with torch.cuda.device(rows.device):
        grid = tokens, triton.cdiv(rows.shape[1], COLUMNS)
        _add_up[grid](rows, places, weights.contiguous(), computed, total, rows.shape[1], k, COLUMNS)
    return total


@_kernel
def _add_up(rows, places, weights, computed, total, size: tl.constexpr, k: tl.constexpr, columns: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inside, count = column < size, tl.load(computed)
    added = tl.zeros([columns], tl.float32)
    for slot in tl.static_range(k):
        place = tl.load(places + token * k + slot)
        weight = tl.load(weights + token * k + slot).to(tl.float32)
        row = tl.load(rows + place * size + column, mask=inside & (place < count), other=0.0)
        added += weight * row.to(tl.float32)
    tl.store(total + token * size + column, added, mask=inside)


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (1, heads, T, size) turned by the angles (1, T, size), token by token in memory."""
    _, heads, tokens, size = states.shape
    states = states if states.stride(3) == 1 else states.contiguous()
    turned = states.new_empty(tokens, heads, size)
    padded = triton.next_power_of_2(heads), triton.next_power_of_2(size // 2)
    with torch.cuda.device(states.device):
        strides = states.stride(1), states.stride(2)
        _rotate[tokens,](states, cos.contiguous(), sin.contiguous(), turned, *strides, heads, size // 2, *padded)
    return turned.transpose(0, 1)[None]


@_kernel
def _rotate(  # type: ignore[no-untyped-def]
    states, cos, sin, turned, head_stride, token_stride,
    heads: tl.constexpr, half: tl.constexpr, many: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head, column = tl.arange(0, many)[:, None], tl.arange(0, wide)[None, :]
    inside, known = (head < heads) & (column < half), column < half
    angles = token * 2 * half + column
    first_cos = tl.load(cos + angles, mask=known, other=0.0).to(tl.float32)
    first_sin = tl.load(sin + angles, mask=known, other=0.0).to(tl.float32)
    second_cos = tl.load(cos + angles + half, mask=known, other=0.0).to(tl.float32)
    second_sin = tl.load(sin + angles + half, mask=known, other=0.0).to(tl.float32)
    place = states + token * token_stride + head * head_stride + column
    first = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(place + half, mask=inside, other=0.0).to(tl.float32)
    into = turned + (token * heads + head) * 2 * half + column
    tl.store(into, first * first_cos - second * first_sin, mask=inside)
    tl.store(into + half, second * second_cos + first * second_sin, mask=inside)
