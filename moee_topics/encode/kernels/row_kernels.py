"""What stands between two products of 8-bit integers, one pass over a row each, compiled by numba.

The same steps in torch cost as much as the products save: 2.4 ns a number for rounding alone, here 0.25
(benchmarks/LOG.md). Every row is computed by itself, so its numbers depend neither on its neighbours nor on threads.
Compiled code is kept on disk, as that of UMAP is; without it the first call takes seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import float32, int32, njit, uint8

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

ZERO = 128
"""The code of 0 in unsigned eight bits, -127 ... 127 around it."""

LEVELS = 127

FILES = sorted(Path(__file__).parent.glob("*_kernels.py"))
SOURCES = hashlib.blake2b(b"".join(file.read_bytes() for file in FILES)).hexdigest()
"""Of all kernels: where one is another than it was, none is used that was kept on disk."""


# Not all of fastmath: a row that holds NaN has to give NaN. The error model of Python tests every division, which
# keeps the loops from being vectorised. Not parallel: numba's OpenMP is another one than torch's, and the threads of
# both wait for work on the same cores.
def compiled(kernel: Kernel) -> Kernel:
    """A kernel as machine code, made at its first call and kept on disk."""
    machine = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(kernel)
    cache: Any = getattr(machine, "_cache", None)
    if cache is not None:  # with NUMBA_DISABLE_JIT it stays a function
        # What a kernel calls is compiled into it, and numba looks at date and size of the kernel's own file alone.
        kept = cache._cache_file
        kept._source_stamp = (kept._source_stamp, SOURCES)
    return cast(Kernel, machine)


@compiled
def _round_row(row: Any, codes: Any) -> Any:
    """Codes of one row of float32, and the scale that gives it back; NaN for a row that is not finite."""
    bits, largest = row.view(np.int32), int32(0)
    for i in range(len(row)):
        # The order of floats without sign is that of their bits, with infinity and NaN above all.
        size = bits[i] & int32(0x7FFFFFFF)
        largest = size if size > largest else largest
    absmax = np.int32(largest).view(np.float32)
    factor = float32(LEVELS) / absmax if absmax > 0 else float32(0)
    for i in range(len(row)):
        codes[i] = uint8(int32(np.rint(row[i] * factor)) + int32(ZERO))
    return absmax / float32(LEVELS)


@compiled
def round_float32(states: Any, codes: Any, scales: Any) -> None:
    """Of (rows, columns) float32 the codes, uint8 of the same shape, and the scale of each row."""
    for row in range(len(states)):
        scales[row] = _round_row(states[row], codes[row])


@compiled
def round_bfloat16(states: Any, codes: Any, scales: Any) -> None:
    """The same of bfloat16, which numpy knows as uint16: the upper half of a float32."""
    for row in range(len(states)):
        values = np.empty(states.shape[1], np.float32)
        bits = values.view(np.int32)
        for i in range(len(values)):
            bits[i] = int32(int32(states[row, i]) << int32(16))
        scales[row] = _round_row(values, codes[row])


@compiled
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) to 2e-7: a power of two in the exponent, and a polynomial for what is left of it."""
    power = -x if x > float32(-87) else float32(87)
    power = power if power > float32(-87) else float32(-87)
    whole = np.rint(power * float32(1.4426950408889634))
    # ln 2 in two parts, of which the first has so few bits that its product is exact.
    rest = power - whole * float32(0.693359375) + whole * float32(2.12194440e-4)
    value = float32(1 / 5040)
    value = value * rest + float32(1 / 720)
    value = value * rest + float32(1 / 120)
    value = value * rest + float32(1 / 24)
    value = value * rest + float32(1 / 6)
    value = value * rest + float32(1 / 2)
    value = value * rest + float32(1)
    value = value * rest + float32(1)
    exponent = np.int32(int32(int32(whole) + int32(127)) << int32(23))
    return float32(1) / (float32(1) + exponent.view(np.float32) * value)


@compiled
def silu_and_round(product: Any, row_scales: Any, codes: Any, scales: Any) -> None:
    """Codes of silu(gate) * up, of a product (rows, 2 x columns) whose rows lack their scales."""
    columns = codes.shape[1]
    for row in range(len(scales)):
        gate, up, scale = product[row, :columns], product[row, columns:], row_scales[row]
        values = np.empty(columns, np.float32)
        for i in range(columns):
            x = gate[i] * scale
            values[i] = x * sigmoid(x) * (up[i] * scale)
        scales[row] = _round_row(values, codes[row])


@compiled
def add_scaled(product: Any, row_scales: Any, tokens: Any, total: Any) -> None:
    """Adds each row of a product, times its scale, to the row of ``total`` that its token has; no token comes twice."""
    for row in range(len(tokens)):
        into, values, scale = total[tokens[row]], product[row], row_scales[row]
        for i in range(len(values)):
            into[i] += values[i] * scale


@compiled
def scale_to_bfloat16(product: Any, row_scales: Any, out: Any) -> None:
    """Each row of a product times its scale in bfloat16, as uint16, to the nearest even."""
    for row in range(len(out)):
        into, values, scale = out[row], product[row], row_scales[row]
        for i in range(len(values)):
            value = values[i] * scale
            bits = np.float32(value).view(np.uint32)
            rounded = np.uint32((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))
            into[i] = np.uint16(rounded) if value == value else np.uint16(0x7FC0)
