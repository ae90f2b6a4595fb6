"""Attention of packed documents: each attends to itself alone, and no mask of quadratic size is made.

On a GPU that has torch's flash attention for rows of several lengths, one kernel does a whole row; elsewhere
neighbours of one length go through ``scaled_dot_product_attention`` together. Tokens that documents begin with may
have gone through the model before: of them there are keys and values alone, which the later tokens of each document
attend to.

In layers that are re-routed every token also attends to the key and value of its document's last token, as if they were
a prefix. Source: Tang & Yang, "KV-Embedding: Training-free Text Embedding via Internal KV Re-routing in Decoder-only
LLMs" (arXiv 2601.01046, 2026).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache, partial
from inspect import signature
from itertools import accumulate, groupby
from typing import Any, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from moee_topics.encode.models.memory import on_device
from moee_topics.encode.models.small_operators import operators_for

PACKED = "moee_packed"
REROUTED_BIAS = 1.0
"""Added to the scores of what is re-routed; there is no training that would make tokens look at it."""

FEW_TOKENS = 4
"""Of a document, for each head of which torch's kernel for CPUs takes longer to begin than to compute."""

# The lengths travel beside the call: many models do not hand unknown keyword arguments down to their attention.
_segments: ContextVar[_Segments | None] = ContextVar("packed_segments", default=None)


Kept: TypeAlias = list[tuple[Tensor, Tensor]]
"""Keys and values, (1, heads, P, head size) each, of every layer's attention in the order of a pass."""


