"""Tokens that all documents begin with, read once: the keys and values that later tokens attend to, and the states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from moee_topics.encode.batching import Pack
from moee_topics.encode.decoder_layers import TokenStates
from moee_topics.encode.layout import difference, last_states
from moee_topics.encode.models import Kept
from moee_topics.encode.router import Router, RouterCapture
from moee_topics.encode.views import LAST, View

FEWEST = 16
"""Tokens that are worth it: the later ones of a document then go through attention by a slower way."""


@dataclass(frozen=True)
class Prefix:
    """What a pass over the first tokens of documents has left.

    Attributes:
        size: P, the number of tokens.
        attention: keys and values of every layer.
        last: (P, D) last hidden states.
        layers: (P, D) states by the number of a layer.
        routers: (P, L, E) scores; None of a model without routers, or of a pass that needs none.
    """

    size: int = 0
    attention: Kept = field(default_factory=list)
    last: Tensor | None = None
    layers: Mapping[int, Tensor] = field(default_factory=dict)
    routers: Tensor | None = None

    def before(self, states: Tensor) -> Tensor:
        """(P + T, D): the last states of these tokens before those of a pass."""
        return states if self.last is None else torch.cat([self.last, states])

    @classmethod
    @torch.inference_mode()
    def read(
        cls,
        model: Any,
        ids: tuple[int, ...],
        entries: Sequence[View] = (),
        *,
        routers: Sequence[Router] = (),
        layers: Sequence[nn.Module] = (),
    ) -> Prefix:
        """Sends the tokens through a model in packed layout.

        Args:
            model: the base model.
            ids: P tokens.
            entries: whose poolings may go over these tokens.
            routers: those of the model.
            layers: what ``find_sources`` gave.
        """
        between = [entry for entry in entries if entry.layer != LAST and entry.block != "router"]
        kept: Kept = []
        with ExitStack() as hooks:
            scores = hooks.enter_context(RouterCapture(routers, lambda scores: scores[: len(ids)], False))
            states = hooks.enter_context(TokenStates(layers, between))
            last = last_states(model, Pack((0,), (ids,)), keeps=kept)
        own = slice(len(ids))  # what follows are pads
        attention = [(key[:, :, own].clone(), value[:, :, own].clone()) for key, value in kept]
        of_layers = {number: each[own] for number, each in states.states.items()}
        return cls(len(ids), attention, last[own], of_layers, scores.logits())


NOTHING = Prefix()
"""What is kept where every document goes through the model as a whole."""


@torch.inference_mode()
def can_be_kept(model: Any, ids: tuple[int, ...]) -> bool:
    """Whether documents that begin with these tokens have the same states where they were read once before.

    As for packing no list of families knows the next model, so two documents of made-up tokens tell.
    """
    vocabulary = min(model.config.vocab_size, model.get_input_embeddings().num_embeddings)
    tails = tuple(tuple((i * step + 7) % vocabulary for i in range(length)) for step, length in ((5, 9), (11, 23)))
    if max(ids) >= vocabulary:  # the first document says what is wrong
        return True
    rows, shared = (0, 1), (len(ids), len(ids) - 1)  # a token that is merged with the text is not of the prefix
    whole = Pack(rows, tuple(ids[:kept] + tail for kept, tail in zip(shared, tails, strict=True)))
    rest = Pack(rows, tails, shared=shared)
    try:
        prefix = Prefix.read(model, ids)
        known, found = last_states(model, whole), last_states(model, rest, kept=prefix.attention)
    except (NotImplementedError, ValueError, TypeError, RuntimeError, AttributeError, StopIteration):
        return False
    # Another kernel of attention, whose rounding thirty layers in bfloat16 carry to 0.14; another prefix makes it 0.5.
    tolerance = 1e-4 if known.dtype == torch.float32 else 0.25
    spread = zip(whole.starts, shared, rest.starts, map(len, tails), strict=True)
    return all(
        difference(found[start : start + length], known[first + kept : first + kept + length]) <= tolerance
        for first, kept, start, length in spread
    )
