"""Filters: what is taken out of a block before blocks are scaled and mixed, learnt once on a corpus.

A new filter is two functions and their entry in ``FILTERS``, and its name in ``FilterName``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, Matrix, raw_blocks

FilterName = Literal["center", "clip", "embed_filter", "remove_top", "whiten"]
Unembedding = Callable[[], NDArray[np.floating]]
"""Gives (D, D), the right singular vectors of a model's unembedding as rows, the largest singular value first."""
Learnt = Mapping[str, NDArray[np.float32]]

MOST_DOCUMENTS = 16_384  # learnt from: with more of them no direction of 2,048 dimensions moves
EDGES = 0.005  # of the documents at each end of a dimension, which clip takes for outliers
KEPT = 2  # one direction of so many, as the code of EmbedFilter has it by default
REMOVED = 100  # one direction of so many, by the rule of thumb of Mu & Viswanath
_ROWS = 64
_LEAST_VARIANCE = 1e-6  # of the average one: float32 holds no more digits


@dataclass(frozen=True)
class Filter:
    """One filter of a block of d dimensions.

    Attributes:
        learn: from the block of a corpus (N, d) and the model's unembedding to what is kept of it.
        apply: from rows (n, d) and what was learnt to filtered rows, each by itself.
        width: the dimensions that are left of d.
        only_hidden_states: whether it leaves routing weights as they are.
    """

    learn: Callable[[Matrix, Unembedding | None], Learnt]
    apply: Callable[[Matrix, Learnt], Matrix]
    width: Callable[[int], int] = int
    only_hidden_states: bool = False


def learn_center(block: Matrix, unembedding: Unembedding | None) -> Learnt:
    """The mean (d,): raw states of decoders share one direction, which puts all their cosines above 0.6."""
    return {"mean": block.mean(axis=0, dtype=np.float64).astype(np.float32)}


