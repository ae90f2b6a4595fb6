"""The ways to fuse: a new way is one function and its entry in ``METHODS``, and everything else learns of it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, Matrix, unit_rows
from moee_topics.messages import did_you_mean

Block = Literal["hidden_states", "routing_weights"]


@dataclass(frozen=True)
class Method:
    """One way to make a vector of two blocks.

    Attributes:
        short_name: what tables call it, by the paper where the paper has it.
        combine: from hidden states (N, D), routing weights (N, L * E) and alpha to vectors (N, d).
        reads: the blocks that matter to it; the others are not standardized and not needed.
        uses_alpha: whether alpha changes the vector.
        published_z: whether the code published with the paper standardizes it, by batch.
    """

    short_name: str
    combine: Callable[[Blocks, float], Matrix]
    reads: tuple[Block, ...] = ("hidden_states", "routing_weights")
    uses_alpha: bool = False
    published_z: bool = False


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
    # The square root, since a dot product has the weight of both its vectors.
    return np.concatenate([unit_rows(hidden), np.float32(np.sqrt(alpha)) * unit_rows(routing)], axis=1)


METHODS: Mapping[str, Method] = {
    "hidden_states": Method("HS", lambda blocks, alpha: blocks[0], reads=("hidden_states",)),
    "routing_weights": Method("RW", lambda blocks, alpha: blocks[1], reads=("routing_weights",), published_z=True),
    "concat": Method("concat", concat, published_z=True),
    "weighted_sum": Method("sum", weighted_sum, uses_alpha=True),
}


def find_method(name: str) -> str:
    """The name in ``METHODS`` for that name or for what the paper calls it (HS, RW, concat, sum), in any case.

    Raises:
        InputError: no such method.
    """
    for method, entry in METHODS.items():
        if name.strip().lower() in (method, entry.short_name.lower()):
            return method
    names = ", ".join(f"{method} ({entry.short_name})" for method, entry in METHODS.items())
    near = did_you_mean(name.strip().lower(), list(METHODS))
    raise InputError(f"There is no way to fuse called {name!r}; there are {names}.{near}")