class _Segments:
    """How the documents of a row lie, put on the device once for all layers.

    Attributes:
        lengths: tokens of each document in the row.
        rerouted: numbers of layers, from 1, in which tokens see the last one of their document.
        shared: tokens of each document before them, whose keys and values are kept.
        keeps: filled with the keys and values of this row, where it is not None.
        seen: numbers of the layers that attended by now, each as often as it did.
    """

    def __init__(
        self,
        lengths: list[int],
        rerouted: Collection[int] = (),
        *,
        shared: Sequence[int] = (),
        kept: Kept | None = None,
        keeps: Kept | None = None,
    ) -> None:
        self.lengths, self.rerouted, self.keeps = lengths, rerouted, keeps
        self.shared = shared or [0] * len(lengths)
        self.seen: list[int] = []
        self._layers = iter(kept or ())
        self._on_device: dict[str, Tensor] = {}

    def of_layer(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor] | None:
        """What is kept of the layer that a pass has come to; None where nothing is."""
        if self.keeps is not None:
            self.keeps.append((key, value))
        return next(self._layers) if any(self.shared) else None

    def bounds(self, device: torch.device) -> Tensor:
        """(documents + 1,) int32: the first token of each document, and the end of the row."""
        return self._once("bounds", device, lambda: torch.tensor([0, *self.lengths]).cumsum(0).int())

    def key_bounds(self, device: torch.device) -> Tensor:
        """The same of the keys, those that are kept of each document before its own."""
        return self._once("key bounds", device, lambda: torch.tensor([0, *self.key_lengths]).cumsum(0).int())

    @property
    def key_lengths(self) -> list[int]:
        """Keys of each document, kept ones included."""
        return [length + shared for length, shared in zip(self.lengths, self.shared, strict=True)]

    def key_places(self, kept: int, device: torch.device) -> Tensor:
        """Where the keys of each document are among ``kept`` ones followed by those of the row."""
        starts = accumulate(self.lengths[:-1], initial=kept)

        def places() -> Tensor:
            spread = zip(starts, self.lengths, self.shared, strict=True)
            return torch.tensor([i for a, n, s in spread for i in (*range(s), *range(a, a + n))])

        return self._once("key places", device, places)

    def _once(self, name: str, device: torch.device, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._on_device or self._on_device[name].device != device:
            self._on_device[name] = on_device(make(), device)
        return self._on_device[name]

    def reroutes(self, module: nn.Module) -> bool:
        """Whether a layer is one of those that are re-routed."""
        layer = getattr(module, "layer_idx", None)
        if layer is not None:
            self.seen.append(layer + 1)
        return layer is not None and layer + 1 in self.rerouted


@contextmanager
def packed_segments(
    lengths: list[int],
    rerouted: Collection[int] = (),
    *,
    shared: Sequence[int] = (),
    kept: Kept | None = None,
    keeps: Kept | None = None,
) -> Iterator[_Segments]:
    """While open, packed attention splits its row into stretches of these lengths.

    Args:
        lengths: tokens of each document in the row.
        rerouted: numbers of the layers that are re-routed.
        shared: tokens of each document that are not in the row, the first of those whose keys and values are kept.
        kept: what an earlier pass has put into ``keeps``.
        keeps: a list that gets the keys and values of this row, layer by layer.
    """
    segments = _Segments(lengths, rerouted, shared=shared, kept=kept, keeps=keeps)
    token = _segments.set(segments)
    try:
        yield segments
    finally:
        _segments.reset(token)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    s_aux: Tensor | None = None,
    **extra: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each packed document to itself, in the signature of transformers' attention functions.

    Args:
        module: the attention layer that calls.
        query: (1, heads, T, head size); ``key`` and ``value`` may have fewer heads.
        key: see ``query``.
        value: see ``query``.
        attention_mask: always None; the segments take its place.
        dropout: must be zero, as in evaluation.
        scaling: factor of the scores.
        sliding_window: tokens that a token sees, itself included; None for all.
        s_aux: attention sinks, a score for each head that takes weight and gives nothing.
        extra: what a model asks for besides; anything that changes the arithmetic is refused.

    Returns:
        (1, T, heads, value head size), and None in place of attention weights.

    Raises:
        NotImplementedError: the model asks for something that this attention does not do, or no segments are set.
    """
    segments = _segments.get()
    if segments is None or sum(segments.lengths) != query.shape[2] or query.shape[0] != 1 or dropout:
        raise NotImplementedError("packed attention runs on one packed row, inside packed_segments(...)")
    # Refused, not ignored: the layout then falls back to padding, and a vector is never wrong in silence.
    refused = [name for name in ("softcap", "position_bias", "indexer") if extra.get(name) is not None]
    if not (extra.get("is_causal") or getattr(module, "is_causal", True)):
        refused.append("attention to later tokens")
    if refused:
        raise NotImplementedError(f"packed attention has no {', '.join(refused)}")
    rule = _Rule(scaling, sliding_window, s_aux, segments.reroutes(module))
    kept = segments.of_layer(key, value)
    # The kernel knows no sinks, no re-routing, and one head size for keys and values (DeepSeek-V2's differ).
    fits = s_aux is None and not rule.rerouted and query.shape[-1] == value.shape[-1]
    kind = query.device, query.dtype, query.shape[-1], query.shape[1] // key.shape[1], kept is not None
    row = query, key, value, segments, rule
    if fits and has_kernel(*kind):
        return _whole_row(*row, kept), None
    return _one_by_one(*row) if kept is None else _behind_kept(*row, kept), None


class _Rule(NamedTuple):
    scaling: float | None
    window: int | None
    sinks: Tensor | None
    rerouted: bool = False


@cache
def has_kernel(
    device: torch.device, dtype: torch.dtype, head_size: int, groups: int = 1, with_kept: bool = False
) -> bool:
    """Whether the device has flash attention for rows of several lengths, and it gives what SDPA gives.

    ``with_kept`` asks for rows whose documents have more keys than queries.
    """
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    query = torch.randn(1, 2 * groups, 80, head_size, device=device, dtype=dtype)
    key, value = torch.randn(2, 1, 2, 80, head_size, device=device, dtype=dtype)
    kept = (key[:, :, :40], value[:, :, 40:]) if with_kept else None
    row = query, key, value, _Segments([33, 47], shared=[40, 9] if with_kept else ()), _Rule(None, None, None)
    try:
        by_kernel = _whole_row(*row, kept)
    # TypeError: torch 2.10 has the kernel without windows; its rows go document by document.
    except (ImportError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    known = _one_by_one(*row) if kept is None else _behind_kept(*row, kept)
    return torch.allclose(by_kernel.float(), known.float(), atol=0.02)


def _whole_row(
    query: Tensor, key: Tensor, value: Tensor, segments: _Segments, rule: _Rule, kept: tuple[Tensor, Tensor] | None
) -> Tensor:
    """(1, T, heads, head size) by one kernel."""
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = segments.bounds(query.device), max(segments.lengths)
    key_bounds, longest_keys = bounds, longest
    if kept is not None:
        places = segments.key_places(kept[0].shape[2], query.device)
        key, value = (torch.cat(pair, dim=2).index_select(2, places) for pair in zip(kept, (key, value), strict=True))
        key_bounds, longest_keys = segments.key_bounds(query.device), max(segments.key_lengths)
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    options: dict[str, Any] = {"scale": rule.scaling}
    options["window_size"] = (-1 if rule.window is None else rule.window - 1, 0)
    # With split keys the order of a sum, and so a vector, depends on the longest document of the pack.
    later = {"num_splits": 1, "enable_gqa": q.shape[1] != k.shape[1]}
    # torch 2.11 has neither, and splits no keys; whether it groups heads unasked is seen by has_kernel.
    options |= {name: value for name, value in later.items() if name in signature(varlen_attn).parameters}
    done = varlen_attn(q, k, v, bounds, key_bounds, longest, longest_keys, **options)
    return cast(Tensor, done)[None]


def _one_by_one(query: Tensor, key: Tensor, value: Tensor, segments: _Segments, rule: _Rule) -> Tensor:
    """(1, T, heads, value head size), neighbours of one length together."""
    rows = query, *(_for_each_head(states, query, rule) for states in (key, value))
    # A pack is sorted by length: a thousand words are a handful of runs. With sinks there are scores of tokens by
    # tokens, which of so many documents at once would take gigabytes.
    runs = [(length, len([*run])) for length, run in groupby(segments.lengths)]
    parts, end = [], 0
    for length, count in runs if rule.sinks is None else [(length, 1) for length in segments.lengths]:
        start, end = end, end + count * length
        q, k, v = (
            states[0, :, start:end].reshape(-1, count, length, states.shape[-1]).transpose(0, 1) for states in rows
        )
        parts.append(_attend(q, k, v, rule).transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[None]


def _behind_kept(
    query: Tensor, key: Tensor, value: Tensor, segments: _Segments, rule: _Rule, kept: tuple[Tensor, Tensor]
) -> Tensor:
    """(1, T, heads, value head size), neighbours of one length together, behind the tokens that are kept of them."""
    rows = query, *(_for_each_head(states, query, rule) for states in (key, value))
    before = [_for_each_head(states, query, rule) for states in kept]
    parts, end = [], 0
    for (length, shared), run in groupby(zip(segments.lengths, segments.shared, strict=True)):
        count = len(list(run))
        start, end = end, end + count * length
        # (1, heads, documents * tokens, size) to (documents, heads, tokens, size)
        q, *own = (
            states[0, :, start:end].reshape(-1, count, length, states.shape[-1]).transpose(0, 1) for states in rows
        )
        k, v = (
            torch.cat([first[:, :, :shared].expand(count, -1, -1, -1), states], dim=2)
            for first, states in zip(before, own, strict=True)
        )
        parts.append(_attend(q, k, v, rule).transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[None]


def _for_each_head(states: Tensor, query: Tensor, rule: _Rule) -> Tensor:
    """Keys or values with as many heads as the queries, which groups of them share."""
    groups = query.shape[1] // states.shape[1]
    # The kernel of a CPU groups heads itself, in two thirds of the time and with the same bits.
    grouped_by_kernel = query.device.type == "cpu" and rule.sinks is None
    return states if groups == 1 or grouped_by_kernel else states.repeat_interleave(groups, dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor, rule: _Rule) -> Tensor:
    """Causal attention of documents, (n, heads, tokens, head size); their keys may begin before their queries."""
    tokens, length = query.shape[2], key.shape[2]
    is_plain = rule.sinks is None and not rule.rerouted
    by_kernel = partial(F.scaled_dot_product_attention, scale=rule.scaling, enable_gqa=query.shape[1] != key.shape[1])
    if is_plain and tokens == length and (rule.window is None or rule.window >= length):
        if length <= FEW_TOKENS:
            return operators_for(query.device, query.dtype).attended(query, key, value, rule.scaling)
        return by_kernel(query, key, value, is_causal=True)
    seen = _seen(tokens, length, rule.window or length, query.device)
    if is_plain:
        return by_kernel(query, key, value, attn_mask=seen)
    bias = torch.zeros(seen.shape, device=query.device).masked_fill(~seen, -torch.inf)
    if rule.rerouted:  # as a prefix, which all tokens see whatever the window
        key, value = (torch.cat([states[:, :, -1:], states], dim=2) for states in (key, value))
        bias = torch.cat([torch.full_like(bias[:, :1], REROUTED_BIAS), bias], dim=1)
    if rule.sinks is None:
        return by_kernel(query, key, value, attn_mask=bias.to(query.dtype))
    # gpt-oss: the softmax has one more score for each head, the sink, which has no value; SDPA cannot say that.
    scale = query.shape[-1] ** -0.5 if rule.scaling is None else rule.scaling
    scores = (query @ key.transpose(2, 3)).float() * scale + bias
    sinks = rule.sinks.float().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    weights = torch.cat([scores, sinks], dim=-1).softmax(dim=-1)[..., :-1]
    return weights.to(value.dtype) @ value


@lru_cache(maxsize=512)  # documents of a pack are of few lengths, and every layer asks for the same
def _seen(tokens: int, length: int, window: int, device: torch.device) -> Tensor:
    """(tokens, length): which keys each of the last tokens of a document sees."""
    position = torch.arange(length, device=device)
    distance = position[length - tokens :, None] - position[None, :]
    # A token sees itself and at most window - 1 tokens before it.
    return (distance >= 0) & (distance < window)


def register() -> None:
    """Makes the attention known to transformers under the name ``PACKED``; calling it again changes nothing."""
    # Not among the masks of transformers, which then makes none: one of T x T would take more memory than the model
    # where T is a pack of thousands of tokens, and to look for documents in a row it would wait for the GPU.
    AttentionInterface.register(PACKED, packed_attention)
