"""Attention of packed documents: each attends to itself alone, and no mask of quadratic size is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

PACKED = "moee_packed"

# The lengths travel beside the call: many models do not hand unknown keyword arguments down to their attention.
_segments: ContextVar[list[int] | None] = ContextVar("packed_segments", default=None)


@contextmanager
def packed_segments(lengths: list[int]) -> Iterator[None]:
    """While open, packed attention splits its row into stretches of these lengths."""
    token = _segments.set(lengths)
    try:
        yield
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
        extra: what a model asks for besides; anything that changes the arithmetic is refused.

    Returns:
        (1, T, heads, value head size), and None in place of attention weights.

    Raises:
        NotImplementedError: the model asks for something that this attention does not do, or no segments are set.
    """
    segments = _segments.get()
    if segments is None or sum(segments) != query.shape[2] or query.shape[0] != 1 or dropout:
        raise NotImplementedError("packed attention runs on one packed row, inside packed_segments(...)")
    _refuse_unknown(extra)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    parts = zip(*(torch.split(states, segments, dim=2) for states in (query, key, value)), strict=True)
    done = [_attend(q, k, v, scaling, sliding_window) for q, k, v in parts]
    return torch.cat(done, dim=2).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None) -> Tensor:
    length = query.shape[2]
    if window is None or length <= window:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    position = torch.arange(length, device=query.device)
    distance = position[:, None] - position[None, :]
    seen = (distance >= 0) & (distance < window)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scaling)


def _refuse_unknown(extra: dict[str, Any]) -> None:
    """Refuses arguments that change the arithmetic: soft caps, sinks and biases."""
    asked = [name for name in ("softcap", "s_aux", "position_bias", "indexer") if extra.get(name) is not None]
    if asked:
        raise NotImplementedError(f"packed attention has no {', '.join(asked)}")


def register() -> None:
    """Makes the attention known to transformers under the name ``PACKED``; calling it again changes nothing."""
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    return None
