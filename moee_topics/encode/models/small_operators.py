"""What stands between the matrix products of a model, each as one pass: norms, rotation, routers, gates, sums.

transformers writes them as up to ten operators of torch, every one of which reads and writes the states of all tokens;
on an H200 they took more than half of the time, on a processor with AMX more than the products of the embedded model
(benchmarks/LOG.md). What replaces one computes in float32 and rounds once, and is used where it agrees with what it
replaces on random states, and while no gradients are recorded; all else stays as it is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from inspect import signature
from types import FunctionType, MethodType
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import SiLUActivation

from moee_topics.encode.kernels import FAILURES
from moee_topics.messages import first_lines

logger = logging.getLogger(__name__)

ROTARY = "apply_rotary_pos_emb"
"""What attention calls in nearly every family of transformers, a function in the module of the family."""

SILU = (nn.SiLU, SiLUActivation)

Replaced = Callable[..., Any] | Literal[False] | None
"""A forward by a pass; False where the module computes other numbers, None where the pass is for other modules."""

OF_A_ROUTER = (
    *("top_k", "hidden_dim", "num_group", "topk_group"),
    *("norm_topk_prob", "routed_scaling_factor", "e_score_correction_bias"),
)
"""What a router has that chooses by sigmoids and a bias, as in DeepSeek-V3, GLM-4.5 and carved models."""


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of two halves of one product or two products, (..., width) each."""
    return functional.silu(gate).mul_(up)


def gated_by_expert(product: Tensor, weights: Tensor) -> Tensor:
    """silu(gate) * up times the weight (T, E) of each expert, of their products (T, E, 2 x width): (T, E, width)."""
    # In the dtype of the states: a product in float32 and its way back take eight times as long.
    return gated(*product.chunk(2, dim=-1)).mul_(weights[..., None].to(product.dtype))


def weighted_sum(rows: Tensor, places: Tensor, weights: Tensor, computed: Tensor) -> Tensor:
    """The rows (S, D) at the places (T, k) of each token, added up by their weights (T, k): (T, D).

    Of the rows the first ``computed`` (1,) are numbers; what lies behind them counts as 0.
    """
    chosen = rows.index_select(0, places.flatten()).view(*places.shape, -1).float()
    chosen = chosen.masked_fill(places[..., None] >= computed, 0.0)
    return (chosen * weights[..., None].float()).sum(dim=1).to(rows.dtype)


def with_rows_added(total: Tensor, rows: Tensor, weights: Tensor, tokens: Tensor) -> Tensor:
    """``total`` (T, D), float32, to whose rows ``tokens`` (n,) the first n rows (S, D) were added, times weights (n,).

    No token comes twice.
    """
    return total.index_add_(0, tokens, rows[: len(tokens)].float().mul_(weights[:, None]))


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (1, heads, T, size) turned by the angles (1, T, size); Su et al., RoFormer (arXiv 2104.09864)."""
    first, second = states.chunk(2, dim=-1)
    return states * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]


def attended(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """Causal attention of documents (n, heads, tokens, size), of whose heads some may share keys and values."""
    shares = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=shares)


def rms_norm(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """States (..., D) by the root of their mean square, times a weight (D,); torch has one kernel for it on a GPU."""
    return functional.rms_norm(states, weight.shape, weight, epsilon)


@dataclass(frozen=True)
class Operators:
    """What is used on one kind of device; what is not replaced is torch's.

    Attributes:
        name: of whose passes they are.
    """

    name: str = "torch"
    gated: Callable[[Tensor, Tensor], Tensor] = gated
    gated_by_expert: Callable[[Tensor, Tensor], Tensor] = gated_by_expert
    weighted_sum: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = weighted_sum
    with_rows_added: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = with_rows_added
    rotated: Callable[[Tensor, Tensor, Tensor], Tensor] = rotated
    attended: Callable[[Tensor, Tensor, Tensor, float | None], Tensor] = attended
    rms_norm: Callable[[Tensor, Tensor, float], Tensor] | None = None
    """None leaves norms to the model."""
    routed: Callable[[Tensor, Tensor, int, bool, float], tuple[Tensor, Tensor]] | None = None
    """None leaves the choice of experts to the model."""

    @property
    def passes(self) -> tuple[str, ...]:
        """The names of those that are not torch's own."""
        names = [field.name for field in fields(self) if field.name != "name"]
        return tuple(name for name in names if getattr(self, name) is not getattr(TORCH, name))


