"""How well clusters of some vectors fit known labels, and what can be said of vectors without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    calinski_harabasz_score,
    silhouette_score,
)
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from moee_topics.errors import InputError

Vectors = NDArray[np.float32]
MEASURES = {
    "stability": "agreement (AMI) of k-means fitted on two halves of the documents",
    "silhouette": "how much nearer a document is to its own cluster than to the next (cosine)",
    "separation": "variance between clusters over that inside them (Calinski and Harabasz, 1974), as its logarithm",
    "isotropy": "1 less the mean cosine of two documents",
}
"""What can be measured without labels; of each, more is taken for better."""
SPLITS = 3
SMALLEST_INDEX = 1e-12
SILHOUETTE_SAMPLE = 1000


@dataclass(frozen=True)
class ViewScores:
    """What clusters of one view are worth.

    Attributes:
        ami: mean over seeds of the adjusted mutual information of k-means clusters with the labels; None without any.
        ari: the adjusted Rand index alike.
        deviation: of the AMI over the seeds.
        measures: of ``MEASURES``, by name.
    """

    ami: float | None
    ari: float | None
    deviation: float | None
    measures: Mapping[str, float]


def score_view(
    vectors: Vectors, labels: Sequence[str] | None, *, clusters: int | None = None, seeds: Sequence[int]
) -> ViewScores:
    """Clusters vectors by k-means at length one, and measures the clusters.

    Args:
        vectors: (N, d).
        labels: (N,) known classes, as many clusters as there are of them; None for none.
        clusters: how many without labels; by default the square root of half the documents.
        seeds: of k-means, one clustering each.

    Raises:
        InputError: fewer documents than twice the clusters, or one class alone.
    """
    count = len(set(labels)) if labels is not None else clusters or round(float(np.sqrt(len(vectors) / 2)))
    if not 2 <= count <= len(vectors) // 2:
        raise InputError(
            f"{len(vectors)} documents cannot be compared in {count} clusters: there must be two classes or more, and "
            "twice as many documents as clusters."
        )
    # In float64: activations of some decoders reach 6,000, and float32 would round their squares.
    rows = normalize(vectors.astype(np.float64)).astype(np.float32)
    with threadpool_limits(limits=1):  # more threads sum in another order, and the same seed gives other clusters
        clusterings = [KMeans(count, n_init=1, random_state=seed).fit_predict(rows) for seed in seeds]
        measures = {
            "stability": float(np.mean([_stability(rows, count, seed) for seed in range(SPLITS)])),
            "silhouette": _silhouette(rows, clusterings[0]),
            "separation": _separation(rows, clusterings[0]),
            # The mean of all rows has the mean of all cosines as its squared length.
            "isotropy": 1 - float((rows.mean(axis=0, dtype=np.float64) ** 2).sum()),
        }
    if labels is None:
        return ViewScores(None, None, None, measures)
    ami = [float(adjusted_mutual_info_score(labels, clustering)) for clustering in clusterings]
    ari = [float(adjusted_rand_score(labels, clustering)) for clustering in clusterings]
    return ViewScores(float(np.mean(ami)), float(np.mean(ari)), float(np.std(ami)), measures)


def mean_of_draws(scores: Sequence[ViewScores]) -> ViewScores:
    """The scores of one view on several draws of documents: their means, and the deviation over seeds and draws."""
    measures = {name: float(np.mean([score.measures[name] for score in scores])) for name in MEASURES}
    ami = [score.ami for score in scores if score.ami is not None]
    if len(ami) < len(scores):
        return ViewScores(None, None, None, measures)
    inside = [score.deviation or 0.0 for score in scores]
    # Of equally many seeds each: the variance of all is the mean of those inside the draws and that of their means.
    deviation = float(np.sqrt(np.mean(np.square(inside)) + np.var(ami)))
    return ViewScores(float(np.mean(ami)), float(np.mean([score.ari or 0.0 for score in scores])), deviation, measures)


def rank_correlations(scores: Sequence[ViewScores]) -> dict[str, float]:
    """How far each measure without labels ranks views as the AMI does (Spearman); empty without labels.

    A measure that is the same for all views ranks nothing, and has 0.
    """
    ami = [score.ami for score in scores]
    if len(scores) < 3 or None in ami:
        return {}
    correlations = {}
    for name in MEASURES:
        values = [score.measures[name] for score in scores]
        ranks_something = len(set(values)) > 1 and len(set(ami)) > 1
        correlations[name] = float(spearmanr(ami, values).statistic) if ranks_something else 0.0
    return correlations


def _stability(rows: Vectors, clusters: int, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(rows))
    halves = order[: len(rows) // 2], order[len(rows) // 2 :]
    one, other = (KMeans(clusters, n_init=1, random_state=seed).fit(rows[half]).predict(rows) for half in halves)
    return float(adjusted_mutual_info_score(one, other))


def _separation(rows: Vectors, clustering: NDArray[np.integer]) -> float:
    """The logarithm of the Calinski-Harabasz index."""
    # One cluster: all rows are the same, as the last tokens of a prompt are before the first layer.
    index = calinski_harabasz_score(rows, clustering) if len(set(clustering.tolist())) > 1 else 0.0
    return float(np.log(max(index, SMALLEST_INDEX)))


def _silhouette(rows: Vectors, clustering: NDArray[np.integer]) -> float:
    step = -(-len(rows) // SILHOUETTE_SAMPLE)
    some, of_some = rows[::step], clustering[::step]
    if not 2 <= len(set(of_some.tolist())) < len(some):
        return 0.0
    return float(silhouette_score(some, of_some, metric="cosine"))
