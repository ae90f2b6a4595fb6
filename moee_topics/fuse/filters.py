"""Filters: what is taken out of a block before blocks are scaled and mixed, learnt once on a corpus.

A new filter is two functions and their entry in ``FILTERS``, and its name in ``FilterName``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import words_of
from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, Matrix, raw_blocks
from moee_topics.messages import counted

FilterName = Literal["align_words", "center", "clip", "embed_filter", "remove_top", "whiten"]
Learnt = Mapping[str, NDArray[np.float32]]

MOST_DOCUMENTS = 16_384  # learnt from: with more of them no direction of 2,048 dimensions moves
EDGES = 0.005  # of the documents at each end of a dimension, which clip takes for outliers
KEPT = 2  # one direction of so many, as the code of EmbedFilter has it by default
REMOVED = 100  # one direction of so many, by the rule of thumb of Mu & Viswanath
WORDS = 256  # different ones of a corpus, which say where single words lie
TEXTS_WITH_WORDS = 2048  # of a corpus, in which they are looked for
_ROWS = 64
_LEAST_VARIANCE = 1e-6  # of the average one: float32 holds no more digits


class Model(Protocol):
    """What filters ask of the model behind the blocks; :class:`moee_topics.embed.Embedder` is one."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts, in their order."""
        ...

    def unembedding(self) -> NDArray[np.floating]:
        """(D, D), the right singular vectors of its unembedding as rows, the largest singular value first."""
        ...


@dataclass(frozen=True)
class Sample:
    """What a filter learns from.

    Attributes:
        block: (N, d) of documents.
        words: (W, d) of single words, for a filter that needs them.
        model: the model behind them, where it is known.
    """

    block: Matrix
    words: Matrix | None = None
    model: Model | None = None


@dataclass(frozen=True)
class Filter:
    """One filter of a block of d dimensions.

    Attributes:
        learn: from a corpus to what is kept of it.
        apply: from rows (n, d) and what was learnt to filtered rows, each by itself.
        width: the dimensions that are left of d.
        only_hidden_states: whether it leaves routing weights as they are.
    """

    learn: Callable[[Sample], Learnt]
    apply: Callable[[Matrix, Learnt], Matrix]
    width: Callable[[int], int] = int
    only_hidden_states: bool = False
    needs_words: bool = False


def learn_align_words(sample: Sample) -> Learnt:
    """The mean (d,) of documents, and the direction (1, d) from it to the mean of single words.

    Words are far from all documents and near each other: after centering on documents, cosines of words still are
    above 0.5. Without this one direction they are around 0 as well, and documents keep their cosines. It also holds
    very short documents apart from the others.
    """
    assert sample.words is not None
    mean = _mean(sample.block)
    towards = sample.words.mean(axis=0, dtype=np.float64) - mean
    length = np.linalg.norm(towards)
    return {"mean": mean, "directions": (towards / (length or 1.0))[None].astype(np.float32)}


def learn_center(sample: Sample) -> Learnt:
    """The mean (d,): raw states of decoders share one direction, which puts all their cosines above 0.6."""
    return {"mean": _mean(sample.block)}


