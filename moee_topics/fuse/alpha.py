"""Choosing alpha, the weight of the routing weights in ``weighted_sum``, by labels or known scores of pairs.

Without them a small fixed alpha is better than any criterion that was tried (decision 05, ``benchmarks/alpha.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from moee_topics.defaults import SEED
from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, unit_rows
from moee_topics.fuse.fusion import RAW, Fusion
from moee_topics.fuse.methods import weighted_sum

Metric = Literal["v_measure", "ami", "ari"]
Score = Callable[[float], float]

ALPHAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""From hidden states alone to mostly routing weights. The paper's authors search 0.1 to 1.0; but routing weights lie so
close together, unless standardized, that only a far larger alpha lets them count."""

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
        with threadpool_limits(limits=1):  # with more it sums in another order, and a seed can give other clusters
            clustering = KMeans(clusters, n_init=3, random_state=seed).fit_predict(weighted_sum(blocks, alpha))
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

    def agreement(alpha: float) -> float:
        return float(spearmanr(hidden + alpha * routing, target).statistic)

    return _best("spearman with known scores", alphas, agreement)


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
