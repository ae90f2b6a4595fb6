"""The reduction and the clustering of a fit, and the map of its documents: UMAP and HDBSCAN, seeded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.topics.settings import HDBSCAN_DEFAULTS, UMAP_DEFAULTS, FitSettings


def build_umap(settings: FitSettings, documents: int, **options: Any) -> Any:
    """A seeded UMAP, with fewer neighbours and components where the corpus is too small for the settings."""
    from moee_topics.topics.umap_hdbscan import DistinctUMAP

    # One thread: with a seed UMAP uses one anyway, and warns if it is not asked to.
    arguments = {**UMAP_DEFAULTS, "random_state": settings.seed, "n_jobs": 1, **settings.umap, **options}
    arguments["n_neighbors"] = min(arguments["n_neighbors"], documents - 1)  # upstream warns, and takes as many
    arguments["n_components"] = min(arguments["n_components"], max(2, documents - 2))
    if documents <= arguments["n_components"] + 2:
        arguments["init"] = "random"  # the spectral start needs more eigenvectors than such a graph has
    return DistinctUMAP(**arguments)


def build_hdbscan(settings: FitSettings) -> Any:
    """HDBSCAN with the arguments of the settings over the defaults."""
    from moee_topics.topics.umap_hdbscan import DistinctHDBSCAN

    return DistinctHDBSCAN(**{**HDBSCAN_DEFAULTS, **settings.hdbscan})


def document_map(X: NDArray[np.floating], settings: FitSettings, fitted: Any | None = None) -> NDArray[np.float32]:
    """(N, 2) positions of the documents on a map, by a seeded UMAP of its own with room between the points.

    Args:
        X: (N, d) vectors.
        settings: the neighbours, metric and seed come from these.
        fitted: a UMAP of the same vectors, whose nearest neighbours are used again where it kept them.
    """
    options: dict[str, Any] = {"n_components": 2, "min_dist": 0.1}
    # UMAP keeps its neighbours from 4,096 different rows on. A guided fit moves the vectors towards the seeds before
    # UMAP sees them, so its neighbours are not those of X.
    if fitted is not None and settings.seed_topic_list is None and not getattr(fitted, "_small_data", True):
        options["precomputed_knn"] = (fitted._knn_indices, fitted._knn_dists, fitted._knn_search_index)
    return np.asarray(build_umap(settings, len(X), **options).fit_transform(X), dtype=np.float32)
