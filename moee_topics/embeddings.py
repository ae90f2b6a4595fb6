"""The value that crosses the wall between the model and everything after it.

Letters used in the whole package: N documents, T tokens, D hidden size, L MoE layers, E routed experts of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError

FloatArray = NDArray[np.floating]


def softmax(logits: FloatArray) -> NDArray[np.float32]:
    """Softmax over the last axis in float32, any shape in, the same shape out."""
    if logits.size == 0:
        return np.zeros(logits.shape, dtype=np.float32)
    scores = logits.astype(np.float32)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))  # exp of 89 is beyond float32
    return np.asarray(scores / scores.sum(axis=-1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class Embeddings:
    """Pooled hidden states and router scores of N documents, before any mixing or scaling.

    Attributes:
        hidden_states: (N, D), the pooled last hidden states after the model's final norm.
        router_logits: (N, L, E), the pooled scores of every MoE layer's router before its softmax. A model without
            routers gives (N, 0, 0).
        mean_routing_weights: (N, L, E) where the pooling averages over tokens: the softmax is taken per token before
            the mean, which does not commute with it. None where one token is pooled: then the weights follow from
            the logits.

    Raises:
        InputError: the arrays do not describe the same documents.
    """

    hidden_states: FloatArray
    router_logits: FloatArray
    mean_routing_weights: FloatArray | None = None

    def __post_init__(self) -> None:
        hidden, logits = np.shape(self.hidden_states), np.shape(self.router_logits)
        weights = logits if self.mean_routing_weights is None else np.shape(self.mean_routing_weights)
        if len(hidden) != 2 or len(logits) != 3 or hidden[0] != logits[0] or weights != logits:
            raise InputError(
                "Embeddings need hidden_states (N, D), router_logits (N, L, E) and, if any, mean_routing_weights "
                f"(N, L, E) of the same N documents, got {hidden}, {logits} and {weights}."
            )

    def __len__(self) -> int:
        return len(self.hidden_states)

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[np.integer]) -> Embeddings:
        """The embeddings of some rows, in their order; an index array copies, a slice is a view."""
        weights = self.mean_routing_weights
        return Embeddings(
            self.hidden_states[rows],
            self.router_logits[rows],
            None if weights is None else weights[rows],
        )

    @property
    def stored_bytes(self) -> int:
        """What a store keeps of them, in float16."""
        averaged = self.mean_routing_weights is not None
        return 2 * (self.hidden_states.size + self.router_logits.size * (2 if averaged else 1))

    def rounded(self) -> Embeddings:
        """The same in float16, as a store keeps them, so that fresh vectors equal stored ones."""
        weights = self.mean_routing_weights
        return Embeddings(
            self.hidden_states.astype(np.float16),
            self.router_logits.astype(np.float16),
            None if weights is None else weights.astype(np.float16),
        )

    @property
    def routing_weights(self) -> FloatArray:
        """(N, L, E): softmax over all experts of a layer, so each (document, layer) row sums to one."""
        if self.mean_routing_weights is not None:
            return self.mean_routing_weights
        return softmax(self.router_logits)

    @classmethod
    def concatenate(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """Joins embeddings of the same model, in the order given.

        Raises:
            InputError: there are no parts, or they differ in D, L, E or pooling.
        """
        weights = [p.mean_routing_weights for p in parts if p.mean_routing_weights is not None]
        layouts = {(p.hidden_states.shape[1:], p.router_logits.shape[1:]) for p in parts}
        if len(layouts) != 1 or len(weights) not in (0, len(parts)):
            raise InputError(f"Only embeddings of one model and one pooling can be joined, got {sorted(layouts)}.")
        return cls(
            np.concatenate([p.hidden_states for p in parts]),
            np.concatenate([p.router_logits for p in parts]),
            np.concatenate(weights) if weights else None,
        )


def combined(parts: Sequence[Embeddings], how: Literal["mean", "concat"]) -> Embeddings:
    """One embedding of each document from several of the same documents, such as one for each prompt; float32.

    Args:
        parts: of N documents each, with as many numbers.
        how: hidden states are the mean (N, D), or stand end to end (N, parts * D). Router scores are the mean either
            way, so that an expert stays one number; of routing weights the mean is taken after each softmax.
    """
    hidden = [part.hidden_states.astype(np.float32) for part in parts]
    logits = np.mean([part.router_logits.astype(np.float32) for part in parts], axis=0)
    weights = np.mean([part.routing_weights.astype(np.float32) for part in parts], axis=0)
    return Embeddings(np.concatenate(hidden, axis=1) if how == "concat" else np.mean(hidden, axis=0), logits, weights)
