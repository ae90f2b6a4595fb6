"""The published code's own way to standardize, to compare with its numbers and for nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Matrix, raw_blocks
from moee_topics.fuse.methods import METHODS


@dataclass(frozen=True)
class BatchFusion:
    """Vectors as the code published with the paper makes them: scaled by the batch they happen to be in.

    Routing weights, and the concatenation of both blocks, are standardized with the mean and the unbiased deviation of
    the batch itself; hidden states and the sum are not. A document's vector then depends on its neighbours, and a
    batch of one is the zero vector; :class:`moee_topics.fuse.fusion.Fusion` is the sound way.
    Source: tianyi-lab/MoE-Embedding at f80bebd, ``moee.py``, lines 215-273.

    Attributes:
        method: "routing_weights" or "concat"; with the other two the published code scales nothing.
        router: what that code takes for routing weights: the softmax for DeepSeekMoE, raw logits for OLMoE and Qwen.
    """

    method: str
    router: Literal["logits", "softmax"] = "logits"

    def __post_init__(self) -> None:
        if not METHODS[self.method].published_z:
            raise InputError(f"The published code scales no {self.method!r}: it leaves it as it is. Use Fusion.")

    @property
    def label(self) -> str:
        """A short name for tables."""
        return f"{METHODS[self.method].short_name} batch-z"

    def transform(self, batch: Embeddings) -> Matrix:
        """The vectors of one batch, (N, d) in float32."""
        logits = self.router == "logits"
        scores = np.asarray(batch.router_logits if logits else batch.routing_weights, dtype=np.float32)
        hidden, routing = raw_blocks(Embeddings(batch.hidden_states, batch.router_logits, scores))
        return METHODS[self.method].combine((_by_its_own_moments(hidden), _by_its_own_moments(routing)), 0.0)


def _by_its_own_moments(block: Matrix) -> Matrix:
    if len(block) < 2:
        return np.zeros_like(block)  # its deviation is not a number, which the published code sets to 0
    rows = block.astype(np.float64)
    return np.asarray((rows - rows.mean(axis=0)) / (rows.std(axis=0, ddof=1) + 1e-8), dtype=np.float32)
