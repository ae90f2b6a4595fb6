"""What ``quantize: auto`` stands for: the arithmetic in which this machine reads a model fastest, its vectors kept.

It is chosen by the shapes of a model, before a weight is read, so that a key can be told beforehand. Whether the
vectors are kept is seen by whoever loads the model (``loading``), and what a store holds of it already comes before
both (``EncoderSource``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel

from moee_topics.encode.models import bitsandbytes_blocks, bitsandbytes_quantizer, experts, integer_products
from moee_topics.encode.models.checkpoint import quantized_as
from moee_topics.encode.models.int4_checkpoint import is_compact
from moee_topics.encode.settings import Integer, Quantize
from moee_topics.errors import ModelError

LEAST_WIDTH = 1024
"""Numbers of a token below which rounding takes longer than it saves: at 576 twice as long (benchmarks/LOG.md)."""

LEAST_GAIN = 1.1
LEAST_COSINE = 0.999

ROOM_AT_WORK = 1.25
"""What a model takes on a GPU at work, by its weights: the states of 8,192 tokens stand beside them."""


@dataclass(frozen=True)
class Arithmetic:
    """How the weights of a model are held and multiplied.

    Attributes:
        quantize: never "auto".
        dtype: in which all else is computed.
        why: it was chosen, or that it was named.
    """

    quantize: Quantize
    dtype: torch.dtype
    why: str

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
        shape: the model without weights, on the device "meta"; its layers may be replaced.
        place: where it will run.
        dtype: in which it would be in 16 or 32 bits.
    """
    if len(interchangeable(config)) == 1:
        return Arithmetic("none", dtype, "its files hold few bits, and it is taken as it is")
    if place.type == "cuda":
        return _on_gpu(shape, place, dtype)
    if place.type != "cpu":
        return Arithmetic("none", dtype, f"whole numbers are for CPUs, and this is {place}")
    return _on_cpu(config, shape, dtype)


def _on_gpu(shape: PreTrainedModel, place: torch.device, dtype: torch.dtype) -> Arithmetic:
    """Four bits where 16 leave no room, as far as the model can be quantized."""
    needed, free = size_of(shape, dtype), torch.cuda.mem_get_info(place)[0]
    beside = f"its weights take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
    if needed * ROOM_AT_WORK <= free:
        return Arithmetic("none", dtype, beside)
    try:
        bitsandbytes_blocks.bitsandbytes()
        for _ in bitsandbytes_quantizer.quantized_modules(shape, "nf4"):
            pass
    except ModelError as error:
        return Arithmetic("none", dtype, f"{beside}, but not for nf4: {error}")
    return Arithmetic("nf4", dtype, f"in {_name(dtype)} {beside}")


def _on_cpu(config: Any, shape: PreTrainedModel, dtype: torch.dtype) -> Arithmetic:
    """Whole numbers where they are exact and faster; of both kinds, which are equally fast, the truer one."""
    width = shape.get_input_embeddings().embedding_dim
    if width < LEAST_WIDTH:
        return Arithmetic("none", dtype, f"at {width} numbers a token whole numbers save nothing")
    try:
        products = products_of(config, shape)
    except ModelError as error:
        return Arithmetic("none", dtype, str(error))
    failed = ""
    for kind in integer_products.KINDS:
        if not all(integer_products.is_exact(kind, *matrix) for matrix in products):
            failed += f"{kind} is not exact on this processor; "
            continue
        faster = integer_products.times_as_fast(kind, dtype, products)
        beside = f"{failed}{kind} is {faster:.1f} x as fast as {_name(dtype)}"
        return Arithmetic(kind if faster >= LEAST_GAIN else "none", dtype, beside)
    return Arithmetic("none", dtype, failed.removesuffix("; "))


def products_of(config: Any, shape: PreTrainedModel) -> Mapping[tuple[int, int], float]:
    """(outputs, inputs) of the products of a model that can be in whole numbers -> how many a token goes through.

    Raises:
        ModelError: its experts cannot be held so.
    """
    products: Counter[tuple[int, int]] = Counter()
    k = getattr(config.get_text_config(), "num_experts_per_tok", None) or 1
    kind: Integer = "w8a8"
    for module, names in bitsandbytes_quantizer.quantized_modules(shape, kind):
        for weight in (getattr(module, name) for name in names):
            is_stacked = weight.dim() == 3
            products[tuple(weight.shape[-2:])] += min(k, len(weight)) if is_stacked else 1
    if any(experts.is_mostly_active(module, k) for _, module in experts.experts_modules(shape)):
        raise ModelError("most of its experts take every token, which one product with all of them does best")
    return products


def fits(shape: PreTrainedModel, dtype: torch.dtype) -> bool:
    """Whether a model finds room in the memory that is free."""
    return bool(size_of(shape, dtype) <= psutil.virtual_memory().available)


def size_of(shape: PreTrainedModel, dtype: torch.dtype) -> int:
    """Bytes of the weights of a model in a type."""
    return int(sum(weight.numel() for weight in shape.parameters()) * dtype.itemsize)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
