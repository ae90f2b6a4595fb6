"""The small operators on a CPU (``small_operators``), one pass over a row each, compiled by numba.

torch makes a norm of seven passes and a rotation of five: for 2,048 tokens of the embedded model in bfloat16 a norm
takes 3.1 ms there and 0.6 here, a rotation 2.7 and 0.5 (benchmarks/LOG.md). All is computed in float32 and rounded
once. A row is computed by itself, so its numbers depend neither on its neighbours nor on threads. Compiled code is kept
on disk; without it the first passes take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import float32, int32, types
from numba.core.errors import NumbaError
from numba.extending import overload
from torch import Tensor

from moee_topics.encode.kernels.row_kernels import compiled, sigmoid

ERRORS = (NumbaError,)
"""What numba raises where it cannot compile for this machine."""

LANES = 64
"""Sums that a norm makes beside each other: one alone would wait for each addition, and lose more digits."""

LANES_OF_A_HEAD = 16
"""The same of the product of a query and a key, which has 64 or 128 numbers."""

LANES_OF_AN_EXPERT = 16
"""Numbers of an expert that are gated beside each other: left to the compiler, the last third of 48 go one by one."""

NUMBERS_PER_THREAD = 1 << 20
"""Fewer are done before another thread has begun, whose core may still spin in torch's OpenMP (benchmarks/LOG.md)."""


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of two halves of one product or two products, (..., width) each."""
    out = gate.new_empty(gate.shape)
    _in_threads(_gate, _rows(out), *_flat(gate), *_flat(up))
    return out


def gated_by_expert(product: Tensor, weights: Tensor) -> Tensor:
    """silu(gate) * up times the weight (T, E) of each expert, of their products (T, E, 2 x width): (T, E, width)."""
    out = product.new_empty(*product.shape[:2], product.shape[2] // 2)
    _in_threads(_gate_by_expert, _array(out), _array(product.contiguous()), _array(weights.float()))
    return out


def routed(logits: Tensor, bias: Tensor, k: int, is_normed: bool, factor: float) -> tuple[Tensor, Tensor]:
    """The sigmoids (T, k) of router logits (T, E), float32, that are the highest with a bias (E,), and their experts.

    With ``is_normed`` the sum of each row is 1; then come the ``factor`` and the order of the experts.
    """
    weights = logits.new_empty(len(logits), k)
    experts = torch.empty(weights.shape, dtype=torch.int64)
    _in_threads(_route, *map(_array, (weights, experts, logits, bias.float())), is_normed, factor)
    return weights, experts


def with_rows_added(total: Tensor, rows: Tensor, weights: Tensor, tokens: Tensor) -> Tensor:
    """``total`` (T, D), float32, to whose rows ``tokens`` (n,) the first n of (S, D) were added, times weights (n,)."""
    _in_threads(_add_rows, _array(rows[: len(tokens)]), _array(total), _array(weights.contiguous()), _array(tokens))
    return total


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (1, heads, T, size) turned by the angles (1, T, size)."""
    by_token = states[0].transpose(0, 1).contiguous()  # as projections give them, so that nothing is moved
    out = torch.empty_like(by_token)
    _in_threads(_rotate, _array(out), _array(by_token), *(_array(part[0].contiguous()) for part in (cos, sin)))
    return out.transpose(0, 1)[None]


