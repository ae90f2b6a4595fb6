"""The most that a device multiplies, in float32, bfloat16 and 8-bit integers."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

SECONDS = 0.3
"""How long each product is tried for."""


def measure(width: int, device: str, threads: int, clock: str) -> dict[str, float]:
    """Best operations a second of a linear layer of this width, over several numbers of rows; 0 where there is none."""
    torch.set_num_threads(threads)
    now = time.process_time if clock == "processor" else time.perf_counter
    found = {kind: _best(*_floats(width, device, kind), device, now) for kind in ("float32", "bfloat16")}
    if device == "cpu":
        found["int8"] = _best(*_integers(width), device, now)
    return found


def _floats(width: int, device: str, kind: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    dtype = getattr(torch, kind)
    weight = torch.randn(width, width, device=device, dtype=dtype)
    states = torch.randn(8192, width, device=device, dtype=dtype)
    return (lambda rows: functional.linear(rows, weight)), states


def _integers(width: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Unsigned codes of states times signed ones of a weight, as oneDNN multiplies them."""
    weight = torch.randint(-64, 64, (width, width), dtype=torch.int8)
    packed, scales = torch.ops.onednn.qlinear_prepack(weight, None), torch.ones(width)
    nothing = torch.zeros(width, dtype=torch.int32)
    options = (None, 1.0, 0, torch.float32, "none", [], "")

    def multiply(rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.onednn.qlinear_pointwise(rows, 1.0, 128, packed, scales, nothing, *options)
        return product

    return multiply, torch.randint(0, 255, (8192, width), dtype=torch.uint8)


def _best(multiply: Callable[[Tensor], Tensor], states: Tensor, device: str, now: Callable[[], float]) -> float:
    best, width = 0.0, states.shape[1]
    for rows in (512, 1024, 4096) if device == "cpu" else (4096, 8192):
        until = now() + SECONDS / 3
        while now() < until:
            start = now()
            multiply(states[:rows])
            if device != "cpu":
                torch.cuda.synchronize()
            best = max(best, 2 * rows * width**2 / (now() - start))
    return best
