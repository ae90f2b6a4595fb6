"""Topics of a corpus that is too large for UMAP: a sample is clustered, all others go where their nearest ones are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import FAR
from moee_topics.topics.clusterers import build_clusterer, build_reducer
from moee_topics.topics.clustering import document_map
from moee_topics.topics.duplicate_rows import distinct_rows
from moee_topics.topics.growth import grown_topics, places_among
from moee_topics.topics.result import OUTLIERS
from moee_topics.topics.settings import FitSettings
from moee_topics.topics.voters import BLOCK, NEW, Voters

Matrix = NDArray[np.floating]
Rows = NDArray[np.int64]

ROWS_AT_ONCE = 65_536  # whose vectors are in memory together; the rest of a mapped file stays on disk


class SampledClusters:
    """What BERTopic is given as its clusterer, and as its reduction nothing.

    The documents of a random sample go through UMAP and HDBSCAN. Every other one gets the topic that its nearest of
    these vote for, which is what :meth:`TopicModel.predict` would say of it. A topic needs ``min_cluster_size``
    documents *of the sample*, so that there is a second look at what may be too rare for it: outliers, and documents
    that lie where the sample is thin. A sample of them, in which a rare topic has several times the documents, is
    clustered by itself, and the clusters that hold (:func:`grown_topics`) are topics too.

    Attributes:
        labels_: (N,) cluster of every document, -1 for outliers.
        probabilities_: (N,) how sure that is: HDBSCAN's strength in the sample, the share of the vote elsewhere.
        assigned_: (N,) whether a document got its cluster by a vote.
    """

    labels_: Rows
    probabilities_: NDArray[np.float32]
    assigned_: NDArray[np.bool_]

    def __init__(self, settings: FitSettings) -> None:
        self.settings = settings
        self.min_cluster_size = build_clusterer(settings).min_cluster_size

    def fit(self, X: Matrix, y: Any = None) -> SampledClusters:
        """Clusters N vectors (N, d); ``y`` is not looked at."""
        rng, size = np.random.default_rng(self.settings.seed), self.settings.large.sample
        self._which = distinct_rows(X)[1]
        self.labels_ = np.full(len(X), OUTLIERS, dtype=np.int64)
        self.probabilities_ = np.zeros(len(X), dtype=np.float32)
        self.assigned_ = np.ones(len(X), dtype=bool)
        self._sample = np.sort(rng.choice(len(X), size, replace=False))
        self._reducer = build_reducer(self.settings, size)
        clusters = build_clusterer(self.settings).fit(self._reducer.fit_transform(X[self._sample]))
        self._settle(self._sample, np.asarray(clusters.labels_), np.asarray(clusters.probabilities_))
        others = np.flatnonzero(self.assigned_)
        self._voters = self._voters_among(X, self._sample)
        self._nearest = nearest_of_rows(self._voters, X, others)  # kept: the map asks for them too
        self._vote(self._voters, others, *self._nearest)
        own = self._voters.nearest(self._voters.vectors, own=True)[1].min(axis=1)
        is_thin = self._nearest[1].min(axis=1) < np.quantile(own, FAR)
        self._look_again(X, np.union1d(np.flatnonzero(self.labels_ == OUTLIERS), others[is_thin]), rng)
        return self

    def document_map(self, X: Matrix) -> NDArray[np.float32]:
        """(N, 2) positions: a map of the sample, and each other document among its nearest there."""
        positions = np.zeros((len(X), 2), dtype=np.float32)
        positions[self._sample] = document_map(X[self._sample], self.settings, self._reducer)
        others = np.setdiff1d(np.arange(len(X)), self._sample)
        positions[others] = places_among(positions[self._voters.rows], *self._nearest)
        return positions

    def _look_again(self, X: Matrix, candidates: Rows, rng: np.random.Generator) -> None:
        """Clusters a sample of some documents by itself, and lets the others of them vote once more."""
        if self.labels_.max() == OUTLIERS:
            return  # no topic that a new one could be measured by; the fit will say so
        again = np.sort(rng.permutation(candidates)[: self.settings.large.sample])
        rows = np.union1d(np.flatnonzero(~self.assigned_), again)
        before, places, settled = self.labels_[rows], np.searchsorted(rows, again), np.zeros(len(rows), dtype=bool)
        labels = grown_topics(X[rows], before, places, settled, self.settings, int(before.max()) + 1)
        if (labels == before).all():
            return
        # All of the second sample vote, outliers too: without them the new topics would win too much.
        self._settle(again, labels[places], (labels[places] != OUTLIERS).astype(np.float32))
        rest = candidates[self.assigned_[candidates]]
        voters = self._voters_among(X, rows)
        self._vote(voters, rest, *nearest_of_rows(voters, X, rest))

    def _settle(self, rows: Rows, labels: Rows, strength: Matrix) -> None:
        self.labels_[rows], self.probabilities_[rows], self.assigned_[rows] = labels, strength, False

    def _vote(self, voters: Voters, rows: Rows, nearest: Rows, cosines: NDArray[np.float32]) -> None:
        """Gives documents the cluster that their nearest voters vote for, and copies that of the first."""
        clustered = np.flatnonzero(~self.assigned_)
        of_vector = np.full(int(self._which.max()) + 1, NEW, dtype=np.int64)
        of_vector[self._which[clustered]] = self.labels_[clustered]
        order = np.argsort(-cosines, axis=1, kind="stable")[:, : voters.neighbors]
        nearest, cosines = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(cosines, order, axis=1)
        for start in range(0, len(rows), BLOCK):  # of a vote over all topics at once
            at = slice(start, start + BLOCK)
            labels, shares = voters.vote(nearest[at], cosines[at], of_vector[self._which[rows[at]]])
            self.labels_[rows[at]], self.probabilities_[rows[at]] = labels, shares

    def _voters_among(self, X: Matrix, rows: Rows) -> Voters:
        """As many of some documents as vote in a saved model, by their rows in the corpus."""
        voters = Voters.fit(X[rows], self.labels_[rows], seed=self.settings.seed)
        return Voters(voters.vectors, rows[voters.rows], voters.topics)


def nearest_of_rows(voters: Voters, X: Matrix, rows: Rows) -> tuple[Rows, NDArray[np.float32]]:
    """:meth:`Voters.nearest` of some rows, of which a part at a time is in memory where X is a file."""
    parts = [voters.nearest(X[rows[start : start + ROWS_AT_ONCE]]) for start in range(0, len(rows), ROWS_AT_ONCE)]
    if not parts:
        return voters.nearest(X[:0])
    return np.concatenate([nearest for nearest, _ in parts]), np.concatenate([cosines for _, cosines in parts])
