"""UMAP and HDBSCAN that see every distinct row once, so that copies of a document change neither.

With many equal rows UMAP's spectral start is a matter of chance (its threads #1277 and #1290): 1,000 copies among 300
documents gave other topics in every process, with the same seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hdbscan import HDBSCAN, all_points_membership_vectors
from numpy.typing import NDArray

from moee_topics.topics.duplicate_rows import Rows, distinct_rows
from moee_topics.topics.lean_umap import keep_compiled, lean_umap

with lean_umap():
    from umap import UMAP

ALL_DISTANCES_BELOW = 4096
"""Rows of which umap-learn 0.5.12 computes all distances; among more it searches for neighbours."""


class DistinctUMAP(UMAP):  # type: ignore[misc]
    """UMAP of the distinct rows; copies get the place of their row."""

    n_neighbors: int
    n_components: int
    metric: Any

    def fit_transform(self, X: NDArray[np.floating], y: Any = None, **options: Any) -> NDArray[np.floating]:
        """(N, components) places."""
        keep_compiled("umap")
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

    def _validate_parameters(self) -> None:
        """What upstream checks before each fit, with the metric of all distances by its name."""
        super()._validate_parameters()
        # scikit-learn is given upstream's function, and calls it for two million pairs of 2,000 documents; by its name
        # it makes one product of them.
        if self.metric == "cosine" and len(self._raw_data) < ALL_DISTANCES_BELOW:
            self._input_distance_func = self.metric


class DistinctHDBSCAN(HDBSCAN):  # type: ignore[misc]
    """HDBSCAN of the distinct rows, whose ``min_cluster_size`` counts them; copies get the cluster of their row.

    A row outside of all clusters that itself occurs ``min_cluster_size`` times is a cluster of its own.
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
        self._alone = np.flatnonzero((labels == -1) & (np.bincount(self._which) >= max(2, self.min_cluster_size)))
        labels[self._alone] = labels.max(initial=-1) + 1 + np.arange(len(self._alone))
        strength[self._alone] = 1.0
        self.labels_, self.probabilities_ = labels[self._which], strength[self._which]
        return self

    def membership_vectors(self) -> NDArray[np.floating]:
        """(N, clusters) probabilities of every row to be in each cluster."""
        labels, self.labels_ = self.labels_, self._labels_of_distinct
        try:  # upstream counts the clusters in the labels, and knows none of those of a single row
            vectors = np.asarray(all_points_membership_vectors(self)).reshape(self._which.max() + 1, -1)
        finally:
            self.labels_ = labels
        alone = np.zeros((len(vectors), len(self._alone)), dtype=vectors.dtype)
        alone[self._alone, np.arange(len(self._alone))] = 1.0
        vectors[self._alone] = 0.0
        return np.hstack([vectors, alone])[self._which]