TORCH = Operators()


@cache
def operators_for(device: torch.device, dtype: torch.dtype) -> Operators:
    """The passes that a device has for states of this type; ``TORCH`` where it has none."""
    if device.type == "cpu" and dtype in (torch.bfloat16, torch.float32):
        return _on_cpu(dtype)
    if device.type != "cuda":
        return TORCH
    try:
        from moee_topics.encode.kernels import triton_kernels
    except ImportError:
        logger.warning("Gates, rotations and sums of experts take several passes each. One needs: pip install triton")
        return replace(TORCH, rms_norm=rms_norm)
    return replace(checked("triton", triton_kernels, device, dtype), rms_norm=rms_norm)


def _on_cpu(dtype: torch.dtype) -> Operators:
    try:
        # Only now: it takes half a second to import.
        from moee_topics.encode.kernels import numba_kernels
    except (ImportError, RuntimeError) as error:  # no folder to keep compiled code in is a RuntimeError
        logger.warning("Norms, rotations and gates take several passes each, since numba cannot be used: %s", error)
        return TORCH
    found = checked("numba", numba_kernels, torch.device("cpu"), dtype)
    if dtype == torch.bfloat16:
        if not found.passes:
            return TORCH
        return replace(found, rms_norm=numba_kernels.rms_norm, routed=numba_kernels.routed)
    # Those of float32 would win a twentieth, for other last digits, by which a near tie of two experts falls.
    return replace(found, rotated=rotated, attended=attended, with_rows_added=with_rows_added)


class Kernels(Protocol):
    """A module of passes for a kind of device; it has those of :class:`Operators` that the device has a use for."""

    @property
    def ERRORS(self) -> tuple[type[Exception], ...]:
        """What they raise where they cannot run, beside Python's own errors."""


def checked(name: str, kernels: Kernels, device: torch.device, dtype: torch.dtype) -> Operators:
    """Those passes of a module of kernels that run on a device and give what torch's operators give."""
    found = Operators(name)
    for operator, states in _examples(device, dtype).items():
        kernel = getattr(kernels, operator, None)
        if kernel is None:  # this device has no use for it
            continue
        try:
            known = getattr(TORCH, operator)(*deepcopy(states))  # which one of them writes into
            agrees = _is_near(kernel(*states), known)
        except (*FAILURES, *kernels.ERRORS) as error:
            reason = first_lines(error)
        else:
            reason = "" if agrees else "its numbers are wrong"
        if reason:
            logger.warning("The pass %s of %s is not used on %s: %s.", operator, name, device, reason)
        else:
            found = replace(found, **{operator: kernel})
    return found


