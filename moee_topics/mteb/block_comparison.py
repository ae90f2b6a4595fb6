"""Hidden states beside routing weights: do they see the same, and what does standardizing alone explain.

The analyses are the paper's (section 4.3: agreement of clusterings, similarities across prompts, errors on STS12) with
the controls it lacks: hidden states standardized like routing weights, and the agreement of one block with itself under
another seed of k-means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.evaluate import (
    Agreement,
    ErrorComplementarity,
    clustering_agreement,
    error_complementarity,
    similarity_correlations,
)
from moee_topics.fuse import Fusion, grid_search_alpha

Vectors = Mapping[str, NDArray[np.float32]]
BLOCKS = ("HS", "RW", "HS z", "RW z")
AGREED = (("HS", "RW"), ("HS z", "RW z"), ("HS", "HS z"), ("RW", "RW z"))
ALPHA_SAMPLE = 1000


@dataclass(frozen=True)
class BlockAgreement:
    """The agreement of the clusters of two blocks; ``HS again`` is HS with another seed of k-means."""

    first: str
    second: str
    agreement: Agreement


@dataclass(frozen=True)
class AlphaTrial:
    """An alpha, how it was chosen, and the AMI with the labels that k-means reaches with it."""

    rule: str
    alpha: float
    ami: float


@dataclass(frozen=True)
class ClusterComparison:
    """The blocks on one clustering task.

    Attributes:
        task: the task.
        documents: how many different documents.
        clusters: number of labels, and of clusters of k-means.
        agreements: of pairs of blocks.
        with_labels: of each block AMI, ARI and V-measure with the labels.
        alphas: the alphas of the grid, and the best of them in hindsight.
    """

    task: str
    documents: int
    clusters: int
    agreements: Sequence[BlockAgreement]
    with_labels: Mapping[str, Mapping[str, float]]
    alphas: Sequence[AlphaTrial]


@dataclass(frozen=True)
class PairComparison:
    """The blocks on one STS task, under one or more prompts.

    Attributes:
        task: the task.
        pairs: how many pairs.
        names: prompt and block of each row of ``correlations``.
        correlations: Spearman correlations of the similarities of the pairs.
        means: mean correlation of HS with HS and RW with RW across prompts (the diagonal left out), and RW with HS.
        spearman: of each block, by prompt, Spearman's correlation with the known scores.
        errors: HS and RW, and both standardized, under the first prompt.
    """

    task: str
    pairs: int
    names: Sequence[str]
    correlations: NDArray[np.float64]
    means: Mapping[str, float]
    spearman: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, ErrorComplementarity]


def matrices_of(embeddings: Embeddings, fusion: Fusion) -> dict[str, NDArray[np.float32]]:
    """Hidden states, routing weights and their fusion (N, d), as they are and standardized (z) on these documents."""
    raw, scaled = replace(fusion, standardize="none"), replace(fusion, standardize="both").fit([embeddings])
    blocks, z_blocks = raw.blocks(embeddings), scaled.blocks(embeddings)
    sums = {"sum": raw.combine(blocks), "sum z": scaled.combine(z_blocks)}
    return {"HS": blocks[0], "RW": blocks[1], "HS z": z_blocks[0], "RW z": z_blocks[1], **sums}


def compare_clusters(
    task: str, embeddings: Embeddings, labels: Sequence[int], *, fusion: Fusion, seed: int
) -> ClusterComparison:
    """Clusters each block with k-means, a cluster for each label, and compares clusters with each other and the labels.

    Raises:
        InputError: fewer than two labels, or not one for each document.
    """
    count = len(set(labels))
    if count < 2 or len(labels) != len(embeddings):
        raise InputError(
            f"{task} needs a label for each of {len(embeddings)} documents and two or more different ones."
        )
    vectors = matrices_of(embeddings, fusion)
    clusters = {name: k_means(matrix, count, seed) for name, matrix in vectors.items()}
    # How far two blocks agree can be read only beside how far one agrees with itself under another seed.
    clusters["HS again"], clusters["RW again"] = (k_means(vectors[block], count, seed + 1) for block in ("HS", "RW"))
    pairs = [*AGREED, ("HS", "HS again"), ("RW", "RW again")]
    agreements = [BlockAgreement(a, b, clustering_agreement(clusters[a], clusters[b])) for a, b in pairs]
    with_labels = {
        name: {
            "ami": float(adjusted_mutual_info_score(labels, clusters[name])),
            "ari": float(adjusted_rand_score(labels, clusters[name])),
            "v_measure": float(v_measure_score(labels, clusters[name])),
        }
        for name in vectors
    }
    alphas = try_alphas(embeddings, labels, seed) if len(embeddings) >= 20 else []
    return ClusterComparison(task, len(embeddings), count, agreements, with_labels, alphas)


def k_means(vectors: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    """The cluster (N,) of each vector."""
    with threadpool_limits(limits=1):  # more threads sum in another order, and the same seed gives other clusters
        found = KMeans(clusters, n_init=5, random_state=seed).fit_predict(vectors)
    return np.asarray(found, dtype=np.int64)


def try_alphas(embeddings: Embeddings, labels: Sequence[int], seed: int) -> list[AlphaTrial]:
    """What fixed alphas reach, and the best of the same grid in hindsight."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:ALPHA_SAMPLE])
    sample, sample_labels = embeddings[rows], [labels[row] for row in rows]
    fusion = Fusion(standardize="both").fit([sample])
    oracle = grid_search_alpha(sample, sample_labels, metric="ami", fusion=fusion, seed=seed)
    fixed = [AlphaTrial("fixed", alpha, score) for alpha, score in oracle.scores.items()]
    return [*fixed, AlphaTrial("hindsight", oracle.alpha, oracle.scores[oracle.alpha])]


