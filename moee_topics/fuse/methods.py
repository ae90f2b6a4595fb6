"""The ways to put two blocks together, each a plain function; a new way is one more and its line in ``METHODS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from moee_topics.fuse.blocks import Blocks, Matrix, unit_rows

Method = Literal["hidden_states", "routing_weights", "concat", "weighted_sum"]


def hidden_states(blocks: Blocks, alpha: float) -> Matrix:
    """The hidden states alone, (N, D)."""
    return blocks[0]


def routing_weights(blocks: Blocks, alpha: float) -> Matrix:
    """The routing weights alone, (N, L * E)."""
    return blocks[1]


def concat(blocks: Blocks, alpha: float) -> Matrix:
    """Both side by side as they are, (N, D + L * E)."""
    return np.concatenate(blocks, axis=1)


def weighted_sum(blocks: Blocks, alpha: float) -> Matrix:
    """Both at length one, the second times sqrt(alpha), (N, D + L * E).

    The dot product of two such vectors is cos_HS + alpha * cos_RW, the sum of similarities of the paper (section 3.3),
    and their cosine is that over 1 + alpha: one plain vector, which can be clustered and indexed. A zero block stays
    zero: its cosine with anything counts as 0.
    """
    hidden, routing = blocks
    return np.concatenate([unit_rows(hidden), np.float32(np.sqrt(alpha)) * unit_rows(routing)], axis=1)


METHODS: Mapping[Method, Callable[[Blocks, float], Matrix]] = {
    "hidden_states": hidden_states,
    "routing_weights": routing_weights,
    "concat": concat,
    "weighted_sum": weighted_sum,
}
SHORT_NAMES: Mapping[Method, str] = {
    "hidden_states": "HS",
    "routing_weights": "RW",
    "concat": "concat",
    "weighted_sum": "sum",
}
"""What the paper calls them."""