def _examples(device: torch.device, dtype: torch.dtype) -> dict[str, tuple[Tensor, ...]]:
    """Random states for each pass, in shapes that are no powers of two."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cpu").to(dtype).to(device)

    places = torch.randperm(33, generator=generator, device="cpu").view(11, 3).to(device)
    computed, tokens = torch.tensor([30], dtype=torch.int32, device=device), torch.arange(10, 3, -1, device=device)
    return {
        "gated": random(37, 2 * 144).chunk(2, dim=-1),
        "gated_by_expert": (random(37, 5, 2 * 24), random(37, 5).clamp_min(0)),
        "weighted_sum": (random(33, 144), places, random(11, 3), computed),
        "with_rows_added": (random(11, 144).float(), random(8, 144), random(7).float(), tokens),
        "rotated": (random(1, 11, 3, 96).transpose(1, 2), random(1, 11, 96), random(1, 11, 96)),
        "attended": (random(4, 6, 5, 40), random(4, 3, 5, 40), random(4, 3, 5, 40)),
    }


def _is_near(ours: Tensor, known: Tensor) -> bool:
    """Whether two results of one operator differ by rounding alone."""
    tolerance = 1e-5 if known.dtype == torch.float32 else 0.02
    ours, known = ours.float(), known.float()
    return ours.shape == known.shape and float((ours - known).norm()) <= tolerance * float(known.norm())


@torch.inference_mode()
def use(model: Any, dtype: torch.dtype) -> dict[str, int]:
    """Gives norms, attentions, gated layers and routers the passes of their device, where they compute the same.

    Returns:
        How many modules took which pass; kept as ``model.small_operators`` too.
    """
    device = next(model.parameters()).device
    replacements = (("rms_norm", _norm), ("rotated", _attention), ("gated", _gated_layer), ("routed", _router))
    operators, took, differing = operators_for(device, dtype), Counter[str](), set[tuple[str, str]]()
    tried: dict[Any, Any] = {}  # by the forward of a class
    # Passes are tried on random states, and whoever loads a model keeps the random numbers that come next.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for module in model.modules():
            for operator, replaced in replacements:
                if operator in operators.passes:
                    forward = replaced(module, getattr(operators, operator), tried, device, dtype)
                    if forward is False:
                        differing.add((operator, type(module).__name__))
                    elif forward is not None:
                        module.forward = forward
                        took[operator] += 1
    for operator, name in sorted(differing):  # some families have another formula, which is no fault
        logger.info("The pass %s of %s is not used for %s: its numbers are others.", operator, operators.name, name)
    model.small_operators = took
    return took


def _norm(module: Any, norm: Any, _: Any, device: torch.device, dtype: torch.dtype) -> Replaced:
    """The forward of a norm by the pass."""
    if not _is_norm(module):
        return None
    by_pass = partial(_normed, module, norm, device)
    # Also of states so small that epsilon counts.
    rows = (torch.randn(1, len(module.weight), device=device).mul(size).to(dtype) for size in (1e-3, 1.0, 30.0))
    is_same = all(_is_near(by_pass(states), type(module).forward(module, states)) for states in rows)
    return by_pass if is_same else False


def _attention(module: Any, rotated: Any, tried: dict[Any, Any], device: torch.device, dtype: torch.dtype) -> Replaced:
    """The forward of an attention whose rotation is the pass."""
    own = type(module).forward
    if ROTARY not in getattr(getattr(own, "__code__", None), "co_names", ()):
        return None
    if own not in tried:
        tried[own] = _with_rotary(own, rotated, device, dtype)
    return MethodType(tried[own], module) if tried[own] else tried[own]


def _gated_layer(module: Any, gated: Any, tried: dict[Any, Any], device: torch.device, dtype: torch.dtype) -> Replaced:
    """The forward of a layer that gives down(silu(gate) * up) by the pass."""
    own = type(module).forward
    if {name for name, _ in module.named_children()} != {"gate_proj", "up_proj", "down_proj", "act_fn"}:
        return None
    if not isinstance(module.act_fn, SILU) or len(signature(own).parameters) != 2:
        return None
    by_pass = partial(_gated_down, module, gated, device)
    if own not in tried:
        states = torch.randn(1, 3, module.gate_proj.in_features, device=device).to(dtype)
        tried[own] = _is_near(by_pass(states), own(module, states))
    return by_pass if tried[own] else False


def _router(module: Any, routed: Any, _: Any, device: torch.device, dtype: torch.dtype) -> Replaced:
    """The forward of a router by the pass."""
    if not all(hasattr(module, name) for name in OF_A_ROUTER) or module.num_group != module.topk_group:
        return None
    by_pass, states = partial(_routed, module, routed, device), torch.randn(37, module.hidden_dim).to(device, dtype)
    try:
        known, ours = type(module).forward(module, states), by_pass(states)
        same = torch.equal(known[0], ours[0]) and _is_near(*map(_by_expert, (ours, known)))
    except (TypeError, ValueError, RuntimeError, IndexError):  # it takes or gives something else
        return None
    return by_pass if same else False


def _by_expert(routed: tuple[Tensor, ...]) -> Tensor:
    """The weight of each expert, (T, E), 0 where it was not chosen, from logits, weights and numbers of experts."""
    logits, weights, experts = routed
    return torch.zeros_like(logits).scatter_(1, experts, weights.to(logits.dtype))


def _is_for(device: torch.device, states: Tensor) -> bool:
    """Whether a pass of a device serves: the model has not moved since, and nobody asks for gradients."""
    return states.device.type == device.type and not torch.is_grad_enabled()


def _gated_down(
    module: Any, gated: Callable[[Tensor, Tensor], Tensor], device: torch.device, hidden_states: Tensor
) -> Tensor:
    if not _is_for(device, hidden_states):
        return cast(Tensor, type(module).forward(module, hidden_states))
    return cast(Tensor, module.down_proj(gated(module.gate_proj(hidden_states), module.up_proj(hidden_states))))


def _routed(
    module: Any, routed: Callable[..., tuple[Tensor, Tensor]], device: torch.device, hidden_states: Tensor
) -> tuple[Tensor, ...]:
    if not _is_for(device, hidden_states):
        return cast(tuple[Tensor, ...], type(module).forward(module, hidden_states))
    states = hidden_states.view(-1, module.hidden_dim).float()
    logits = functional.linear(states, module.weight.float())
    options = module.top_k, module.norm_topk_prob, float(module.routed_scaling_factor)
    return logits, *routed(logits, module.e_score_correction_bias, *options)


def _is_norm(module: nn.Module) -> bool:
    """Whether a module may be a norm of its family, of one weight; others are gated, or torch's own already."""
    if not type(module).__name__.endswith("RMSNorm") or type(module) is nn.RMSNorm or _epsilon(module) is None:
        return False
    names = {name for name, _ in module.named_parameters()}
    return names == {"weight"} and len(signature(type(module).forward).parameters) == 2


