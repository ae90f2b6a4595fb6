"""The last layer of a decoder for the last token of each document alone, where nobody reads its other tokens.

A later layer would need them all; after the last one only what is pooled is left. Its keys and values are still those
of all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from moee_topics.encode.batching import Pack
from moee_topics.encode.layout import difference, last_states, probe_documents
from moee_topics.encode.models import RowCounts
from moee_topics.encode.pooling import Spans, last_token
from moee_topics.encode.router import RouterCapture, find_routers
from moee_topics.encode.views import LAST, View


def reads_last_tokens(entries: Sequence[View], depth: int) -> bool:
    """Whether the last token of each document is all that entries read of the last of so many layers, and is read."""
    ends = [entry for entry in entries if entry.layer == LAST or entry.block == "router"]
    deepest = {int(entry.layer.rpartition("-")[2]) for entry in entries if entry not in ends}
    return {entry.pooling for entry in ends} == {"last_token"} and depth not in deepest


@contextmanager
def for_last_tokens(layer: Any, rows: Tensor, row_counts: RowCounts) -> Iterator[Spans]:
    """While open, a decoder layer gives the states of some tokens alone, in their order, and filler behind them.

    Args:
        layer: the last of a packed decoder.
        rows: (N,) which of the tokens of a pass are the last of a document.
        row_counts: what N is filled up to, with copies of the first token.

    Yields:
        Where the documents lie in what the layer gives: one token each, side by side.
    """
    filled = torch.cat([rows, rows.new_zeros(row_counts.filled(len(rows)) - len(rows))])
    with ExitStack() as replaced:
        for name in ("q_proj", "o_proj"):  # a layer whose projections are called otherwise computes them for all tokens
            if (projection := getattr(layer.self_attn, name, None)) is not None:
                replaced.enter_context(_forward_replaced(projection, partial(_at_rows, projection.forward, filled)))
        replaced.enter_context(_forward_replaced(layer, partial(_forward, layer, filled)))
        yield Spans.of([*range(len(rows))], [1] * len(rows), rows.device)


def _forward(layer: Any, rows: Tensor, hidden_states: Tensor, **given: Any) -> Tensor:
    """A layer that norms, attends, adds, norms, mixes and adds, as OlmoeDecoderLayer of transformers and nearly all."""
    attended, *_ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **given)
    states = hidden_states[:, rows] + attended[:, rows]
    mixed = layer.mlp(layer.post_attention_layernorm(states))
    output: Tensor = states + (mixed[0] if isinstance(mixed, tuple) else mixed)
    return output


def _at_rows(forward: Callable[[Tensor], Tensor], rows: Tensor, states: Tensor) -> Tensor:
    """A projection of some tokens, and zeros in the place of the others, whose attention nobody looks at."""
    some = forward(states[:, rows])
    return some.new_zeros(*states.shape[:-1], some.shape[-1]).index_copy_(1, rows, some)


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    own = vars(module).get("forward")  # of a module that somebody has wrapped
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward  # the method of its class is seen again
        else:
            module.forward = own


@torch.inference_mode()
def can_be_shortened(model: Any, layers: Sequence[nn.Module], max_tokens: int, row_counts: RowCounts) -> bool:
    """Whether the shortened last layer of a packed model gives the states and router scores that the whole one gives.

    No list of families knows the next model, so documents of made-up tokens tell, as for packing.
    """
    pack = Pack((0, 1, 2), tuple(probe_documents(model, max_tokens)), row_counts=row_counts)
    spans = Spans.of(pack.starts, pack.lengths, model.device)
    whole = _ends(model, pack, spans)
    try:
        with for_last_tokens(layers[-1], spans.last, row_counts) as ending:
            short = _ends(model, pack, spans, layers[-1], ending)
    # Whatever another kind of layer raises when it is run as if it were the usual one.
    except (AttributeError, TypeError, ValueError, RuntimeError, LookupError):
        return False
    # The same but for the rounding of one layer, and an expert that it may change: packing is allowed more.
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.02
    return all(a.shape == b.shape and difference(a, b) <= tolerance for a, b in zip(short, whole, strict=True))


def _ends(
    model: Any, pack: Pack, spans: Spans, short: nn.Module | None = None, ending: Spans | None = None
) -> list[Tensor]:
    """Last hidden states and the scores of all routers at the last token of each document."""
    capture = RouterCapture(find_routers(model), partial(last_token, spans=spans), False)
    if short is not None and ending is not None:
        capture.pool_inside(short, partial(last_token, spans=ending))
    with capture:
        states = last_token(last_states(model, pack), ending or spans)
    logits = capture.logits()
    return [states] if logits is None else [states, logits]