def center(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows less the mean of the corpus."""
    return rows - learnt["mean"]


def learn_clip(block: Matrix, unembedding: Unembedding | None) -> Learnt:
    """The bounds (d,) between which all but a hundredth of the documents lie, for each dimension by itself."""
    low, high = np.quantile(block, (EDGES, 1 - EDGES), axis=0).astype(np.float32)
    return {"low": low, "high": high}


def clip(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows within the bounds: one outlier dimension no longer decides about a cosine."""
    return np.clip(rows, learnt["low"], learnt["high"])


def learn_remove_top(block: Matrix, unembedding: Unembedding | None) -> Learnt:
    """The mean (d,) and the strongest directions (k, d), one for every hundred dimensions.

    Source: Mu & Viswanath, "All-but-the-Top" (2018).
    """
    mean, _, directions = _principal(block)
    # A corpus of n documents has n - 1 directions at most; the last one stays, or nothing would.
    most = max(1, min(block.shape[1] // REMOVED, len(block) - 2, block.shape[1] - 1))
    return {"mean": mean, "directions": directions[:most].astype(np.float32)}


def remove_top(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows less the mean and their part in the strongest directions."""
    directions = learnt["directions"].astype(np.float64)
    return _times(rows, np.eye(rows.shape[1]) - directions.T @ directions, learnt["mean"])


def learn_whiten(block: Matrix, unembedding: Unembedding | None) -> Learnt:
    """The mean (d,) and the matrix (d, d) after which all directions of the corpus weigh alike.

    The covariance is shrunk towards a multiple of the identity by the rule of Ledoit & Wolf (2004), so fewer documents
    than dimensions do no harm: directions that were not seen are taken for average ones.
    """
    mean, variances, directions = _principal(block)
    average, kept = variances.mean(), 1 - _shrinkage(block, mean, variances)
    # Two documents lie on one line exactly, and the rule shrinks nothing. A constant block stays at zero.
    shrunk = np.maximum(kept * variances + (1 - kept) * average, _LEAST_VARIANCE * average)
    scales = 1 / np.sqrt(shrunk) if average > 0 else np.zeros_like(variances)
    return {"mean": mean, "matrix": ((directions.T * scales) @ directions).astype(np.float32)}


def whiten(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows less the mean, times the matrix."""
    return _times(rows, learnt["matrix"], learnt["mean"])


def learn_embed_filter(block: Matrix, unembedding: Unembedding | None) -> Learnt:
    """The directions (d // 2, d) in the middle of the unembedding's spectrum.

    Those of the largest and of the smallest singular values write frequent tokens into a state, which tell no texts
    apart. Source: Wu et al., "Your UnEmbedding Matrix is Secretly a Feature Lens for Text Embeddings" (arXiv
    2606.07502, 2026), and its code, CentreChen/EmbFilter.
    """
    if unembedding is None:
        raise InputError("The filter embed_filter needs the model's unembedding, which this encoder does not give.")
    directions, size = np.asarray(unembedding()), block.shape[1]
    if directions.shape != (size, size):
        raise InputError(f"The unembedding has {directions.shape[1]} dimensions, and the hidden states have {size}.")
    first, left = (size - size // KEPT) // 2, size // KEPT
    return {"directions": np.ascontiguousarray(directions[first : first + left], dtype=np.float32)}


def embed_filter(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows by their coordinates in the directions that are kept, (n, d // 2)."""
    return _times(rows, learnt["directions"].T)


FILTERS: Mapping[FilterName, Filter] = {
    "center": Filter(learn_center, center),
    "clip": Filter(learn_clip, clip),
    "embed_filter": Filter(learn_embed_filter, embed_filter, lambda size: size // KEPT, only_hidden_states=True),
    "remove_top": Filter(learn_remove_top, remove_top),
    "whiten": Filter(learn_whiten, whiten),
}


@dataclass(frozen=True)
class Filters:
    """Filters of both blocks, one after the other, with what each has learnt from a corpus.

    Fitted once and applied to anything later, so the vector of a document never depends on its neighbours.

    Attributes:
        names: in the order in which they are applied.
        hidden_states: what each learnt of the hidden states.
        routing_weights: what each learnt of the routing weights; empty for one that leaves them alone.
    """

    names: tuple[FilterName, ...]
    hidden_states: tuple[Learnt, ...]
    routing_weights: tuple[Learnt, ...]

    @classmethod
    def fit(
        cls, names: Sequence[FilterName], sample: Blocks, unembedding: Unembedding | None = None
    ) -> tuple[Filters, Blocks]:
        """Learns each filter from the blocks of a corpus as those before it leave them; gives the last ones too.

        Raises:
            InputError: there are no documents, or a filter needs an unembedding and there is none.
        """
        if not len(sample[0]):
            raise InputError("Filters need at least one document to learn from, got none.")
        hidden, routing = sample
        learnt: tuple[list[Learnt], list[Learnt]] = ([], [])
        for name in names:
            entry = FILTERS[name]
            learnt[0].append(entry.learn(hidden, unembedding))
            hidden = entry.apply(hidden, learnt[0][-1])
            touched = routing.shape[1] > 0 and not entry.only_hidden_states
            learnt[1].append(entry.learn(routing, None) if touched else {})
            routing = entry.apply(routing, learnt[1][-1]) if touched else routing
        return cls(tuple(names), tuple(learnt[0]), tuple(learnt[1])), (hidden, routing)

    def transform(self, embeddings: Embeddings) -> Blocks:
        """The two blocks, filtered, in float32; any N, one included.

        Raises:
            InputError: the embeddings have other dimensions than those it was fitted on.
        """
        hidden, routing = raw_blocks(embeddings)
        for name, of_hidden, of_routing in zip(self.names, self.hidden_states, self.routing_weights, strict=True):
            hidden = _applied(name, hidden, of_hidden)
            routing = _applied(name, routing, of_routing) if of_routing else routing
        return hidden, routing

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What was learnt as named arrays, for a safetensors file."""
        blocks = {"hidden_states": self.hidden_states, "routing_weights": self.routing_weights}
        return {
            f"filters.{place}.{block}.{name}": tensor
            for block, every in blocks.items()
            for place, learnt in enumerate(every)
            for name, tensor in learnt.items()
        }

    @classmethod
    def of_tensors(cls, names: Sequence[FilterName], tensors: Mapping[str, NDArray[Any]]) -> Filters | None:
        """What :meth:`tensors` gave, None where there is nothing of it."""

        def learnt(block: str, place: int) -> Learnt:
            start = f"filters.{place}.{block}."
            return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}

        if not any(name.startswith("filters.") for name in tensors):
            return None
        hidden, routing = (
            tuple(learnt(block, place) for place in range(len(names))) for block in ("hidden_states", "routing_weights")
        )
        return cls(tuple(names), hidden, routing)


def sample_of(blocks: Iterable[Embeddings]) -> Blocks:
    """At most ``MOST_DOCUMENTS`` documents, evenly spaced over a stream whose length nobody knows, as raw blocks."""
    kept: list[Embeddings] = []
    row, every = 0, 1
    for block in blocks:
        kept.append(block[np.arange(-row % every, len(block), every)])
        row += len(block)
        while sum(map(len, kept)) > MOST_DOCUMENTS:  # every second one goes, wherever the stream was cut
            whole = Embeddings.concatenate(kept)
            kept, every = [whole[::2]], 2 * every
    if not kept:
        raise InputError("Filters need at least one document to learn from, got none.")
    return raw_blocks(Embeddings.concatenate(kept))


def _applied(name: FilterName, rows: Matrix, learnt: Learnt) -> Matrix:
    fitted = max(tensor.shape[-1] for tensor in learnt.values())
    if rows.shape[1] != fitted:
        raise InputError(
            f"Got {rows.shape[1]} dimensions, but the filter {name} was fitted on {fitted}. They come from different "
            "models."
        )
    return FILTERS[name].apply(rows, learnt)


def _principal(block: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (d,), variances (d,) and directions (d, d) as rows, the strongest first."""
    mean = block.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = np.zeros((block.shape[1], block.shape[1]))
    for start in range(0, len(block), 4096):
        rows = (block[start : start + 4096] - mean).astype(np.float64)
        covariance += rows.T @ rows
    variances, directions = np.linalg.eigh(covariance / len(block))
    return mean, np.maximum(variances[::-1], 0), directions.T[::-1]


def _shrinkage(block: Matrix, mean: NDArray[np.float32], variances: NDArray[np.float64]) -> float:
    """How far Ledoit & Wolf (2004, lemma 3.2 and section 3.3) shrink the covariance, from 0 to 1."""
    documents, spread = len(block), float(((variances - variances.mean()) ** 2).sum())
    if spread == 0:
        return 1.0
    fourth = 0.0  # the sum over documents of |x x' - S|^2, from |x|^4 and |S|^2
    for start in range(0, documents, 4096):
        rows = (block[start : start + 4096] - mean).astype(np.float64)
        fourth += float((np.einsum("ij,ij->i", rows, rows) ** 2).sum())
    noise = (fourth / documents - float((variances**2).sum())) / documents
    return float(np.clip(noise / spread, 0, 1))


def _times(rows: Matrix, matrix: NDArray[np.floating], mean: NDArray[np.float32] | None = None) -> Matrix:
    """(rows - mean) @ matrix in float64, always so many rows at once: a product sums otherwise for one row than for
    many, and the vector of a document would depend on its neighbours.
    """
    matrix = matrix.astype(np.float64)
    out = np.empty((len(rows), matrix.shape[1]), dtype=np.float32)
    group = np.zeros((_ROWS, rows.shape[1]))
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        group[: len(part)] = part if mean is None else part - mean
        out[start : start + _ROWS] = (group @ matrix)[: len(part)]
    return out
