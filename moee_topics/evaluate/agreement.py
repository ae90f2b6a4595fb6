"""Where two views agree and where they differ: two clusterings, several runs, two similarities of the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from moee_topics.errors import InputError

Topics = Sequence[int] | NDArray[np.integer[Any]]
Values = Sequence[float] | NDArray[np.floating[Any]]
Fate = Literal["matched", "split", "absorbed", "left out", "scattered"]

_OUTLIERS = -1


@dataclass(frozen=True)
class Agreement:
    """How far two clusterings of the same documents are the same grouping; cluster ids do not matter.

    Attributes:
        documents: how many were compared.
        ami: adjusted mutual information, 0 as by chance.
        nmi: normalized mutual information, not corrected for chance.
        ari: adjusted Rand index, 0 as by chance.
        jaccard: of the pairs of documents that either clustering puts together, the share that both do.
        exact_match: the share of documents in the same cluster once clusters are paired one to one for most overlap
            (Hungarian matching). The paper reports "exact matching" without defining it; this is the usual reading.
    """

    documents: int
    ami: float
    nmi: float
    ari: float
    jaccard: float
    exact_match: float


@dataclass(frozen=True)
class TopicPair:
    """Topic ``first`` of one run paired with ``second`` of another.

    Attributes:
        first: topic of the first run.
        second: topic of the second run.
        shared: documents in both.
        jaccard: shared documents over those in either.
    """

    first: int
    second: int
    shared: int
    jaccard: float


@dataclass(frozen=True)
class TopicFate:
    """What became of one run's topic in the other run.

    Attributes:
        topic: its id.
        size: its documents.
        fate: ``matched`` (paired, Jaccard above one half), ``split`` (two or more topics of the other run each hold
            a fifth of it or more), ``absorbed`` (one topic holds half of it or more, without being its match),
            ``left out`` (half of it or more are outliers there) or ``scattered`` (none of these).
        partners: the other run's topics that hold a fifth of it or more, with their share, the largest first.
        outliers: the share of its documents that are outliers in the other run.
    """

    topic: int
    size: int
    fate: Fate
    partners: Sequence[tuple[int, float]]
    outliers: float


@dataclass(frozen=True)
class TopicMatching:
    """The topics of two runs over the same documents, side by side.

    Attributes:
        first_topics: the rows of ``overlap``, -1 (outliers) included where there are any.
        second_topics: its columns.
        overlap: (rows, columns) number of documents in both.
        pairs: topics paired one to one for most shared documents, outliers aside, the largest first.
        first_fates: what became of each topic of the first run in the second.
        second_fates: and of the second in the first.
    """

    first_topics: Sequence[int]
    second_topics: Sequence[int]
    overlap: NDArray[np.int64]
    pairs: Sequence[TopicPair]
    first_fates: Sequence[TopicFate]
    second_fates: Sequence[TopicFate]


@dataclass(frozen=True)
class TopicRun:
    """One of several fits over the same corpus.

    Attributes:
        topics: the topic of each document it saw.
        words: the words of each topic, where words are compared.
        rows: which documents of the corpus it saw, in the order of ``topics``; None for all. A bootstrap sees a part.
    """

    topics: Topics
    words: Mapping[int, Sequence[str]] = field(default_factory=dict)
    rows: Sequence[int] | NDArray[np.integer[Any]] | None = None


@dataclass(frozen=True)
class Stability:
    """How much fits of the same corpus agree, over every two of them on the documents both saw.

    Attributes:
        runs: how many fits.
        ami: mean adjusted mutual information; outliers are one cluster.
        ami_lowest: that of the two fits that agree least.
        pairwise_ami: (runs, runs), ones on the diagonal.
        words: mean Jaccard overlap of the words of paired topics, None where no words were given.
        topics: number of topics of each fit, outliers aside.
    """

    runs: int
    ami: float
    ami_lowest: float
    pairwise_ami: NDArray[np.float64]
    words: float | None
    topics: Sequence[int]


@dataclass(frozen=True)
class ErrorComplementarity:
    """On pairs with a known similarity: how often two similarities are wrong together.

    Attributes:
        pairs: how many pairs.
        threshold: the rank error, as a share of all ranks, from which a similarity counts as wrong.
        both_right: share of pairs.
        only_first_right: share of pairs.
        only_second_right: share of pairs.
        both_wrong: share of pairs.
        one_right_of_errors: of the pairs where at least one is wrong, the share where exactly one is right.
        one_right_if_independent: what ``one_right_of_errors`` would be if the errors had nothing to do with each
            other. It is above one half whenever errors are rare, so the share alone says little.
    """

    pairs: int
    threshold: float
    both_right: float
    only_first_right: float
    only_second_right: float
    both_wrong: float
    one_right_of_errors: float | None
    one_right_if_independent: float | None


def clustering_agreement(
    first: Topics, second: Topics, *, outliers: Literal["cluster", "exclude"] = "cluster"
) -> Agreement:
    """Compares two clusterings of the same documents.

    Args:
        first: a cluster per document, -1 for outliers.
        second: another.
        outliers: ``cluster`` keeps the outliers as one cluster of their own, ``exclude`` leaves out documents that are
            outliers in either.

    Raises:
        InputError: the clusterings differ in length, or no documents are left to compare.
    """
    a, b = _same_length(first, second)
    if outliers == "exclude":
        kept = (a != _OUTLIERS) & (b != _OUTLIERS)
        a, b = a[kept], b[kept]
    if len(a) == 0:
        raise InputError("There are no documents to compare: none given, or each is an outlier in one clustering.")
    counts = contingency_matrix(a, b).astype(np.int64)
    return Agreement(
        documents=len(a),
        ami=float(adjusted_mutual_info_score(a, b)),
        nmi=float(normalized_mutual_info_score(a, b)),
        ari=float(adjusted_rand_score(a, b)),
        jaccard=_pair_jaccard(counts),
        exact_match=float(counts[linear_sum_assignment(-counts)].sum() / len(a)),
    )


def match_topics(first: Topics, second: Topics) -> TopicMatching:
    """Pairs the topics of two runs over the same documents, and says what each finds and the other does not.

    Raises:
        InputError: the runs differ in length, or have no documents.
    """
    a, b = _same_length(first, second)
    if len(a) == 0:
        raise InputError("Matching topics needs at least one document, got none.")
    rows, columns = np.unique(a), np.unique(b)
    overlap = np.asarray(contingency_matrix(a, b), dtype=np.int64)
    pairs = _pair_topics(rows, columns, overlap)
    matched = {(pair.first, pair.second) for pair in pairs if pair.jaccard > 0.5}
    backwards = {(second_topic, first_topic) for first_topic, second_topic in matched}
    return TopicMatching(
        first_topics=rows.tolist(),
        second_topics=columns.tolist(),
        overlap=overlap,
        pairs=pairs,
        first_fates=_fates(rows, columns, overlap, matched),
        second_fates=_fates(columns, rows, overlap.T, backwards),
    )


def stability(runs: Sequence[TopicRun], *, top: int = 10) -> Stability:
    """Compares every two of several fits (seeds, bootstraps) of one corpus.

    Args:
        runs: two or more.
        top: how many first words of each topic are compared.

    Raises:
        InputError: fewer than two runs, or two runs that share no document.
    """
    if len(runs) < 2:
        raise InputError(f"Stability compares runs, so it needs at least 2, got {len(runs)}.")
    table = np.eye(len(runs))
    words = []
    for i, j in combinations(range(len(runs)), 2):
        first, second = _common(runs[i], runs[j])
        table[i, j] = table[j, i] = adjusted_mutual_info_score(first, second)
        words += _word_overlaps(runs[i].words, runs[j].words, match_topics(first, second).pairs, top)
    values = table[np.triu_indices(len(runs), k=1)]
    return Stability(
        runs=len(runs),
        ami=float(values.mean()),
        ami_lowest=float(values.min()),
        pairwise_ami=table,
        words=float(np.mean(words)) if words else None,
        topics=[len(set(np.asarray(run.topics).tolist()) - {_OUTLIERS}) for run in runs],
    )


def topic_stability(run: TopicRun, refits: Sequence[TopicRun]) -> dict[int, float]:
    """How well other fits of the corpus find each topic of a run again.

    For every refit, the best Jaccard that any of its topics has with the topic on the documents both fits saw, and of
    these the mean; outliers are no topic. This is the cluster-wise stability of Hennig (2007), "Cluster-wise assessment
    of cluster stability", Computational Statistics & Data Analysis 52, 258-271. The author's R package fpc
    (``clusterboot``) takes a cluster for dissolved at one half or below, and a mean from 0.75 on for a stable one.

    Returns:
        Topic to mean, 0 to 1. A topic of which no refit saw any document is left out.

    Raises:
        InputError: a refit that shares no document with the run.
    """
    found: dict[int, list[float]] = {}
    for refit in refits:
        for topic, jaccard in _best_jaccards(*_common(run, refit)).items():
            found.setdefault(topic, []).append(jaccard)
    return {topic: float(np.mean(found[topic])) for topic in sorted(found)}


def similarity_correlations(similarities: Mapping[str, Values]) -> tuple[list[str], NDArray[np.float64]]:
    """Spearman correlation of the similarities that several embeddings give the same pairs.

    Args:
        similarities: name to (P,) similarities of the same P pairs.

    Returns:
        The names and the (names, names) correlations; NaN for similarities that are all equal.

    Raises:
        InputError: the similarities are not of the same pairs, or of fewer than two.
    """
    lengths = {len(values) for values in similarities.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        raise InputError(
            f"Correlations need similarities of the same two or more pairs, got lengths {sorted(lengths)}."
        )
    ranks = np.stack([rankdata(values) for values in similarities.values()])
    deviations = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((deviations**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return list(similarities), np.asarray((deviations @ deviations.T) / np.outer(norms, norms))


def error_complementarity(
    gold: Values, first: Values, second: Values, *, threshold: float = 0.2
) -> ErrorComplementarity:
    """How often exactly one of two similarities places a pair right.

    A similarity is right on a pair if its rank among all pairs is within ``threshold`` of the rank of the known score,
    both as a share of the number of pairs (ties share their mean rank). The paper's own threshold is not published.

    Raises:
        InputError: not the same pairs, none at all, or a threshold outside 0 to 1.
    """
    if not len(gold) == len(first) == len(second) or len(gold) == 0:
        raise InputError(f"Give the same pairs three times, got {len(gold)}, {len(first)} and {len(second)}.")
    if not 0 < threshold < 1:
        raise InputError(f"The threshold is a share of all ranks between 0 and 1, got {threshold}.")
    target = rankdata(gold) / len(gold)
    a, b = (np.abs(rankdata(values) / len(gold) - target) <= threshold for values in (first, second))
    one, errors = float((a ^ b).mean()), float((~(a & b)).mean())
    chance = a.mean() * (1 - b.mean()) + b.mean() * (1 - a.mean())
    return ErrorComplementarity(
        pairs=len(gold),
        threshold=threshold,
        both_right=float((a & b).mean()),
        only_first_right=float((a & ~b).mean()),
        only_second_right=float((b & ~a).mean()),
        both_wrong=float((~a & ~b).mean()),
        one_right_of_errors=one / errors if errors else None,
        one_right_if_independent=float(chance / (1 - a.mean() * b.mean())) if errors else None,
    )


def _same_length(first: Topics, second: Topics) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"Two clusterings of the same documents are needed, got {a.shape} and {b.shape} topics.")
    return a, b


def _pair_jaccard(counts: NDArray[np.int64]) -> float:
    """Pairs together in both over pairs together in either; 1 where neither puts any two together."""
    both, rows, columns = (int((n * (n - 1) // 2).sum()) for n in (counts, counts.sum(axis=1), counts.sum(axis=0)))
    either = rows + columns - both
    return both / either if either else 1.0


def _pair_topics(
    rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], overlap: NDArray[np.int64]
) -> list[TopicPair]:
    real = np.ix_(rows != _OUTLIERS, columns != _OUTLIERS)
    shared = overlap[real]
    either = overlap.sum(axis=1)[rows != _OUTLIERS][:, None] + overlap.sum(axis=0)[columns != _OUTLIERS] - shared
    first, second = rows[rows != _OUTLIERS], columns[columns != _OUTLIERS]
    pairs = [
        TopicPair(int(first[i]), int(second[j]), int(shared[i, j]), float(shared[i, j] / either[i, j]))
        for i, j in zip(*linear_sum_assignment(-shared), strict=True)
        if shared[i, j] > 0
    ]
    return sorted(pairs, key=lambda pair: (-pair.shared, pair.first))


def _fates(
    rows: NDArray[np.integer[Any]],
    columns: NDArray[np.integer[Any]],
    overlap: NDArray[np.int64],
    matched: set[tuple[int, int]],
) -> list[TopicFate]:
    fates = []
    for topic, counts in zip(rows.tolist(), overlap, strict=True):
        if topic == _OUTLIERS:
            continue
        shares = {int(other): float(share) for other, share in zip(columns, counts / counts.sum(), strict=True)}
        outliers = shares.pop(_OUTLIERS, 0.0)
        partners = sorted(((o, s) for o, s in shares.items() if s >= 0.2), key=lambda pair: (-pair[1], pair[0]))
        found = any((topic, other) in matched for other in shares)
        fates.append(TopicFate(topic, int(counts.sum()), _fate(found, partners, outliers), partners, outliers))
    return fates


def _fate(matched: bool, partners: Sequence[tuple[int, float]], outliers: float) -> Fate:
    if matched:
        return "matched"
    if outliers >= 0.5:
        return "left out"
    if len(partners) > 1:
        return "split"
    if partners and partners[0][1] >= 0.5:
        return "absorbed"
    return "scattered"


def _common(first: TopicRun, second: TopicRun) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = np.asarray(first.topics), np.asarray(second.topics)
    if first.rows is None and second.rows is None:
        return _same_length(a, b)
    rows_a = np.arange(len(a)) if first.rows is None else np.asarray(first.rows)
    rows_b = np.arange(len(b)) if second.rows is None else np.asarray(second.rows)
    common, at_a, at_b = np.intersect1d(rows_a, rows_b, return_indices=True)
    if len(common) == 0:
        raise InputError("Two of the runs share no document, so they cannot be compared. Draw larger samples.")
    return a[at_a], b[at_b]


def _best_jaccards(first: NDArray[Any], second: NDArray[Any]) -> dict[int, float]:
    rows, columns = np.unique(first), np.unique(second)
    overlap = np.asarray(contingency_matrix(first, second), dtype=np.int64)
    either = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0) - overlap
    best = (overlap / either)[:, columns != _OUTLIERS].max(axis=1, initial=0.0)
    return {int(topic): float(value) for topic, value in zip(rows, best, strict=True) if topic != _OUTLIERS}


def _word_overlaps(
    first: Mapping[int, Sequence[str]], second: Mapping[int, Sequence[str]], pairs: Sequence[TopicPair], top: int
) -> list[float]:
    overlaps = []
    for pair in pairs:
        a, b = set(first.get(pair.first, ())[:top]), set(second.get(pair.second, ())[:top])
        if a and b:
            overlaps.append(len(a & b) / len(a | b))
    return overlaps
