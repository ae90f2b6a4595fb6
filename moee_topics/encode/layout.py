"""How the documents of one forward pass lie: the forward in each layout, and which of them a model allows."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from moee_topics.encode.batching import Pack
from moee_topics.encode.models import PACKED, Kept, on_device, packed_segments
from moee_topics.encode.pooling import Spans, last_token
from moee_topics.encode.router import RouterCapture, find_routers
from moee_topics.errors import ModelError

Layout = Literal["packed", "padded", "alone"]


_own_attention: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""What each model attended by before it first ran packed."""


def last_states(
    model: Any, pack: Pack, rerouted: Collection[int] = (), *, kept: Kept | None = None, keeps: Kept | None = None
) -> Tensor:
    """(T, D) last hidden states of all tokens of a pack, pads included.

    Args:
        model: the base model.
        pack: what goes through it.
        rerouted: numbers of layers in which tokens see the last one of their document.
        kept: keys and values of the tokens before its sequences, where it has ``shared`` ones.
        keeps: gets the keys and values of the pack.
    """
    _attend(model, packed=pack.packed)
    inputs = {name: on_device(tensor, model.device) for name, tensor in pack.inputs().items()}
    segments = packed_segments(pack.segments, rerouted, shared=pack.before, kept=kept, keeps=keeps)
    with segments if pack.packed else nullcontext():
        # No token is generated, so nobody would read the keys and values of a cache.
        states: Tensor = model(**inputs, use_cache=False).last_hidden_state
    return states.flatten(0, -2)


def _attend(model: Any, *, packed: bool) -> None:
    """Switches a model to the attention of packed rows, or to its own; looked at before each pass.

    Two encoders may share a model, and one of them read longer documents than packed rows are right for.
    """
    current = model.config._attn_implementation
    if packed and current != PACKED:
        _own_attention[model] = current
        model.set_attn_implementation(PACKED)
    elif not packed and current == PACKED:
        model.set_attn_implementation(_own_attention.get(model, "sdpa"))  # unknown of a copy alone


@torch.inference_mode()
def choose_layout(model: Any, max_tokens: int) -> Layout:
    """Finds the fastest layout in which documents do not change each other.

    Packed rows go wrong with recurrent or convolutional layers and with attention that is no plain causal one, padded
    rows with routing or sparse attention that looks at later tokens.
    """
    # No list of families knows the next model, so documents of made-up tokens tell at every load.
    first, second, other = probes = probe_documents(model, max_tokens)
    alone = [_states(model, [probe])[0] for probe in probes]
    # Other row counts are other kernels: three copies side by side differ from one by rounding alone. In bfloat16 that
    # is up to a sixth of the states of a model of thirty layers, whose packed rows are as right as those of others.
    rounding = 1e-4 if alone[0].dtype == torch.float32 else 0.1
    tolerance = min(0.5, max(rounding, 3 * difference(_states(model, [second] * 3)[0], alone[1])))
    try:
        # The second document behind two different first ones: also against itself, which rounding hides far less.
        one, two = (_states(model, [before, second], packed=True) for before in (first, other))
        # The same kernels at the same place: no rounding excuses that neighbours are seen.
        apart = difference(one[1], two[1]) <= rounding / 10
        if apart and all(difference(*pair) <= tolerance for pair in zip(one, alone, strict=False)):
            return "packed"
    except (NotImplementedError, ValueError, TypeError, RuntimeError, AttributeError):
        pass  # whatever stops a model from running packed, it runs padded
    padded = _states(model, [first, second])
    return "padded" if all(difference(*pair) <= tolerance for pair in zip(padded, alone, strict=False)) else "alone"


def probe_documents(model: Any, max_tokens: int) -> list[tuple[int, ...]]:
    """Three documents of made-up tokens, longer than a sliding window or chunk that matters at ``max_tokens``."""
    limits = [getattr(model.config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    limit = max((size for size in limits if isinstance(size, int) and size < max_tokens), default=16)
    vocabulary = min(model.config.vocab_size, model.get_input_embeddings().num_embeddings)
    long, short = min(limit + 8, max_tokens), min(limit + 3, max_tokens - 5)
    shapes = ((5, short), (11, long), (17, short))
    return [tuple((i * step + 7) % vocabulary for i in range(length)) for step, length in shapes]


@torch.inference_mode()
def check_rerouting(model: Any, layout: Layout, depth: int, name: str) -> None:
    """That keys and values can be re-routed, layer by layer, by one short row through the model.

    Raises:
        ModelError: the model does not run packed, or its attention does not say once which layer it is of.
    """
    found: list[int] = []
    if layout == "packed":
        _attend(model, packed=True)
        pack = Pack((0, 1), ((1, 2), (3,)), packed=True)
        inputs = {named: tensor.to(model.device) for named, tensor in pack.inputs().items()}
        with packed_segments(pack.segments) as segments:
            model(**inputs, use_cache=False)
        found = segments.seen
    if found != list(range(1, depth + 1)):
        raise ModelError(
            f"Keys and values of {name!r} ({model.config.model_type}) cannot be re-routed: its documents run {layout}, "
            f"and {len(found)} of its {depth} layers attend by this package's own attention. Leave encoder.reroute out."
        )


def _states(model: Any, documents: list[tuple[int, ...]], *, packed: bool = False) -> list[Tensor]:
    """(T, D) last hidden states of each document, run together."""
    pack = Pack(tuple(range(len(documents))), tuple(documents), packed)
    states = last_states(model, pack)
    return [states[start : start + length] for start, length in zip(pack.starts, pack.lengths, strict=True)]


def difference(one: Tensor, other: Tensor) -> float:
    """How far states are from others, as a share of these."""
    one, other = one.float(), other.float()
    return float((one - other).norm() / other.norm())


@torch.inference_mode()
def measured_sizes(model: Any) -> tuple[int, int, int]:
    """MoE layers, routed experts of each, and hidden size, from two tokens through the model."""
    spans = Spans.of([0], [2], model.device)
    with RouterCapture(find_routers(model), lambda states: last_token(states, spans), False) as capture:
        states = last_states(model, Pack((0,), ((1, 2),), packed=False))
    logits = capture.logits()
    layers, experts = (0, 0) if logits is None else logits.shape[1:]
    return layers, experts, states.shape[-1]
