"""Choosing alpha, the weight of the routing weights in ``weighted_sum``, without labels or with them.

No criterion without labels can know what a reader wants from the topics. ``benchmarks/alpha.py`` compares those here
with the best alpha in hindsight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from moee_topics.defaults import SEED
from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, Matrix, unit_rows
from moee_topics.fuse.fusion import RAW, Fusion
from moee_topics.fuse.methods import weighted_sum

Criterion = Literal["neighbours", "spearman", "stability"]
Metric = Literal["v_measure", "ami", "ari"]
Score = Callable[[float], float]

ALPHAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""From hidden states alone to mostly routing weights. The paper's authors search 0.1 to 1.0; but routing weights lie so
close together, unless standardized, that only a far larger alpha lets them count."""

_NEIGHBOURS = 15  # as many as UMAP looks at unless told otherwise
_PAIRS = 20_000
_SPLITS = 5
_METRICS: Mapping[str, Callable[..., float]] = {
    "v_measure": v_measure_score,
    "ami": adjusted_mutual_info_score,
    "ari": adjusted_rand_score,
}


@dataclass(frozen=True)
class AlphaChoice:
    """The alpha with the highest score, the smallest of those that tie.

    Attributes:
        alpha: the choice.
        criterion: what was maximized.
        scores: the score of every alpha tried.
    """

    alpha: float
    criterion: str
    scores: Mapping[float, float]


def choose_alpha(
    embeddings: Embeddings,
    alphas: Sequence[float] = ALPHAS,
    criterion: Criterion = "neighbours",
    *,
    fusion: Fusion = RAW,
    seed: int = SEED,
    sample: int = 2000,
    n_clusters: int | None = None,
) -> AlphaChoice:
    """Chooses alpha for clustering from the embeddings alone.

    Args:
        embeddings: the documents; ``sample`` of them, drawn by ``seed``, are looked at.
        alphas: what to try.
        criterion: ``neighbours``: the geometric mean of the shares of a document's 15 nearest neighbours that it has
            in common with the hidden states and with the routing weights. ``spearman``: the mean rank correlation of
            the fused similarity with each block's over random pairs (the paper's camera-ready, section 3.3, maximizes
            this by gradient). ``stability``: how far k-means fitted on two halves puts all documents into the same
            clusters (AMI, mean of 5 splits).
        fusion: its statistics are applied first; its own method and alpha do not matter.
        seed: of the sample, the pairs and k-means.
        sample: how many documents at most.
        n_clusters: of k-means for ``stability``; the square root of half the documents unless told.

    Raises:
        InputError: an unknown criterion, no alphas or a negative one, fewer than 20 documents, too many clusters for
            them, or no routers.
    """
    if criterion not in get_args(Criterion):
        raise InputError(f"Unknown criterion {criterion!r}; it is one of {', '.join(get_args(Criterion))}.")
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(embeddings), min(sample, len(embeddings)), replace=False))
    blocks = fusion.blocks(embeddings[rows])
    _check(alphas, blocks)
    if criterion == "stability":
        return _best(criterion, alphas, _stability(blocks, n_clusters, seed))
    if criterion == "neighbours":
        return _best(criterion, alphas, _shared_neighbours(blocks))
    return _best(criterion, alphas, _mean_correlation(blocks, generator))


def grid_search_alpha(
    embeddings: Embeddings,
    labels: Sequence[Any],
    alphas: Sequence[float] = ALPHAS,
    metric: Metric = "v_measure",
    *,
    fusion: Fusion = RAW,
    seed: int = SEED,
) -> AlphaChoice:
    """Chooses alpha by how well k-means, one cluster per label, finds the labels of a development set.

    Raises:
        InputError: an unknown metric, no alphas or a negative one, fewer than 20 documents, or labels of other
            documents.
    """
    if metric not in _METRICS:
        raise InputError(f"Unknown metric {metric!r}; it is one of {', '.join(_METRICS)}.")
    if len(labels) != len(embeddings):
        raise InputError(f"Give one label per document, got {len(labels)} for {len(embeddings)} documents.")
    blocks = fusion.blocks(embeddings)
    _check(alphas, blocks)
    names = [str(label) for label in labels]
    clusters = len(set(names))

    def score(alpha: float) -> float:
        with threadpool_limits(limits=1):
            clustering = _k_means(clusters, seed, starts=3).fit_predict(weighted_sum(blocks, alpha))
        return float(_METRICS[metric](names, clustering))

    return _best(metric, alphas, score)