def _epsilon(module: nn.Module) -> Any:
    return getattr(module, "variance_epsilon", getattr(module, "eps", None))


def _normed(
    module: Any, norm: Callable[[Tensor, Tensor, float], Tensor], device: torch.device, hidden_states: Tensor
) -> Tensor:
    """The forward of a norm; some are given float32, which no kernel multiplies with a weight in 16 bits."""
    if hidden_states.dtype != module.weight.dtype or not _is_for(device, hidden_states):
        return cast(Tensor, type(module).forward(module, hidden_states))
    return norm(hidden_states, module.weight, _epsilon(module))


def _is_row(q: Tensor, _k: Tensor, cos: Tensor, _sin: Tensor) -> bool:
    """Whether queries are one packed row, (1, heads, T, size), turned in all of their size."""
    return len(q) == 1 and cos.shape == (1, q.shape[2], q.shape[3])


def _with_rotary(forward: Any, rotated: Callable[..., Tensor], device: torch.device, dtype: torch.dtype) -> Any:
    """The forward of an attention with its family's rotation replaced; False or None as in ``Replaced``."""
    plain = forward.__globals__[ROTARY]
    angles = torch.rand(1, 7, 32, device=device).repeat(1, 1, 2)
    queries = torch.randn(1, 2, 7, 64, device=device).to(dtype)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def rotate(*given: Tensor, **named: Any) -> tuple[Tensor, ...]:
        if named or len(given) != 4 or not _is_row(*given) or not _is_for(device, given[0]):
            return cast(tuple[Tensor, ...], plain(*given, **named))
        return rotated(given[0], *given[2:]), rotated(given[1], *given[2:])

    try:
        known, ours = plain(queries, queries[:, :1], cos, sin), rotate(queries, queries[:, :1], cos, sin)
    except (TypeError, ValueError, RuntimeError, IndexError):  # the family's takes other arguments, or complex numbers
        return None
    if not all(_is_near(*pair) for pair in zip(ours, known, strict=True)):
        return False
    # A copy for the modules of this model; the family's own function, which others may call, stays as it is.
    names = {**forward.__globals__, ROTARY: rotate}
    copy = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    copy.__kwdefaults__ = forward.__kwdefaults__
    return copy
