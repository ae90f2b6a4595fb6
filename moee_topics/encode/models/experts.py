"""The forward of a mixture's experts: fast on a CPU, and from quantized weights on any device.

transformers calls the experts of most models through a table of implementations; this adds one, ``IMPLEMENTATION``.
It takes plain and quantized weights. On a CPU it goes through the experts one at a time, which also keeps only one
expert's weights in 16 bits; on a GPU it expands the layer, unless it is in float8, and leaves the multiplications to
the grouped kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.moe import (
    ALL_EXPERTS_FUNCTIONS,
    _default_apply_gate,
    _grouped_linear,
    grouped_mm_experts_forward,
)

from moee_topics.encode.models.row_counts import CANDIDATES, MULTIPLES, Product, RowCounts, counts_for, dense_products
from moee_topics.encode.models.small_operators import SILU, operators_for
from moee_topics.encode.quantization import (
    bitsandbytes_blocks,
    few_bits,
    float8_products,
    float8_weights,
    integer_products,
)
from moee_topics.encode.settings import Kind

IMPLEMENTATION = "moee_topics"


def experts_modules(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and module of all experts whose forward can be replaced (those with ``@use_experts_implementation``)."""
    for name, module in model.named_modules():
        if hasattr(module, "has_gate") and hasattr(module, "is_concatenated"):
            yield name, module


def weight_names(experts: Any) -> tuple[str, str]:
    """The two projections of an experts module, in the order they are applied."""
    return ("gate_up_proj" if experts.has_gate else "up_proj", "down_proj")


def use(model: Any) -> int:
    """Gives the experts of a model this forward.

    Returns:
        How many layers took it (0: their class allows no other).
    """
    layers = [experts for _, experts in experts_modules(model)]
    for experts in layers:
        experts.config._experts_implementation = IMPLEMENTATION
        if model.device.type != "cpu":
            continue
        if float8_weights.is_held(experts):
            continue  # not for a processor, but a model may pass it on its way to its GPU
        if integer_products.is_integer(getattr(experts, "quantized_kind", "none")):
            experts.row_counts = RowCounts(tuple(CANDIDATES))  # sums of integers are the same in every order
            continue
        if is_mostly_active(experts, _per_token(model)) and getattr(experts, "quantized_kind", None) is None:
            # As the product with all of them reads it: to turn it for every pack takes a tenth of that product.
            experts.down_proj.data = experts.down_proj.data.transpose(1, 2).contiguous().transpose(1, 2)
        matrices = [Matrices(experts, name, model.dtype) for name in weight_names(experts)]
        experts.row_counts = counts_for(m.product(transposed=experts.is_transposed) for m in matrices)
    return len(layers)


def row_counts_of(model: Any) -> RowCounts:
    """The numbers of rows that a pack of a model can have; on a GPU multiples of 64 alone."""
    if model.device.type != "cpu":
        return MULTIPLES
    products = [*dense_products(model, model.dtype)]
    for _, experts in experts_modules(model):
        if is_mostly_active(experts, _per_token(model)):  # whose rows are those of the pack
            count, hidden, width = Matrices(experts, "down_proj", model.dtype).shape
            products.append(Product((1 + experts.has_gate) * count * width, hidden, model.dtype))
            products.append(Product(hidden, count * width, model.dtype, transposed=True))
    return counts_for(products)


def _per_token(model: Any) -> int:
    """How many experts a token goes through; 0 where the configuration does not say it."""
    return getattr(model.config.get_text_config(), "num_experts_per_tok", None) or 0