def grid_search_alpha_pairs(
    first: Embeddings,
    second: Embeddings,
    gold: Sequence[float],
    alphas: Sequence[float] = ALPHAS,
    *,
    fusion: Fusion = RAW,
) -> AlphaChoice:
    """Chooses alpha by the Spearman correlation of fused similarities with the known scores of pairs.

    Raises:
        InputError: not one second text and one score per first text, or as for :func:`grid_search_alpha`.
    """
    if not len(first) == len(second) == len(gold):
        raise InputError(f"Give the same pairs three times, got {len(first)}, {len(second)} and {len(gold)}.")
    blocks = fusion.blocks(first), fusion.blocks(second)
    _check(alphas, blocks[0])
    hidden, routing = (
        np.einsum("ij,ij->i", unit_rows(one), unit_rows(other), dtype=np.float64)
        for one, other in zip(*blocks, strict=True)
    )
    target = np.asarray(gold, dtype=np.float64)
    return _best("spearman with known scores", alphas, lambda alpha: _spearman(hidden + alpha * routing, target))


def _best(criterion: str, alphas: Sequence[float], score: Score) -> AlphaChoice:
    # Ascending, since max keeps the first of equal scores: ties go to the smallest alpha.
    scores = {float(alpha): score(float(alpha)) for alpha in sorted(set(alphas))}
    return AlphaChoice(max(scores, key=lambda alpha: scores[alpha]), criterion, scores)


def _check(alphas: Sequence[float], blocks: Blocks) -> None:
    if len(alphas) == 0:
        raise InputError("Give at least one alpha to try.")
    if len(blocks[0]) < 20:
        raise InputError(f"Choosing alpha needs at least 20 documents, got {len(blocks[0])}. Set alpha by hand.")
    for alpha in alphas:
        Fusion("weighted_sum", alpha).combine((blocks[0][:1], blocks[1][:1]))  # refuses what no fusion takes


def _shared_neighbours(blocks: Blocks) -> Score:
    """The geometric mean of the shares of 15 nearest neighbours in common with each block alone."""
    hidden, routing = (unit @ unit.T for unit in map(unit_rows, blocks))
    alone = _neighbours(hidden), _neighbours(routing)

    def score(alpha: float) -> float:
        own = _neighbours(hidden + alpha * routing)
        shares = [float((own & other).sum() / own.sum()) for other in alone]
        return float(np.sqrt(shares[0] * shares[1]))

    return score


def _neighbours(similarity: Matrix) -> NDArray[np.bool_]:
    """(n, n) True where the column is among the row's nearest, itself aside."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    nearest = np.argpartition(-others, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    marks = np.zeros(others.shape, dtype=bool)
    np.put_along_axis(marks, nearest, True, axis=1)
    return marks


def _mean_correlation(blocks: Blocks, generator: np.random.Generator) -> Score:
    """The mean rank correlation of the fused similarity with each block's, over random pairs of different documents."""
    documents = len(blocks[0])
    first = generator.integers(0, documents, _PAIRS)
    # Moved on by at least one, so that no document is paired with itself.
    second = (first + generator.integers(1, documents, _PAIRS)) % documents
    hidden, routing = ((unit @ unit.T)[first, second] for unit in map(unit_rows, blocks))

    def score(alpha: float) -> float:
        fused = hidden + alpha * routing
        return (_spearman(fused, hidden) + _spearman(fused, routing)) / 2

    return score


def _stability(blocks: Blocks, n_clusters: int | None, seed: int) -> Score:
    """The mean AMI of two clusterings of all documents, each by k-means fitted on another half of them."""
    documents = len(blocks[0])
    clusters = round(float(np.sqrt(documents / 2))) if n_clusters is None else n_clusters
    if not 2 <= clusters <= documents // 2:
        raise InputError(f"Halves of {documents} documents make 2 to {documents // 2} clusters, not {clusters}.")

    def agreement(vectors: Matrix, order: NDArray[np.int64]) -> float:
        halves = order[: documents // 2], order[documents // 2 :]
        with threadpool_limits(limits=1):
            both = [_k_means(clusters, seed, starts=1).fit(vectors[half]).predict(vectors) for half in halves]
        return float(adjusted_mutual_info_score(*both))

    def score(alpha: float) -> float:
        # The generator starts anew, so that every alpha is judged on the same halves.
        vectors, generator = weighted_sum(blocks, alpha), np.random.default_rng(seed)
        return float(np.mean([agreement(vectors, generator.permutation(documents)) for _ in range(_SPLITS)]))

    return score


def _spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _k_means(clusters: int, seed: int, starts: int) -> KMeans:
    # To be run on one thread: with more it sums in another order, and the same seed can give other clusters.
    return KMeans(clusters, n_init=starts, random_state=seed)
