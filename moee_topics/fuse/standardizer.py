"""Mean 0 and deviation 1 for every dimension of a block, by the statistics of a whole corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, Matrix, flat_routing

_ROWS = 4096  # brought to float64 at a time, so that a block never exists twice in double precision
_RELATIVE_ROUNDING = 1e-10


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each of d dimensions over ``count`` documents, in float64."""

    count: int
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class Standardizer:
    """Brings every dimension of a block to mean 0 and standard deviation 1 by the statistics of a whole corpus.

    Fitted once and applied to anything later, so the vector of a document never depends on its neighbours. A dimension
    that is constant in the corpus becomes 0. A block without statistics is left as it is.
    """

    hidden_states: Moments | None
    routing_weights: Moments | None

    @classmethod
    def fit(
        cls, blocks: Iterable[Embeddings | Blocks], *, hidden_states: bool = True, routing_weights: bool = True
    ) -> Standardizer:
        """Learns the statistics from a stream of embeddings, or of filtered blocks, whatever its cut.

        Raises:
            InputError: there are no documents, or their embeddings hold NaN or infinity.
        """
        hidden, routing = _RunningMoments(), _RunningMoments()
        for block in blocks:
            of_hidden, of_routing = _both(block)
            if hidden_states:
                hidden.update(of_hidden)
            if routing_weights:
                routing.update(of_routing)
        return cls(
            hidden.moments() if hidden_states else None,
            routing.moments() if routing_weights else None,
        )

    def transform(self, embeddings: Embeddings | Blocks) -> Blocks:
        """The two blocks, standardized, (N, D) and (N, L * E) in float32; any N, one included.

        Raises:
            InputError: the embeddings have other dimensions than those it was fitted on, or the statistics are damaged.
        """
        hidden, routing = _both(embeddings)
        return (
            _standardize(hidden, self.hidden_states, "hidden states"),
            _standardize(routing, self.routing_weights, "routing weights"),
        )

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The statistics as named arrays, for a safetensors file."""
        tensors: dict[str, NDArray[np.generic]] = {}
        for name, moments in (("hidden_states", self.hidden_states), ("routing_weights", self.routing_weights)):
            if moments is not None:
                tensors[f"{name}.count"] = np.array(moments.count, dtype=np.int64)
                tensors[f"{name}.mean"], tensors[f"{name}.scale"] = moments.mean, moments.scale
        return tensors

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Standardizer:
        """The statistics from what :meth:`tensors` gave.

        Raises:
            KeyError: a mean or a deviation is missing.
        """

        def moments(name: str) -> Moments | None:
            if f"{name}.count" not in tensors:
                return None
            mean, scale = tensors[f"{name}.mean"], tensors[f"{name}.scale"]
            return Moments(int(tensors[f"{name}.count"]), mean.astype(np.float64), scale.astype(np.float64))

        return cls(moments("hidden_states"), moments("routing_weights"))


class _RunningMoments:
    """Mean and squared deviations over blocks, joined by the formula of Chan, Golub and LeVeque (1983)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = np.zeros(0)
        self._squares = np.zeros(0)

    def update(self, block: FloatArray) -> None:
        for start in range(0, len(block), _ROWS):
            self._merge(block[start : start + _ROWS].astype(np.float64))

    def moments(self) -> Moments:
        if self._count == 0:
            raise InputError("A standardizer needs at least one document to learn from, got none.")
        scale = np.sqrt(self._squares / self._count)
        # Rounding leaves a constant dimension a deviation near 1e-16 of its mean, which float16 cannot hold.
        scale[scale <= _RELATIVE_ROUNDING * np.abs(self._mean)] = 0.0
        return Moments(self._count, self._mean, scale)

    def _merge(self, rows: NDArray[np.float64]) -> None:
        mean = rows.mean(axis=0)
        if not np.isfinite(mean).all():  # one such number would spread to the vectors of all documents
            raise InputError("The embeddings of the corpus hold NaN or infinity. Encode it again.")
        squares = ((rows - mean) ** 2).sum(axis=0)
        if self._count == 0:
            self._count, self._mean, self._squares = len(rows), mean, squares
            return
        _check_dimensions(len(mean), len(self._mean), "the documents before")
        total = self._count + len(rows)
        shift = mean - self._mean
        self._mean = self._mean + shift * (len(rows) / total)
        self._squares = self._squares + squares + shift**2 * (self._count * len(rows) / total)
        self._count = total


def _both(block: Embeddings | Blocks) -> tuple[FloatArray, FloatArray]:
    """The two blocks in the precision they have: float32 would round what a store of another kind may hold."""
    return block if isinstance(block, tuple) else (block.hidden_states, flat_routing(block))


def _standardize(block: FloatArray, moments: Moments | None, name: str) -> Matrix:
    if moments is None:
        return block.astype(np.float32)
    _check_dimensions(block.shape[1], len(moments.mean), f"the {name} that the standardizer was fitted on")
    # A constant dimension becomes 0; a division would make it "not a number".
    factor = np.divide(1.0, moments.scale, out=np.zeros_like(moments.scale), where=moments.scale > 0)
    out = np.empty(block.shape, dtype=np.float32)
    try:
        with np.errstate(over="raise", invalid="raise"):
            for start in range(0, len(block), _ROWS):
                out[start : start + _ROWS] = (block[start : start + _ROWS].astype(np.float64) - moments.mean) * factor
    except FloatingPointError as error:
        # A run of 0.1.0 has no digests, and one flipped bit of an exponent makes a deviation of 1e-300.
        raise InputError(
            f"The statistics of the {name} are damaged: by them a document has numbers beyond 32 bits. Fit again."
        ) from error
    return out


def _check_dimensions(got: int, expected: int, what: str) -> None:
    if got != expected:
        raise InputError(f"Got {got} dimensions, but {what} have {expected}. They come from different models.")