def rms_norm(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """States (..., D) by the root of their mean square, times a weight (D,)."""
    out = states.new_empty(states.shape)
    _in_threads(_norm, _rows(out), *_flat(states), _array(weight.float()), epsilon)
    return out


def attended(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """Causal attention of documents (n, heads, tokens, size), of whose heads some may share keys and values."""
    # As projections give them, so that nothing is moved.
    by_token = [states.transpose(1, 2).contiguous() for states in (query, key, value)]
    out = query.new_empty(*by_token[0].shape[:3], value.shape[-1])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    _in_threads(_attend, _array(out), *map(_array, by_token), scale)
    return out.transpose(1, 2)


def _array(states: Tensor) -> Any:
    """The same memory for numba, which knows no bfloat16: its numbers are the upper halves of float32."""
    return (states.view(torch.uint16) if states.dtype == torch.bfloat16 else states).numpy()


def _rows(states: Tensor) -> Any:
    """(..., width) as (rows, width)."""
    return _array(states.view(-1, states.shape[-1]))


def _flat(states: Tensor) -> tuple[Any, int]:
    """(..., width) from its first number to its last, and how far it is from row to row."""
    # Of the halves of a product numba would read number after number, since it cannot know that they lie side by side.
    rows = states.reshape(-1, states.shape[-1])
    rows = rows if rows.stride(1) == 1 else rows.contiguous()
    step = rows.stride(0)
    return _array(rows.as_strided(((len(rows) - 1) * step + rows.shape[1],), (1,))), step


def _in_threads(kernel: Callable[..., None], out: Any, *arrays: Any) -> None:
    """Runs a kernel for all rows of ``out``, in as many threads as torch has and as are worth it."""
    parts = max(1, min(torch.get_num_threads(), out.size // NUMBERS_PER_THREAD))
    ends = [len(out) * part // parts for part in range(parts + 1)]
    others = [_threads().submit(kernel, *ends[part : part + 2], out, *arrays) for part in range(1, parts)]
    kernel(*ends[:2], out, *arrays)
    for other in others:
        other.result()


@cache
def _threads() -> ThreadPoolExecutor:
    # Numba's own threads wait busily for work, as torch's do, on the same cores.
    return ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="moee-rows")


def _value(number: Any) -> Any:
    """The float32 of a number as it lies in memory."""
    return np.uint32(int(number) << 16).view(np.float32) if isinstance(number, np.uint16) else number


def _compiled_value(number: Any) -> Any:
    def widened(number: Any) -> Any:
        return np.int32(int32(int32(number) << int32(16))).view(np.float32)

    def same(number: Any) -> Any:
        return number

    return widened if number == types.uint16 else same


overload(_value)(_compiled_value)


def _stored(value: Any, like: Any) -> Any:
    """A float32 as it lies in memory beside others, rounded to the nearest even."""
    return np.uint16(torch.tensor(value).bfloat16().view(torch.uint16)) if isinstance(like, np.uint16) else value


def _compiled_stored(value: Any, like: Any) -> Any:
    def rounded(value: Any, like: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        upper = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        return np.uint16(np.uint32(upper)) if value == value else np.uint16(0x7FC0)

    def same(value: Any, like: Any) -> Any:
        return value

    return rounded if like == types.uint16 else same


overload(_stored)(_compiled_stored)


@compiled
def _gate(first: int, last: int, out: Any, gates: Any, gate_step: int, ups: Any, up_step: int) -> None:
    width = out.shape[1]
    for row in range(first, last):
        gate, up = gates[row * gate_step : row * gate_step + width], ups[row * up_step : row * up_step + width]
        into = out[row]
        for i in range(width):
            x = _value(gate[i])
            into[i] = _stored(x * sigmoid(x) * _value(up[i]), into[i])


@compiled
def _gate_by_expert(first: int, last: int, out: Any, product: Any, weights: Any) -> None:
    width = out.shape[2]
    for row in range(first, last):
        for expert in range(out.shape[1]):
            weight, into = weights[row, expert], out[row, expert]
            gate, up = product[row, expert, :width], product[row, expert, width:]
            if weight == 0:  # not chosen, as a third of them
                into[:] = 0
                continue
            whole = width - width % LANES_OF_AN_EXPERT
            for start in range(0, whole, LANES_OF_AN_EXPERT):
                for i in range(start, start + LANES_OF_AN_EXPERT):
                    x = _value(gate[i])
                    into[i] = _stored(x * sigmoid(x) * _value(up[i]) * weight, into[i])
            for i in range(whole, width):
                x = _value(gate[i])
                into[i] = _stored(x * sigmoid(x) * _value(up[i]) * weight, into[i])


@compiled
def _route(
    first: int, last: int, weights: Any, chosen: Any, logits: Any, bias: Any, is_normed: bool, factor: float
) -> None:
    experts, k = logits.shape[1], weights.shape[1]
    scores, ranked = np.empty(experts, np.float32), np.empty(experts, np.float32)
    for row in range(first, last):
        for expert in range(experts):
            logit = logits[row, expert]
            scores[expert] = sigmoid(logit) if logit == logit else logit  # of NaN it is 0
            ranked[expert] = scores[expert] + bias[expert]
        taken, total = 0, float32(0)
        for expert in range(experts):
            higher = int32(0)
            for other in range(experts):
                higher += int32(ranked[other] > ranked[expert])
            for other in range(expert):  # of equal ones the first
                higher += int32(ranked[other] == ranked[expert])
            if higher < k and taken < k:  # among NaN none is higher
                chosen[row, taken], weights[row, taken] = expert, scores[expert]
                taken, total = taken + 1, total + scores[expert]
        scale = float32(factor) / total if is_normed else float32(factor)
        for place in range(taken):
            weights[row, place] *= scale


@compiled
def _add_rows(first: int, last: int, rows: Any, total: Any, weights: Any, tokens: Any) -> None:
    for row in range(first, last):
        into, numbers, weight = total[tokens[row]], rows[row], weights[row]
        for i in range(len(numbers)):
            into[i] += _value(numbers[i]) * weight


@compiled
def _rotate(first: int, last: int, out: Any, states: Any, cosines: Any, sines: Any) -> None:
    half = out.shape[2] // 2
    for row in range(first, last):
        cos, sin = cosines[row], sines[row]
        for head in range(out.shape[1]):
            one, two = states[row, head, :half], states[row, head, half:]
            into_one, into_two = out[row, head, :half], out[row, head, half:]
            for i in range(half):
                x, y = _value(one[i]), _value(two[i])
                into_one[i] = _stored(x * _value(cos[i]) - y * _value(sin[i]), into_one[i])
                into_two[i] = _stored(y * _value(cos[half + i]) + x * _value(sin[half + i]), into_two[i])


@compiled
def _norm(first: int, last: int, out: Any, states: Any, step: int, weight: Any, epsilon: float) -> None:
    width = out.shape[1]
    values, sums = np.empty(width, np.float32), np.empty(LANES, np.float32)
    for row in range(first, last):
        numbers, into = states[row * step : row * step + width], out[row]
        for i in range(width):
            values[i] = _value(numbers[i])
        sums[:] = 0
        whole = width - width % LANES
        for start in range(0, whole, LANES):
            for lane in range(LANES):
                sums[lane] += values[start + lane] * values[start + lane]
        total = np.float64(0)
        for lane in range(LANES):
            total += sums[lane]
        for i in range(whole, width):
            total += values[i] * values[i]
        factor = float32(1 / np.sqrt(total / width + epsilon))
        for i in range(width):
            into[i] = _stored(values[i] * factor * weight[i], into[i])


@compiled
def _product(one: Any, other: Any, sums: Any) -> Any:
    """The product of a query and a key."""
    whole = len(one) - len(one) % LANES_OF_A_HEAD
    sums[:] = 0
    for start in range(0, whole, LANES_OF_A_HEAD):
        for lane in range(LANES_OF_A_HEAD):
            sums[lane] += _value(one[start + lane]) * _value(other[start + lane])
    total = float32(0)
    for lane in range(LANES_OF_A_HEAD):
        total += sums[lane]
    for i in range(whole, len(one)):
        total += _value(one[i]) * _value(other[i])
    return total


@compiled
def _attend(first: int, last: int, out: Any, queries: Any, keys: Any, values: Any, scale: float) -> None:
    tokens, heads, size = out.shape[1:]
    sums, weights = np.empty(LANES_OF_A_HEAD, np.float32), np.empty(tokens, np.float32)
    mean = np.empty(size, np.float32)
    for document in range(first, last):
        for token in range(tokens):
            for head in range(heads):
                shared, largest, total = head * keys.shape[2] // heads, float32(-np.inf), float32(0)
                for other in range(token + 1):
                    product = _product(queries[document, token, head], keys[document, other, shared], sums)
                    weights[other] = product * float32(scale)
                    largest = max(largest, weights[other])
                mean[:] = 0
                for other in range(token + 1):
                    weight = np.exp(weights[other] - largest)
                    total += weight
                    row = values[document, other, shared]
                    for i in range(size):
                        mean[i] += weight * _value(row[i])
                into = out[document, token, head]
                for i in range(size):
                    into[i] = _stored(mean[i] / total, into[i])
