"""Which topic a new document belongs to: a vote of the nearest documents of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from moee_topics.defaults import SEED
from moee_topics.errors import InputError
from moee_topics.fuse import unit_rows
from moee_topics.messages import counted
from moee_topics.store import write_bytes
from moee_topics.topics.duplicate_rows import distinct_rows
from moee_topics.topics.result import OUTLIERS

FILE = "prediction.safetensors"
BLOCK = 1024  # new documents at once: their cosines with 20,000 voters take 80 MB
MOST_VOTERS, FEWEST_VOTERS = 5, 3
FEWEST_KEPT = 15
GROUP = 32  # columns that are looked at together for the largest of a row
NEW = -2
"""Stands for the topic of a document that was not in the fit."""


@dataclass(frozen=True)
class Voters:
    """The documents of a fit that vote on new ones: a classifier by nearest neighbours, by cosine of their vectors.

    A new document gets the topic that its nearest documents have, each vote weighing its cosine; outliers vote too, so
    a document amid outliers becomes one. The rule needs neither UMAP nor HDBSCAN, neither of which can be saved without
    pickle, so a model answers the same before it is saved and after it is loaded.

    Attributes:
        vectors: (R, d) unit vectors of the voting documents, float16.
        rows: (R,) their rows in the fit.
        topics: (R,) their topics.
    """

    vectors: NDArray[np.float16]
    rows: NDArray[np.int64]
    topics: NDArray[np.int64]

    @property
    def neighbors(self) -> int:
        """How many documents vote: five, or as many as the smallest topic has, and never fewer than three."""
        # Posts of 20 Newsgroups kept out of the vote (docs/reliability.md): in topics of at most 5 documents 15 voters
        # agree with the fit for 2 %, 5 for 26 % and 3 for 38 %; in topics of 16 to 50 for 43 %, 64 % and 67 %. Three
        # also give a topic to 29 % of the outliers, five to 21 %: so no fewer vote than small topics need.
        sizes = np.unique(self.topics[self.topics != OUTLIERS], return_counts=True)[1]
        return max(FEWEST_VOTERS, min(MOST_VOTERS, int(sizes.min(initial=MOST_VOTERS))))

    @classmethod
    def fit(cls, X: NDArray[np.floating], topics: NDArray[np.int64], most: int = 20_000, seed: int = SEED) -> Voters:
        """Keeps all different documents of a fit, or of a larger one a random part that leaves no topic out.

        Args:
            X: (N, d) vectors.
            topics: (N,) topic of every document.
            most: how many documents are kept; every topic keeps at least 15 of its own where it has them.
        """
        rows, _ = distinct_rows(X)  # five copies of one document would be the whole vote
        if len(rows) > most:
            rng = np.random.default_rng(seed)
            parts = [rows[topics[rows] == topic] for topic in np.unique(topics[rows])]
            # A part in proportion would leave out small topics, which could then never be predicted.
            sizes = [max(FEWEST_KEPT, round(most * len(part) / len(rows))) for part in parts]
            sample = [rng.permutation(part)[:size] for part, size in zip(parts, sizes, strict=True)]
            rows = np.sort(np.concatenate(sample))
        return cls(unit_rows(X[rows]).astype(np.float16), rows, topics[rows])

    def with_vectors(self, X: NDArray[np.floating]) -> Voters:
        """The same voters by other vectors, (R, d)."""
        return Voters(unit_rows(X).astype(np.float16), self.rows, self.topics)

    def with_topics(self, topics: NDArray[np.int64]) -> Voters:
        """The same voters after the documents of the fit got other topics, (N,)."""
        return Voters(self.vectors, self.rows, topics[self.rows])

    def predict(
        self, X: ArrayLike, fitted: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The topic of each vector, and its share of the vote (0 for outliers); a vector of zeros is an outlier.

        Args:
            X: (n, d) vectors in the space of the fit.
            fitted: (n,) the topics of documents that were in the fit, and NEW for all others.

        Raises:
            InputError: vectors of another width, or one that holds NaN or infinity.
        """
        vectors = np.asarray(X, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"This model was fitted on vectors of {self.vectors.shape[1]} numbers, got an array of shape "
                f"{vectors.shape}. Use the encoder, fusion and standardizer of the fit."
            )
        check_finite(vectors)  # the cosines of such a vector are NaN, and any topic could win its vote
        of_fit = np.full(len(vectors), NEW) if fitted is None else fitted
        voters = self.vectors.astype(np.float32)
        topics, shares = np.empty(len(vectors), dtype=np.int64), np.empty(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            at = slice(start, start + BLOCK)
            topics[at], shares[at] = self._vote(unit_rows(vectors[at]) @ voters.T, of_fit[at])
        # A vector of zeros is as near to one document as to any other, and whoever comes first would win its vote.
        nowhere = ~vectors.any(axis=1) & (of_fit == NEW)
        topics[nowhere], shares[nowhere] = OUTLIERS, 0.0
        return topics, shares

    def nearest(
        self, X: ArrayLike, *, own: bool = False, most: int = MOST_VOTERS
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest voters of each vector, (n, k) places in ``rows``, and their cosines, in no order.

        Args:
            X: (n, d) vectors in the space of the fit.
            own: they are the voters themselves, in their order, and nobody is their own neighbour.
            most: k, where there are so many.
        """
        vectors, voters = unit_rows(np.asarray(X)), self.vectors.astype(np.float32)
        count = min(most, len(voters) - own)
        places = np.empty((len(vectors), count), dtype=np.int64)
        cosines = np.empty((len(vectors), count), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            at = np.arange(start, min(start + BLOCK, len(vectors)))
            of_all = vectors[at] @ voters.T
            if own:
                of_all[np.arange(len(at)), at] = -1.0
            places[at] = largest(of_all, count)
            cosines[at] = np.take_along_axis(of_all, places[at], axis=1)
        return places, cosines

    def nearest_others(self, most: int = 2000, seed: int = SEED) -> NDArray[np.float32]:
        """(r,) cosine of documents of the fit, at most so many drawn at random, and the nearest of all the others."""
        sample = np.random.default_rng(seed).permutation(len(self.rows))[:most]
        # The nearest of all is each itself, since no two voters are alike.
        return np.asarray(self.nearest(self.vectors[sample], most=2)[1].min(axis=1))

    def leave_one_out(self, most: int = 2000, seed: int = SEED) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The topics of documents of the fit, and those they would get had they been new.

        Args:
            most: how many documents, drawn at random.
            seed: of the draw.
        """
        sample = np.sort(np.random.default_rng(seed).permutation(len(self.rows))[:most])
        voters = self.vectors.astype(np.float32)
        predicted = np.empty(len(sample), dtype=np.int64)
        for start in range(0, len(sample), BLOCK):
            part = sample[start : start + BLOCK]
            cosines = voters[part] @ voters.T
            cosines[np.arange(len(part)), part] = -1.0  # nobody votes on itself
            predicted[start : start + BLOCK], _ = self._vote(cosines, np.full(len(part), NEW))
        return self.topics[sample], predicted

    def _vote(
        self, cosines: NDArray[np.float32], fitted: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The topics that win the vote of the nearest, or are of the fit, and their shares; from (n, R) cosines."""
        count = min(self.neighbors, cosines.shape[1])
        nearest = largest(cosines, count)
        return self.vote(nearest, np.take_along_axis(cosines, nearest, axis=1), fitted)

    def vote(
        self, nearest: NDArray[np.int64], cosines: NDArray[np.float32], fitted: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The topics that win the vote of some voters, or are of the fit, and their shares.

        Args:
            nearest: (n, k) places of the voters of each document in ``rows``.
            cosines: (n, k) of the document and each of them.
            fitted: (n,) the topics of documents that were in the fit, and NEW for all others.
        """
        # Above nothing: a document that is unlike all of the fit still goes where most of its nearest are.
        weights = np.maximum(cosines, 1e-6)
        topics = np.unique(self.topics)
        votes = np.zeros((len(cosines), len(topics)), dtype=np.float32)
        np.add.at(votes, (np.arange(len(cosines))[:, None], np.searchsorted(topics, self.topics)[nearest]), weights)
        winners = np.where(fitted == NEW, topics[votes.argmax(axis=1)], fitted)
        column = np.searchsorted(topics, winners).clip(max=len(topics) - 1)
        has_voters = topics[column] == winners
        shares = np.where(has_voters, votes[np.arange(len(votes)), column], 0.0) / weights.sum(axis=1)
        return winners, np.where(winners == OUTLIERS, 0.0, shares).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Writes ``prediction.safetensors``."""
        arrays: dict[str, NDArray[Any]] = {"vectors": self.vectors, "rows": self.rows, "topics": self.topics}
        write_bytes(folder / FILE, to_safetensors(arrays))

    @classmethod
    def load(cls, folder: Path) -> Voters:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: a vector is not finite, as one flipped bit leaves it where no digest tells.
        """
        arrays = load_file(folder / FILE)
        if not np.isfinite(arrays["vectors"]).all():  # its cosine with anything is NaN, and would win no vote
            raise InputError(f"{folder / FILE} is damaged: a vector is not finite. Fit again.")
        return cls(arrays["vectors"], arrays["rows"], arrays["topics"])


def largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(n, count) columns of the largest of the (n, m) values in each row, in no order."""
    groups = values.shape[1] // GROUP
    if groups <= count * GROUP:
        return np.argpartition(-values, count - 1, axis=1)[:, :count]
    # They are in the groups of columns whose own largest are the largest, or behind the last group. That takes a tenth
    # of the time of a partition of all values, which of 20,000 voters took four times as long as their cosines.
    of_group = values[:, : groups * GROUP].reshape(len(values), GROUP, groups).max(axis=1)
    best = np.argpartition(-of_group, count - 1, axis=1)[:, :count]
    inside = (best[:, :, None] + groups * np.arange(GROUP)).reshape(len(values), count * GROUP)
    behind = np.arange(groups * GROUP, values.shape[1])
    columns = np.hstack([inside, np.broadcast_to(behind, (len(values), len(behind)))])
    some = np.take_along_axis(values, columns, axis=1)
    return np.take_along_axis(columns, np.argpartition(-some, count - 1, axis=1)[:, :count], axis=1)


def check_finite(X: NDArray[np.floating]) -> None:
    """Refuses vectors (N, d) that are not numbers throughout.

    Raises:
        InputError: one holds NaN or infinity; the message names the first.
    """
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        raise InputError(f"NaN or infinity in {counted(len(bad), 'vector')}, the first that of document {bad[0]}.")


def centroids(X: NDArray[np.floating], topics: NDArray[np.int64]) -> NDArray[np.float32]:
    """(topics, d) mean vector of every topic in rising order of its id, outliers (-1) included where there are any."""
    means = [X[topics == topic].mean(axis=0, dtype=np.float64) for topic in np.unique(topics)]
    return np.asarray(means, dtype=np.float32)
