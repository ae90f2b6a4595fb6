"""From the two views of a document, hidden states and routing weights, to one matrix; no model needed.

The sum of similarities of the paper, cos_HS + alpha * cos_RW, is the cosine of one vector up to a constant factor:
``[HS / |HS|, sqrt(alpha) * RW / |RW|]``. So it can be clustered and indexed like any other embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError
from moee_topics.store import write_bytes

Method = Literal["hidden_states", "routing_weights", "concat", "weighted_sum"]
Matrix: TypeAlias = NDArray[np.float32]
Blocks: TypeAlias = tuple[Matrix, Matrix]

_ROWS = 4096
_RELATIVE_ROUNDING = 1e-10


def fuse(
    embeddings: Embeddings, method: Method, *, alpha: float = 1.0, standardizer: Standardizer | None = None
) -> Matrix:
    """One vector per document, (N, d) in float32.

    Args:
        embeddings: N documents.
        method: ``hidden_states`` (d = D), ``routing_weights`` (d = L * E, layers one after the other), ``concat`` (both
            side by side as they are) or ``weighted_sum`` (both at length one, the second times sqrt(alpha)).
        alpha: the weight of the routing weights in ``weighted_sum``; 0 leaves the hidden states alone.
        standardizer: applied to the blocks first.

    Raises:
        InputError: an unknown method, a negative alpha, or routing weights of a model that has no routers.
    """
    blocks = standardizer.transform(embeddings) if standardizer else raw_blocks(embeddings)
    return combine(blocks, method, alpha=alpha)


def combine(blocks: Blocks, method: Method, *, alpha: float = 1.0) -> Matrix:
    """Like :func:`fuse`, from a block of hidden states (N, D) and one of routing weights (N, L * E).

    In ``weighted_sum`` the dot product of two vectors is cos_HS + alpha * cos_RW, and their cosine that over 1 + alpha.
    A zero block stays zero: its cosine with anything counts as 0.
    """
    hidden, routing = blocks
    _check_method(method, alpha, routing.shape[1])
    if method == "hidden_states":
        return hidden
    if method == "routing_weights":
        return routing
    if method == "concat":
        return np.concatenate([hidden, routing], axis=1)
    return np.concatenate([unit_rows(hidden), np.float32(np.sqrt(alpha)) * unit_rows(routing)], axis=1)


def raw_blocks(embeddings: Embeddings) -> Blocks:
    """Hidden states (N, D) and flattened routing weights (N, L * E) as they are, in float32."""
    return embeddings.hidden_states.astype(np.float32), _flat_routing(embeddings).astype(np.float32)


def unit_rows(block: Matrix) -> Matrix:
    """Every row at length one, (N, d); rows of zeros stay zero."""
    squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
    norms = np.sqrt(squares)
    norms[norms == 0] = 1.0
    return np.asarray(block / norms[:, None].astype(np.float32), dtype=np.float32)


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
        cls, blocks: Iterable[Embeddings], *, hidden_states: bool = True, routing_weights: bool = True
    ) -> Standardizer:
        """Learns the statistics from a stream of embeddings, whatever its cut into blocks.

        Raises:
            InputError: there are no documents.
        """
        hidden, routing = _RunningMoments(), _RunningMoments()
        for embeddings in blocks:
            if hidden_states:
                hidden.update(embeddings.hidden_states)
            if routing_weights:
                routing.update(_flat_routing(embeddings))
        return cls(
            hidden.moments() if hidden_states else None,
            routing.moments() if routing_weights else None,
        )

    def transform(self, embeddings: Embeddings) -> Blocks:
        """The two blocks, standardized, (N, D) and (N, L * E) in float32; any N, one included.

        Raises:
            InputError: the embeddings have other dimensions than those it was fitted on.
        """
        return (
            _standardize(embeddings.hidden_states, self.hidden_states, "hidden states"),
            _standardize(_flat_routing(embeddings), self.routing_weights, "routing weights"),
        )

    def save(self, path: Path) -> None:
        """Writes the statistics as safetensors; the same statistics give the same bytes."""
        tensors: dict[str, NDArray[np.generic]] = {}
        for name, moments in (("hidden_states", self.hidden_states), ("routing_weights", self.routing_weights)):
            if moments is not None:
                tensors[f"{name}.count"] = np.array(moments.count, dtype=np.int64)
                tensors[f"{name}.mean"], tensors[f"{name}.scale"] = moments.mean, moments.scale
        write_bytes(path, to_safetensors(tensors))

    @classmethod
    def load(cls, path: Path) -> Standardizer:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: the file is missing or something else.
        """
        try:
            tensors = load_file(path)
            return cls(_moments_of(tensors, "hidden_states"), _moments_of(tensors, "routing_weights"))
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"{path} holds no standardizer ({error}). Fit the topic model again.") from error