def center(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows less the mean of the corpus."""
    return rows - learnt["mean"]


def learn_clip(sample: Sample) -> Learnt:
    """The bounds (d,) between which all but a hundredth of the documents lie, for each dimension by itself."""
    low, high = np.quantile(sample.block, (EDGES, 1 - EDGES), axis=0).astype(np.float32)
    return {"low": low, "high": high}


def clip(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows within the bounds: one outlier dimension no longer decides about a cosine."""
    return np.clip(rows, learnt["low"], learnt["high"])


def learn_remove_top(sample: Sample) -> Learnt:
    """The mean (d,) and the strongest directions (k, d), one for every hundred dimensions.

    Source: Mu & Viswanath, "All-but-the-Top" (2018).
    """
    block = sample.block
    mean, _, directions = _principal(block)
    # A corpus of n documents has n - 1 directions at most; the last one stays, or nothing would.
    most = max(0, min(max(1, block.shape[1] // REMOVED), len(block) - 2, block.shape[1] - 1))
    return {"mean": mean, "directions": directions[:most].astype(np.float32)}


def remove_directions(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows less the mean and their part in the directions, which are of length one and at right angles."""
    directions = learnt["directions"].astype(np.float64)
    return _times(rows, np.eye(rows.shape[1]) - directions.T @ directions, learnt["mean"])


def learn_whiten(sample: Sample) -> Learnt:
    """The mean (d,) and the matrix (d, d) after which all directions of the corpus weigh alike.

    The covariance is shrunk towards a multiple of the identity by the rule of Ledoit & Wolf (2004), so fewer documents
    than dimensions do no harm: directions that were not seen are taken for average ones.
    """
    mean, variances, directions = _principal(sample.block)
    average, kept = variances.mean(), 1 - _shrinkage(sample.block, mean, variances)
    # Two documents lie on one line exactly, and the rule shrinks nothing. A constant block stays at zero.
    shrunk = np.maximum(kept * variances + (1 - kept) * average, _LEAST_VARIANCE * average)
    scales = 1 / np.sqrt(shrunk) if average > 0 else np.zeros_like(variances)
    return {"mean": mean, "matrix": ((directions.T * scales) @ directions).astype(np.float32)}


def whiten(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows less the mean, times the matrix."""
    return _times(rows, learnt["matrix"], learnt["mean"])


def learn_embed_filter(sample: Sample) -> Learnt:
    """The directions (d // 2, d) in the middle of the unembedding's spectrum.

    Those of the largest and of the smallest singular values write frequent tokens into a state, which tell no texts
    apart. Source: Wu et al., "Your UnEmbedding Matrix is Secretly a Feature Lens for Text Embeddings" (arXiv
    2606.07502, 2026), and its code, CentreChen/EmbFilter.
    """
    if sample.model is None:
        raise InputError("The filter embed_filter needs the model's unembedding. Fit it with the embedder too.")
    directions, size = np.asarray(sample.model.unembedding()), sample.block.shape[1]
    if directions.shape != (size, size):
        raise InputError(f"The unembedding has {directions.shape[1]} dimensions, and the hidden states have {size}.")
    first, left = (size - size // KEPT) // 2, size // KEPT
    return {"directions": np.ascontiguousarray(directions[first : first + left], dtype=np.float32)}


def embed_filter(rows: Matrix, learnt: Learnt) -> Matrix:
    """Rows by their coordinates in the directions that are kept, (n, d // 2)."""
    return _times(rows, learnt["directions"].T)


FILTERS: Mapping[FilterName, Filter] = {
    "align_words": Filter(learn_align_words, remove_directions, needs_words=True),
    "center": Filter(learn_center, center),
    "clip": Filter(learn_clip, clip),
    "embed_filter": Filter(learn_embed_filter, embed_filter, lambda size: size // KEPT, only_hidden_states=True),
    "remove_top": Filter(learn_remove_top, remove_directions),
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
        cls,
        names: Sequence[FilterName],
        blocks: Blocks,
        words: Blocks | None = None,
        model: Model | None = None,
    ) -> tuple[Filters, Blocks]:
        """Learns each filter from the blocks of a corpus as those before it leave them; gives the last ones too.

        Args:
            names: of the filters.
            blocks: of a sample of the corpus.
            words: of single words of the corpus, for filters that need them.
            model: the model behind the blocks.

        Raises:
            InputError: a filter needs a model, and there is none or another one.
        """
        hidden, routing = (
            _Learning(Sample(block, None if words is None else words[side], model)) for side, block in enumerate(blocks)
        )
        for name in names:
            hidden.add(FILTERS[name])
            if routing.sample.block.shape[1] and not FILTERS[name].only_hidden_states:
                routing.add(FILTERS[name])
            else:
                routing.learnt.append({})
        filters = cls(tuple(names), tuple(hidden.learnt), tuple(routing.learnt))
        return filters, (hidden.sample.block, routing.sample.block)

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


class _Learning:
    """A sample on its way through filters, and what each learnt from it."""

    def __init__(self, sample: Sample) -> None:
        self.sample, self.learnt = sample, list[Learnt]()

    def add(self, entry: Filter) -> None:
        learnt, sample = entry.learn(self.sample), self.sample
        words = None if sample.words is None else entry.apply(sample.words, learnt)
        self.sample = Sample(entry.apply(sample.block, learnt), words, sample.model)
        self.learnt.append(learnt)


def embedded_words(texts: Sequence[str] | None, model: Model | None) -> Embeddings:
    """The embeddings of different words of a corpus, evenly drawn from the alphabet, as a store would round them.

    Raises:
        InputError: there are no texts, no words in them, or no model.
    """
    if texts is None or model is None:
        raise InputError("The filter align_words needs the words of a corpus. Fit it with texts and embedder too.")
    some = texts[:: -(-len(texts) // TEXTS_WITH_WORDS) or 1]
    words = sorted(_words_in(some) or _words_in(texts))
    if not words:
        raise _without_words(len(texts))
    return model.embed(words[:: -(-len(words) // WORDS)]).rounded()


def check_has_words(texts: Iterable[str]) -> None:
    """Looks before hours of encoding whether there is a word to align; the first one ends the look.

    Raises:
        InputError: there is none.
    """
    documents = 0
    for text in texts:
        if words_of(text.lower()):
            return
        documents += 1
    raise _without_words(documents)


def _words_in(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in words_of(text.lower())}


def _without_words(documents: int) -> InputError:
    return InputError(
        f"The filter align_words needs words, and there are none in {counted(documents, 'document')}. Leave it out of "
        "fusion.filters."
    )


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


def _mean(block: Matrix) -> NDArray[np.float32]:
    return np.asarray(block.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _principal(block: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (d,), variances (d,) and directions (d, d) as rows, the strongest first."""
    mean = _mean(block)
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
