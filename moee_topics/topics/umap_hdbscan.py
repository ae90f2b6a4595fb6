"""UMAP and HDBSCAN that see every distinct row once, so that copies of a document change neither.

With many equal rows UMAP's spectral start is a matter of chance (its threads #1277 and #1290): 1,000 copies among 300
documents gave other topics in every process, with the same seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hdbscan import HDBSCAN, all_points_membership_vectors
from numpy.typing import NDArray
from umap import UMAP

from moee_topics.topics.copies import Rows, distinct_rows


class DistinctUMAP(UMAP):  # type: ignore[misc]
    """UMAP of the distinct rows; copies get the place of their row."""

    n_neighbors: int
    n_components: int

    def fit_transform(self, X: NDArray[np.floating], y: Any = None, **options: Any) -> NDArray[np.floating]:
        """(N, components) places."""
        first, which = distinct_rows(X)
        y = None if y is None else np.asarray(y)[first]
        self.n_neighbors = min(self.n_neighbors, len(first) - 1)
        if len(first) <= self.n_components + 2:
            self.init = "random"  # the spectral start needs more eigenvectors than such a graph has
        places: NDArray[np.floating] = super().fit_transform(X[first], y, **options)
        return places[which]

    def transform(self, X: NDArray[np.floating], **options: Any) -> NDArray[np.floating]:
        """(n, components) places of new rows."""
        first, which = distinct_rows(np.asarray(X))
        places: NDArray[np.floating] = super().transform(np.asarray(X)[first], **options)
        return places[which]


class DistinctHDBSCAN(HDBSCAN):  # type: ignore[misc]
    """HDBSCAN of the distinct rows; copies get the cluster of their row.

    ``min_cluster_size`` counts distinct rows, so that copies move nobody else. Copies count among the outliers: a row
    that occurs ``min_cluster_size`` times is a cluster of its own, and so is a branch of outliers whose rows are too
    few by themselves and enough with their copies.
    """

    labels_: Rows
    probabilities_: NDArray[np.floating]
    min_cluster_size: int

    def fit(self, X: NDArray[np.floating], y: Any = None) -> DistinctHDBSCAN:
        """Sets ``labels_`` and ``probabilities_`` of all N rows; everything else is of the distinct rows."""
        first, self._which = distinct_rows(X)
        super().fit(X[first])
        labels, strength = self.labels_, self.probabilities_
        self._labels_of_distinct = labels.copy()
        copies = np.where(labels == -1, np.bincount(self._which), 0)
        self._repeated = repeated_branches(self._single_linkage_tree, copies, max(2, self.min_cluster_size))
        for number, rows in enumerate(self._repeated, start=labels.max(initial=-1) + 1):
            labels[rows], strength[rows] = number, 1.0
        self.labels_, self.probabilities_ = labels[self._which], strength[self._which]
        return self

    def membership_vectors(self) -> NDArray[np.floating]:
        """(N, clusters) probabilities of every row to be in each cluster."""
        labels, self.labels_ = self.labels_, self._labels_of_distinct
        try:  # upstream counts the clusters in the labels, and knows none of those of repeated rows
            vectors = np.asarray(all_points_membership_vectors(self)).reshape(self._which.max() + 1, -1)
        finally:
            self.labels_ = labels
        of_repeated = np.zeros((len(vectors), len(self._repeated)), dtype=vectors.dtype)
        for number, rows in enumerate(self._repeated):
            of_repeated[rows, number] = 1.0
            vectors[rows] = 0.0
        return np.hstack([vectors, of_repeated])[self._which]


def repeated_branches(tree: NDArray[np.floating], copies: Rows, smallest: int) -> list[list[int]]:
    """Outliers that are enough for a cluster with their copies: rows of each such branch, by their first row.

    Args:
        tree: (U - 1, 4) single linkage tree of U distinct rows, the nearest merged first: left, right, distance, size.
        copies: (U,) how often every row occurs; 0 for one that has a cluster.
        smallest: how many documents a cluster has at least.
    """
    if copies.max(initial=0) < 2:
        return []
    branches: list[list[int]] = [[row] if count else [] for row, count in enumerate(copies.tolist())]
    clusters = []
    for left, right in tree[:, :2].astype(int).tolist():
        # A row that is a cluster by its copies alone belongs to no larger branch, as rows of clusters do not.
        parts = [part for part in (branches[left], branches[right]) if part and copies[part].max() < smallest]
        branch = [row for part in parts for row in part] if len(parts) == 2 else []
        branches.append(branch if len(branch) < smallest else [])  # so many HDBSCAN has seen, and left out
        if len(parts) == 1:  # what it meets is no outlier: this branch ends here
            clusters.append(parts[0])
    clusters += [[row] for row in np.flatnonzero(copies >= smallest).tolist()]
    clusters = [rows for rows in clusters if copies[rows].sum() >= smallest > len(rows)]
    return sorted((sorted(rows) for rows in clusters), key=lambda rows: rows[0])