class Matrices(Sequence[Tensor]):
    """The matrices of one projection, one per expert; quantized ones are expanded when they are asked for.

    Attributes:
        shape: (experts, rows, columns).
    """

    def __init__(self, experts: Any, name: str, dtype: torch.dtype) -> None:
        self.bias: Tensor | None = getattr(experts, f"{name}_bias") if experts.has_bias else None
        self._weight: Tensor = getattr(experts, name)
        self._kind: Kind | None = getattr(experts, "quantized_kind", None)
        self._dtype = dtype
        self.shape: tuple[int, ...] = tuple(self._weight.shape)
        if self._kind is not None:
            parts = few_bits.quantized_parts(experts, name)
            self.shape = experts.quantized_shapes[name]
            self._absmax = bitsandbytes_blocks.scales(parts, self._kind).view(self.shape[0], -1)
            self._weight = self._weight.view(self.shape[0], -1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        if self._kind is None:
            return self._weight[index]
        flat = bitsandbytes_blocks.dequantize(self._weight[index], self._absmax[index], self._kind, self._dtype)
        return flat.view(self.shape[1:])

    def all(self) -> Tensor:
        """Every matrix, shape (experts, rows, columns)."""
        if self._kind is None:
            return self._weight
        flat = bitsandbytes_blocks.dequantize(self._weight.view(-1), self._absmax.view(-1), self._kind, self._dtype)
        return flat.view(self.shape)

    def product(self, *, transposed: bool) -> Product:
        """What the kernel of a product with one of them is chosen by."""
        first, second = self.shape[1:]
        return Product(second, first, self._dtype, True) if transposed else Product(first, second, self._dtype)


def experts_forward(experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Sum over each token's chosen experts, weighted by its routing weights.

    Args:
        experts: a module with ``@use_experts_implementation``, its weights plain or quantized.
        hidden_states: (T, D).
        top_k_index: the chosen experts of each token, (T, k).
        top_k_weights: their weights, (T, k).

    Returns:
        (T, D) in the dtype of ``hidden_states``.
    """
    if integer_products.packed(experts):
        return _in_integers(experts, hidden_states, top_k_index, top_k_weights)
    if float8_weights.is_held(experts):
        return _in_float8(experts, hidden_states, top_k_index, top_k_weights)
    forward = _one_by_one
    # Measured on a CPU alone, where a loop over the experts takes 12 % less than grouped_mm (benchmarks/LOG.md).
    if hidden_states.device.type != "cpu":
        forward = _grouped
    elif is_mostly_active(experts, top_k_index.shape[-1]):
        forward = _all_at_once
    return forward(experts, hidden_states, top_k_index, top_k_weights)


def is_mostly_active(experts: Any, k: int) -> bool:
    """Whether a token goes through half of the experts or more, as in carved models, and nothing stands between."""
    if integer_products.packed(experts) or float8_weights.is_held(experts):
        return False
    # Then one product with all of them is faster than gathering rows for each: 16 of 24 experts of 48 neurons take 0.6
    # of the time.
    is_plain = experts.is_concatenated and not (
        experts.has_bias or experts.is_transposed or experts.has_post_expert_norm
    )
    return is_plain and 2 * k >= len(Matrices(experts, "down_proj", torch.float32))


@torch.no_grad()
def _all_at_once(experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Every expert for every token; what was not chosen has the weight 0."""
    up, down = (Matrices(experts, name, hidden_states.dtype).all() for name in weight_names(experts))
    count, width = down.shape[0], down.shape[2]
    product = functional.linear(hidden_states, up.reshape(-1, up.shape[-1])).view(len(hidden_states), count, -1)
    weights = torch.zeros(len(hidden_states), count, dtype=torch.float32)
    weights.scatter_(1, top_k_index, top_k_weights.float())
    if _is_silu(experts):
        activated = operators_for(product.device, product.dtype).gated_by_expert(product, weights)
    else:
        activated = _activated(experts, product).mul_(weights[..., None].to(product.dtype))
    return activated.view(-1, count * width) @ down.transpose(1, 2).reshape(count * width, -1)


@torch.no_grad()
def _one_by_one(experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    up, down = (Matrices(experts, name, hidden_states.dtype) for name in weight_names(experts))
    # Summed in float32 and in the order of the experts, so that a vector does not depend on its neighbours.
    total = torch.zeros(hidden_states.shape, dtype=torch.float32, device=hidden_states.device)
    with_rows_added = operators_for(hidden_states.device, hidden_states.dtype).with_rows_added
    for expert, tokens, weights in _chosen(top_k_index, top_k_weights, len(up)):
        states = _filled_up(experts, hidden_states, tokens)
        output = _project(experts, _activated(experts, _project(experts, states, up, expert)), down, expert)
        if experts.has_post_expert_norm:
            output = experts.post_expert_norm(output)
        with_rows_added(total, output, weights, tokens)
    return total.to(hidden_states.dtype)


@torch.no_grad()
def _in_integers(experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """The same sum with products of 8-bit integers: states are rounded once for all experts, and again inside each."""
    up, down = (integer_products.packed(experts)[name] for name in weight_names(experts))
    is_silu = _is_silu(experts)
    codes, scales = integer_products.rounded(hidden_states)
    total = torch.zeros(hidden_states.shape, dtype=torch.float32)
    for expert, tokens, weights in _chosen(top_k_index, top_k_weights, len(up)):
        product, count = up[expert].product(_filled_up(experts, codes, tokens)), len(tokens)
        if is_silu:
            inner, inner_scales = integer_products.gated_and_rounded(product, scales[tokens])
        else:
            states = integer_products.scaled(product[:count], scales[tokens], hidden_states.dtype)
            inner, inner_scales = integer_products.rounded(_activated(experts, states), rows=len(product))
        output = down[expert].product(inner)
        if experts.has_post_expert_norm:
            normed = integer_products.scaled(output[:count], inner_scales, hidden_states.dtype)
            output, inner_scales = experts.post_expert_norm(normed).float(), torch.ones(count)
        integer_products.add_scaled(output, inner_scales * weights, tokens, total)
    return total.to(hidden_states.dtype)


def _chosen(top_k_index: Tensor, top_k_weights: Tensor, experts: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each expert that any token goes to, with its tokens in their order, and the weight of each in float32."""
    chosen, order = top_k_index.reshape(-1).sort(stable=True)
    tokens, weights, start = order // top_k_index.shape[-1], top_k_weights.reshape(-1)[order].float(), 0
    # The one place where the layer waits for the device.
    for expert, count in enumerate(torch.bincount(chosen, minlength=experts)[:experts].tolist()):
        rows, start = slice(start, start + count), start + count
        if count:
            yield expert, tokens[rows], weights[rows]


def _filled_up(experts: Any, states: Tensor, tokens: Tensor) -> Tensor:
    """The rows of some tokens, and zeros up to a number of rows that rounds like every other."""
    row_counts = getattr(experts, "row_counts", MULTIPLES)
    filled = states.new_empty(row_counts.filled(len(tokens)), states.shape[-1])
    torch.index_select(states, 0, tokens, out=filled[: len(tokens)])
    filled[len(tokens) :] = 0
    return filled


def _project(experts: Any, states: Tensor, matrices: Matrices, expert: int) -> Tensor:
    output = states @ matrices[expert] if experts.is_transposed else functional.linear(states, matrices[expert])
    return output if matrices.bias is None else output.add_(matrices.bias[expert])


def _is_silu(experts: Any) -> bool:
    """Whether what stands between the two products of an expert is silu(gate) * up, the gates first."""
    act_fn = getattr(experts, "act_fn", None)  # experts with a gate of their own may have none
    is_plain = experts.has_gate and experts.is_concatenated and isinstance(act_fn, SILU)
    return is_plain and experts._apply_gate.__func__ is _default_apply_gate


def _activated(experts: Any, output: Tensor) -> Tensor:
    if _is_silu(experts):
        return operators_for(output.device, output.dtype).gated(*output.chunk(2, dim=-1))
    activated: Tensor = experts._apply_gate(output) if experts.has_gate else experts.act_fn(output)
    return activated


@torch.no_grad()
def _grouped(experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Two grouped products over rows in the order of their experts, without waiting for the device."""
    names = weight_names(experts)
    up, down = (Matrices(experts, name, hidden_states.dtype).all() for name in names)
    if experts.has_bias:
        expanded = _Expanded(experts, dict(zip(names, (up, down), strict=True)))
        return cast(Tensor, grouped_mm_experts_forward(expanded, hidden_states, top_k_index, top_k_weights))
    order, ends = _by_expert(top_k_index, len(up))
    transposed = {"is_transposed": experts.is_transposed}
    rows = hidden_states.index_select(0, order // top_k_index.shape[-1])
    inner = _grouped_linear(rows, up, ends, **transposed)
    output = _grouped_linear(_activated(experts, inner), down, ends, **transposed)
    if experts.has_post_expert_norm:
        output = experts.post_expert_norm(output)
    return _back_in_place(output, order, ends, top_k_index, top_k_weights)


@torch.no_grad()
def _in_float8(experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """The same in float8: states are rounded once for all experts, before their rows are gathered, and again inside."""
    up, down = (float8_weights.weight_of(experts, name) for name in weight_names(experts))
    order, ends = _by_expert(top_k_index, len(up.scales))
    codes, scales = float8_products.rounded(hidden_states)
    rows = order // top_k_index.shape[-1]
    gathered = codes.view(torch.uint8).index_select(0, rows).view(codes.dtype)  # torch gathers no float8
    inner = float8_products.grouped_product(gathered, scales.index_select(0, rows), up, ends)
    if _is_silu(experts):
        codes, scales = float8_products.gated_and_rounded(inner)
    else:
        codes, scales = float8_products.rounded(_activated(experts, inner.to(hidden_states.dtype)))
    output = float8_products.grouped_product(codes, scales, down, ends).to(hidden_states.dtype)
    if experts.has_post_expert_norm:
        output = experts.post_expert_norm(output)
    return _back_in_place(output, order, ends, top_k_index, top_k_weights)


def _by_expert(top_k_index: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """The order of the choices (T x k) by their expert, and after which of them each expert ends, int32."""
    # A sort of 16-bit keys is two passes, of 64-bit keys eight. Stable, so that a row depends on its document alone.
    chosen, order = top_k_index.reshape(-1).to(torch.int16).sort(stable=True)
    numbers = torch.arange(experts, dtype=torch.int16, device=chosen.device)
    return order, torch.searchsorted(chosen, numbers, right=True, out_int32=True)


def _back_in_place(output: Tensor, order: Tensor, ends: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """The sums (T, D) of each token's rows of the output, which are in the order of their experts."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    weighted_sum = operators_for(output.device, output.dtype).weighted_sum
    # Some models choose numbers beyond their experts, whose rows come last and are in no product.
    return weighted_sum(output, places.view_as(top_k_index), top_k_weights, ends[-1:])


class _Expanded:
    """An experts module with other weights, as transformers reads it."""

    def __init__(self, experts: Any, weights: dict[str, Tensor]) -> None:
        self._experts = experts
        vars(self).update(weights)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._experts, name)


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, experts_forward)
