"""What ``quantize: auto`` stands for: the arithmetic in which this machine reads a model fastest, its vectors kept.

It is chosen by the shapes of a model, before a weight is read, so that a key can be told beforehand. Whether the
vectors are kept is seen by whoever loads the model (``loading``), and what a store holds of it already comes before
both (``EncoderSource``).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor, nn
from transformers import OlmoeConfig, PreTrainedModel
from transformers.models.olmoe.modeling_olmoe import OlmoeExperts

from moee_topics.encode.models import experts, quantizer
from moee_topics.encode.models.quantizer import quantized_as
from moee_topics.encode.quantization import (
    bitsandbytes_blocks,
    few_bits,
    float8_checks,
    float8_weights,
    integer_products,
)
from moee_topics.encode.quantization.int4_checkpoint import is_compact
from moee_topics.encode.settings import Integer, Quantize
from moee_topics.errors import ModelError
from moee_topics.messages import first_lines

LEAST_WIDTH = 1024
"""The hidden size below which rounding takes longer than it saves: at 576 twice as long (benchmarks/LOG.md)."""

TIMED_ROWS, TIMED_SIZE, TIMED_ROUNDS = 256, 2048, 5
"""How a layer is timed: the rows that an expert of OLMoE has of 2,048 tokens; larger ones are more of the same."""

LEAST_GAIN = 1.1
LEAST_COSINE = 0.999

ROOM_AT_WORK = 1.25
"""What a model takes at work, by its weights: the states of 8,192 tokens stand beside them."""


@dataclass(frozen=True)
class Arithmetic:
    """How the weights of a model are held and multiplied.

    Attributes:
        quantize: never "auto".
        dtype: in which all else is computed.
        why: it was chosen, or that it was named.
        inexact: whether a kernel that would have come first, of 8-bit integers or float8, failed its self-test.
    """

    quantize: Quantize
    dtype: torch.dtype
    why: str
    inexact: bool = False

    def __str__(self) -> str:
        """For log, doctor and report."""
        name = _name(self.dtype)
        return f"{name if self.quantize == 'none' else f'{self.quantize} and {name}'}: {self.why}"


def interchangeable(config: Any) -> tuple[str, ...]:
    """How a key may say that the weights of a model are held, in vectors that one may go on with in another."""
    if is_compact(config) or quantized_as(config) != "none":
        return (quantized_as(config),)
    return ("none", *integer_products.KINDS)


def choose(config: Any, shape: PreTrainedModel, place: torch.device, dtype: torch.dtype) -> Arithmetic:
    """What a model is read in where that was left open.

    Args:
        config: of the model.
        shape: the model without weights, on the device "meta".
        place: where it will run.
        dtype: in which it would be in 16 or 32 bits.
    """
    if len(interchangeable(config)) == 1:
        return Arithmetic("none", dtype, "its files hold few bits, and it is taken as it is")
    if place.type == "cuda":
        return _on_gpu(shape, place, dtype)
    if place.type != "cpu":
        return Arithmetic("none", dtype, f"8-bit integers are for CPUs, and this is {place}")
    return _on_cpu(config, shape, dtype)


def _on_gpu(shape: PreTrainedModel, place: torch.device, dtype: torch.dtype) -> Arithmetic:
    """Float8 where 16 bits leave no room and this GPU has it, else four bits, as far as the model can be quantized."""
    needed, free = size_of(shape, dtype), torch.cuda.mem_get_info(place)[0]
    beside = f"its weights take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
    if needed * ROOM_AT_WORK <= free:
        return Arithmetic("none", dtype, beside)
    why = f"in {_name(dtype)} {beside}"
    try:
        float8_checks.check_kernel("fp8", place, dtype)
        in_float8 = size_in_float8(shape, dtype)
        if in_float8 * ROOM_AT_WORK <= free:
            return Arithmetic("fp8", dtype, why)
        why += f"; in fp8 they take {in_float8 / 1e9:.1f}"
    except ModelError as error:  # four bits may be had here, and hold its experts
        why += f"; not in fp8: {first_lines(error)}"
    failed = float8_checks.fails(place)
    try:
        bitsandbytes_blocks.bitsandbytes()
        quantizer.quantizable_weights(shape, "nf4")
    except ModelError as error:
        return Arithmetic("none", dtype, f"{why}; not in nf4: {first_lines(error)}", failed)
    return Arithmetic("nf4", dtype, why, failed)


def _on_cpu(config: Any, shape: PreTrainedModel, dtype: torch.dtype) -> Arithmetic:
    """8-bit integers where they are exact and faster; of both kinds, which are equally fast, the truer one."""
    width = shape.get_input_embeddings().embedding_dim
    if width < LEAST_WIDTH:
        return Arithmetic("none", dtype, f"8-bit integers save nothing at a hidden size of {width}")
    try:
        products = products_of(config, shape)
    except ModelError as error:
        return Arithmetic("none", dtype, str(error))
    failed = ""
    for kind in integer_products.KINDS:
        if not all(integer_products.is_exact(kind, *matrix) for matrix in products.matrices):
            failed += f"{kind} is not exact on this processor; "
            continue
        faster = times_as_fast(kind, dtype, products)
        why = f"{failed}experts and linear layers are {faster:.1f} x as fast in {kind} as in {_name(dtype)}"
        return Arithmetic(kind if faster >= LEAST_GAIN else "none", dtype, why, bool(failed))
    return Arithmetic("none", dtype, failed.removesuffix("; "), inexact=True)


class Products(NamedTuple):
    """The products of a model that can be in 8-bit integers.

    Attributes:
        linear: (outputs, inputs) of a linear layer -> how many a token goes through.
        experts: (hidden size, inner size) of an expert -> the same.
    """

    linear: Mapping[tuple[int, int], int]
    experts: Mapping[tuple[int, int], int]

    @property
    def matrices(self) -> set[tuple[int, int]]:
        """The shapes of their weights."""
        up = {(part * inner, hidden) for hidden, inner in self.experts for part in (1, 2)}
        return {*self.linear, *self.experts, *up}


def products_of(config: Any, shape: PreTrainedModel) -> Products:
    """Counts the products of a model.

    Raises:
        ModelError: its experts cannot be held in integers.
    """
    linear, of_experts = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    k = getattr(config.get_text_config(), "num_experts_per_tok", None) or 1
    for path, names in quantizer.quantizable_weights(shape, "w8a8").items():
        weight = shape.get_parameter(f"{path}.{names[-1]}")
        counted, times = (linear, 1) if weight.dim() == 2 else (of_experts, min(k, len(weight)))
        counted[tuple(weight.shape[-2:])] += times
    if any(experts.is_mostly_active(module, k) for _, module in experts.experts_modules(shape)):
        raise ModelError("most of its experts take every token, which one product with all of them does best")
    return Products(linear, of_experts)


def times_as_fast(kind: Integer, dtype: torch.dtype, products: Products) -> float:
    """How much less time products take in 8-bit integers than in a floating type, by the best of a few rounds."""
    threads = torch.get_num_threads()
    seconds = [(_seconds(_linear, kind, dtype, *shape, threads), count) for shape, count in products.linear.items()]
    seconds += [(_seconds(_experts, kind, dtype, *shape, threads), count) for shape, count in products.experts.items()]
    plain, integer = (sum(count * each[place] for each, count in seconds) for place in (0, 1))
    return plain / integer


Layer = Callable[[Tensor], Tensor]


@cache
def _seconds(
    made: Callable[..., tuple[Layer, Layer]], kind: Integer, dtype: torch.dtype, one: int, other: int, threads: int
) -> tuple[float, float]:
    """What a layer of two dimensions takes in a floating type, and in integers, beyond ``TIMED_SIZE`` reckoned."""
    scale = max(1.0, one / TIMED_SIZE) * max(1.0, other / TIMED_SIZE)
    one, other = min(one, TIMED_SIZE), min(other, TIMED_SIZE)
    with torch.random.fork_rng(devices=[]):  # whoever loads a model keeps the random numbers that come next
        plain, integer = made(kind, dtype, one, other)
        states = torch.randn(TIMED_ROWS, one if made is _experts else other).to(dtype)
    best = dict[Layer, float]()
    # Of one thread its own time, whatever runs beside; of several the clock, since they also count while they wait.
    clock = time.process_time if threads == 1 else time.perf_counter
    with torch.inference_mode():
        for layer in [plain, integer] * TIMED_ROUNDS:  # in turn, since other work may begin beside
            start = clock()
            layer(states)
            best[layer] = min(best.get(layer, math.inf), clock() - start)
    return scale * best[plain], scale * best[integer]


def _linear(kind: Integer, dtype: torch.dtype, outputs: int, inputs: int) -> tuple[Layer, Layer]:
    plain = nn.Linear(inputs, outputs, bias=False, dtype=dtype)
    integer = integer_products.IntegerLinear(plain)
    few_bits.round_weights(integer, ["weight"], kind)
    return plain, integer


def _experts(kind: Integer, dtype: torch.dtype, hidden: int, inner: int) -> tuple[Layer, Layer]:
    """A layer of three experts that sends all to the first; so many that it goes through them one by one."""
    config = OlmoeConfig(hidden_size=hidden, intermediate_size=inner, num_experts=3, num_experts_per_tok=1)
    plain, integer = (OlmoeExperts(config).to(dtype) for _ in range(2))
    with torch.no_grad():
        for weight in [*plain.parameters(), *integer.parameters()]:
            weight.normal_(std=0.02)
    few_bits.round_weights(integer, [*experts.weight_names(integer)], kind)
    routing = torch.zeros(TIMED_ROWS, 1, dtype=torch.long), torch.ones(TIMED_ROWS, 1)
    return (
        lambda states: experts.experts_forward(plain, states, *routing),
        lambda states: experts.experts_forward(integer, states, *routing),
    )


def leaves_room(weights: int) -> bool:
    """Whether a model whose weights take so many bytes could work in this machine's memory, were all of it free."""
    return bool(weights * ROOM_AT_WORK <= psutil.virtual_memory().total)


def fits(shape: PreTrainedModel, dtype: torch.dtype) -> bool:
    """Whether a model finds room in the memory that is free."""
    return bool(size_of(shape, dtype) <= psutil.virtual_memory().available)


def size_of(shape: PreTrainedModel, dtype: torch.dtype) -> int:
    """Bytes of the weights of a model in a type."""
    return int(sum(weight.numel() for weight in shape.parameters()) * dtype.itemsize)


def size_in_float8(shape: PreTrainedModel, dtype: torch.dtype) -> int:
    """Bytes of the weights of a model whose experts and gated layers are in float8.

    Raises:
        ModelError: the experts cannot be held so.
    """
    held = quantizer.quantizable_weights(shape, float8_weights.KIND).items()
    rounded: int = sum(shape.get_parameter(f"{path}.{name}").numel() for path, names in held for name in names)
    return size_of(shape, dtype) - rounded * (dtype.itemsize - 1)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
