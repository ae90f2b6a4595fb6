"""The ways to cluster documents, and what they are brought to before: a new one is a function and its entry here."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.fuse import unit_rows
from moee_topics.topics.clustering import build_hdbscan, build_umap
from moee_topics.topics.duplicate_rows import distinct_rows
from moee_topics.topics.result import OUTLIERS
from moee_topics.topics.settings import HDBSCAN_DEFAULTS, FitSettings
from moee_topics.topics.upstream import ClusterMethod, Reducer

Matrix = NDArray[np.floating]


class OfDistinctRows:
    """A clusterer that sees every distinct row once; copies get the cluster of their row.

    Attributes:
        min_cluster_size: of the clusterer, None where it has no such thing.
        labels_: (N,) cluster of every row, -1 for outliers.
        probabilities_: (N,) how sure that is, where the clusterer says it; 1 in a cluster elsewhere.
    """

    labels_: NDArray[np.int64]
    probabilities_: NDArray[np.float32]

    def __init__(self, clusterer: Any, min_cluster_size: int | None = None) -> None:
        self.clusterer = clusterer
        self.min_cluster_size = min_cluster_size

    def fit(self, X: Matrix, y: Any = None) -> OfDistinctRows:
        """Clusters the rows of X (N, d); ``y`` is not looked at.

        Raises:
            InputError: fewer distinct rows than clusters were asked for.
        """
        first, which = distinct_rows(X)
        clusters = getattr(self.clusterer, "n_clusters", 0)
        if len(first) < clusters:
            raise InputError(
                f"cluster.clusters={clusters} is more than the {len(first):,} different documents that are clustered. "
                "Ask for fewer, or set a larger large.sample where the corpus is fitted on a sample."
            )
        self.clusterer.fit(np.ascontiguousarray(X[first], dtype=np.float32))
        labels = np.asarray(self.clusterer.labels_, dtype=np.int64)
        strength = getattr(self.clusterer, "probabilities_", getattr(self.clusterer, "membership_strengths_", None))
        sure = (labels != OUTLIERS).astype(np.float32) if strength is None else np.asarray(strength, dtype=np.float32)
        self.labels_, self.probabilities_ = labels[which], sure[which]
        return self


class UnitRows:
    """No reduction: vectors at length one, among which near by distance is near by cosine."""

    def fit_transform(self, X: Matrix, y: Any = None) -> NDArray[np.float32]:
        """(N, d) the vectors."""
        return unit_rows(X)

    def transform(self, X: Matrix) -> NDArray[np.float32]:
        """(n, d) the vectors."""
        return unit_rows(X)


@dataclass(frozen=True)
class Method:
    """A way to cluster.

    Attributes:
        build: makes the clusterer of some settings.
        package: that must be installed.
        extra: of this package, with which it is; none for what has to be installed otherwise.
    """

    build: Callable[[FitSettings], Any]
    package: str = ""
    extra: str = ""


def sklearn_hdbscan(settings: FitSettings) -> OfDistinctRows:
    """HDBSCAN of scikit-learn, which computes the tree of all neighbours: exact, and slow above 50,000 documents."""
    from sklearn.cluster import HDBSCAN

    return _hdbscan_like(HDBSCAN, settings, copy=True)


def fast_hdbscan(settings: FitSettings) -> OfDistinctRows:
    """HDBSCAN of the package fast-hdbscan: compiled by numba, on all cores, of few dimensions."""
    return _hdbscan_like(importlib.import_module("fast_hdbscan").HDBSCAN, settings)


def cuml_hdbscan(settings: FitSettings) -> OfDistinctRows:
    """HDBSCAN of cuML, on a GPU."""
    return _hdbscan_like(importlib.import_module("cuml.cluster").HDBSCAN, settings)


def _hdbscan_like(of_class: Any, settings: FitSettings, **more: Any) -> OfDistinctRows:
    size = settings.hdbscan.get("min_cluster_size", HDBSCAN_DEFAULTS["min_cluster_size"])
    # The package hdbscan takes min_cluster_size for min_samples that are not said; others have a default of five.
    samples = settings.hdbscan.get("min_samples") or size
    return OfDistinctRows(
        of_class(**{**settings.hdbscan, "min_cluster_size": size, "min_samples": samples}, **more), size
    )


def evoc(settings: FitSettings) -> OfDistinctRows:
    """EVōC, which makes a graph of the vectors themselves; give it no reduction."""
    size = settings.hdbscan.get("min_cluster_size", HDBSCAN_DEFAULTS["min_cluster_size"])
    samples = settings.hdbscan.get("min_samples") or 5
    of_class = importlib.import_module("evoc").EVoC
    return OfDistinctRows(of_class(base_min_cluster_size=size, min_samples=samples, random_state=settings.seed), size)


def kmeans(settings: FitSettings) -> OfDistinctRows:
    """k-means by batches, of a number of clusters that is known; no document is an outlier."""
    from sklearn.cluster import MiniBatchKMeans

    return OfDistinctRows(
        MiniBatchKMeans(settings.cluster.clusters, batch_size=4096, n_init=3, random_state=settings.seed)
    )


CLUSTERERS: Mapping[ClusterMethod, Method] = {
    "hdbscan": Method(build_hdbscan),
    "sklearn_hdbscan": Method(sklearn_hdbscan),
    "kmeans": Method(kmeans),
    "fast_hdbscan": Method(fast_hdbscan, "fast_hdbscan", "fast"),
    "evoc": Method(evoc, "evoc", "fast"),
    "cuml_hdbscan": Method(cuml_hdbscan, "cuml"),
}
"""Which arguments of the section hdbscan reach each of them says ``HDBSCAN_ARGUMENTS_OF`` (upstream.py)."""


def principal_components(settings: FitSettings, documents: int) -> Any:
    """As many principal components as UMAP would give."""
    from sklearn.decomposition import PCA

    return PCA(min(build_umap(settings, documents).n_components, documents), random_state=settings.seed)


REDUCERS: Mapping[Reducer, Callable[[FitSettings, int], Any]] = {
    "umap": build_umap,
    "pca": principal_components,
    "none": lambda settings, documents: UnitRows(),
}


def build_clusterer(settings: FitSettings) -> Any:
    """The clusterer that the settings name."""
    return CLUSTERERS[settings.cluster.method].build(settings)


def build_reducer(settings: FitSettings, documents: int) -> Any:
    """What brings the vectors of so many documents to what is clustered."""
    return REDUCERS[settings.cluster.reducer](settings, documents)


def check_cluster_package(name: ClusterMethod) -> None:
    """That a way to cluster has the package that it needs.

    Raises:
        MissingExtraError: an extra of this package installs it.
        InputError: it has to be installed by its own way.
    """
    method = CLUSTERERS[name]
    if not method.package or importlib.util.find_spec(method.package) is not None:
        return
    if method.extra:
        raise MissingExtraError(method.package, method.extra)
    raise InputError(
        f"cluster.method={name} needs {method.package}, which is not installed. It comes with RAPIDS and a GPU "
        "(https://docs.rapids.ai/install). Without one: cluster.method=hdbscan."
    )