def compare_pairs(
    task: str, sides: Mapping[str, tuple[Embeddings, Embeddings]], gold: Sequence[float], *, fusion: Fusion
) -> PairComparison:
    """Compares the similarities that blocks under several prompts give the same pairs.

    Args:
        task: name of the task.
        sides: of each prompt, the embeddings of the first and of the second texts.
        gold: the known score of each pair.
        fusion: what puts both together, with its alpha.
    """
    similarities = {prompt: _similarities(first, second, fusion) for prompt, (first, second) in sides.items()}
    named = {f"{block} {prompt}": similarities[prompt][block] for block in ("HS", "RW") for prompt in sides}
    names, correlations = similarity_correlations(named)
    first = next(iter(similarities.values()))
    spearman = {
        block: {prompt: float(spearmanr(gold, blocks[block]).statistic) for prompt, blocks in similarities.items()}
        for block in first
    }
    errors = {f"{a}, {b}": error_complementarity(gold, first[a], first[b]) for a, b in (("HS", "RW"), ("HS z", "RW z"))}
    prompts = len(sides)
    upper = np.triu_indices(prompts, k=1)
    across = {
        "HS-HS": correlations[:prompts, :prompts][upper],
        "RW-RW": correlations[prompts:, prompts:][upper],
        "RW-HS": correlations[prompts:, :prompts].ravel(),
    }
    # With one prompt there is nothing across prompts.
    means = {name: float(values.mean()) if len(values) else math.nan for name, values in across.items()}
    return PairComparison(task, len(gold), names, correlations, means, spearman, errors)


def _similarities(first: Embeddings, second: Embeddings, fusion: Fusion) -> dict[str, NDArray[np.float64]]:
    """The cosines (N,) of pairs in every block; 0 where a vector is 0."""
    similarities = {}
    for name, vectors in matrices_of(Embeddings.concatenate([first, second]), fusion).items():
        one, other = vectors[: len(first)], vectors[len(first) :]
        dots = np.einsum("ij,ij->i", one, other, dtype=np.float64)
        norms = np.linalg.norm(one, axis=1).astype(np.float64) * np.linalg.norm(other, axis=1)
        similarities[name] = np.asarray(np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0))
    return similarities