def per_batch_standardize(embeddings: Embeddings, batch_size: int) -> Blocks:
    """The blocks scaled within each batch, as the paper's code does; only for comparison with its numbers.

    A document's vector then depends on its batch, and a batch of one gives zeros. ``Standardizer`` is the sound way.
    Source: the reference implementation's ``moee.py``, lines 230-241 and 271-273 (unbiased deviation plus 1e-8, NaN to
    0). Give :func:`combine` the result.
    """
    if batch_size < 1:
        raise InputError(f"A batch has at least 1 document, got {batch_size}.")
    hidden, routing = raw_blocks(embeddings)
    return _standardize_batches(hidden, batch_size), _standardize_batches(routing, batch_size)


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


def _flat_routing(embeddings: Embeddings) -> FloatArray:
    weights = embeddings.routing_weights
    return weights.reshape(len(weights), int(np.prod(weights.shape[1:])))


def _check_method(method: str, alpha: float, experts: int) -> None:
    if method not in get_args(Method):
        raise InputError(f"Unknown fusion method {method!r}; it is one of {', '.join(get_args(Method))}.")
    if method != "hidden_states" and experts == 0:
        raise InputError(f"This model has no routers, so {method!r} cannot be made. Use method 'hidden_states'.")
    if method == "weighted_sum" and not (np.isfinite(alpha) and alpha >= 0):
        raise InputError(f"alpha is the weight of the routing weights, 0 or more; got {alpha}.")


def _standardize(block: FloatArray, moments: Moments | None, name: str) -> Matrix:
    if moments is None:
        return block.astype(np.float32)
    _check_dimensions(block.shape[1], len(moments.mean), f"the {name} that the standardizer was fitted on")
    factor = np.divide(1.0, moments.scale, out=np.zeros_like(moments.scale), where=moments.scale > 0)
    out = np.empty(block.shape, dtype=np.float32)
    for start in range(0, len(block), _ROWS):
        out[start : start + _ROWS] = (block[start : start + _ROWS].astype(np.float64) - moments.mean) * factor
    return out


def _standardize_batches(block: Matrix, batch_size: int) -> Matrix:
    out = np.zeros_like(block)
    for start in range(0, len(block), batch_size):
        batch = block[start : start + batch_size].astype(np.float64)
        if len(batch) > 1:
            out[start : start + batch_size] = (batch - batch.mean(axis=0)) / (batch.std(axis=0, ddof=1) + 1e-8)
    return out


def _check_dimensions(got: int, expected: int, what: str) -> None:
    if got != expected:
        raise InputError(f"Got {got} dimensions, but {what} have {expected}. They come from different models.")


def _moments_of(tensors: dict[str, NDArray[np.generic]], name: str) -> Moments | None:
    if f"{name}.count" not in tensors:
        return None
    mean, scale = tensors[f"{name}.mean"], tensors[f"{name}.scale"]
    return Moments(int(tensors[f"{name}.count"]), mean.astype(np.float64), scale.astype(np.float64))
