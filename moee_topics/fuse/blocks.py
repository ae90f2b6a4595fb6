"""The two kinds of evidence of a document as plain float32 matrices, before anything is mixed or scaled."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, InstanceOf

from moee_topics.embeddings import Embeddings, FloatArray

Matrix: TypeAlias = NDArray[np.float32]
Blocks: TypeAlias = tuple[Matrix, Matrix]
"""Hidden states (N, D) and routing weights (N, L * E) of the same N documents."""

Part = TypeVar("Part")
OfCorpus = Annotated[InstanceOf[Part] | None, Field(exclude=True)]
"""What is learnt of a corpus, None before: an object that no recipe holds, whose fields pydantic need not know."""


def raw_blocks(embeddings: Embeddings) -> Blocks:
    """Hidden states (N, D) and flattened routing weights (N, L * E) as they are."""
    return embeddings.hidden_states.astype(np.float32), flat_routing(embeddings).astype(np.float32)


def flat_routing(embeddings: Embeddings) -> FloatArray:
    """Routing weights (N, L * E), the experts of one layer after those of the one before."""
    weights = embeddings.routing_weights
    # Not reshape(N, -1): numpy cannot guess the width of a block without documents or without routers.
    return weights.reshape(len(weights), int(np.prod(weights.shape[1:])))


def unit_rows(block: NDArray[np.floating]) -> Matrix:
    """Every row at length one, (N, d); rows of zeros stay zero."""
    # The sum of squares in float64: activations of some decoders reach 6,000, and float32 would round their squares. Of
    # vectors that a user brings, whatever their size, it would make them infinite or nothing.
    squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
    norms = np.sqrt(squares)
    norms[norms == 0] = 1.0
    return np.asarray(block / norms[:, None].astype(np.float32), dtype=np.float32)
