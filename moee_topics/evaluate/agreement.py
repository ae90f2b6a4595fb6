"""Where two clusterings of the same documents agree, and what became of each topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from moee_topics.defaults import OUTLIERS
from moee_topics.errors import InputError

Topics = Sequence[int] | NDArray[np.integer[Any]]
Fate = Literal["matched", "split", "absorbed", "left out", "scattered"]


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
    a, b = same_length(first, second)
    if outliers == "exclude":
        in_both = (a != OUTLIERS) & (b != OUTLIERS)
        a, b = a[in_both], b[in_both]
    if len(a) == 0:
        raise InputError("There are no documents to compare: none given, or each is an outlier in one clustering.")
    counts = contingency_matrix(a, b).astype(np.int64)
    # Pairs of documents together in both, in the first and in the second.
    both, in_a, in_b = (int((n * (n - 1) // 2).sum()) for n in (counts, counts.sum(axis=1), counts.sum(axis=0)))
    either = in_a + in_b - both
    return Agreement(
        documents=len(a),
        ami=float(adjusted_mutual_info_score(a, b)),
        nmi=float(normalized_mutual_info_score(a, b)),
        ari=float(adjusted_rand_score(a, b)),
        jaccard=both / either if either else 1.0,
        exact_match=float(counts[linear_sum_assignment(-counts)].sum() / len(a)),
    )


def match_topics(first: Topics, second: Topics) -> TopicMatching:
    """Pairs the topics of two runs over the same documents, and says what each finds and the other does not.

    Raises:
        InputError: the runs differ in length, or have no documents.
    """
    a, b = same_length(first, second)
    if len(a) == 0:
        raise InputError("Matching topics needs at least one document, got none.")
    rows, columns = np.unique(a), np.unique(b)
    overlap = np.asarray(contingency_matrix(a, b), dtype=np.int64)
    pairs = _pairs(rows, columns, overlap)
    # Above one half no other topic can share as much, so the match does not hang on how the rest was paired.
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


def same_length(first: Topics, second: Topics) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Two clusterings as arrays, refused where they are not of the same documents."""
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"Two clusterings of the same documents are needed, got {a.shape} and {b.shape} topics.")
    return a, b


def _pairs(
    rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], overlap: NDArray[np.int64]
) -> list[TopicPair]:
    """Topics paired one to one for most shared documents (Hungarian matching), outliers aside, the largest first."""
    real_rows, real_columns = rows != OUTLIERS, columns != OUTLIERS
    shared = overlap[np.ix_(real_rows, real_columns)]
    # Over the union of both topics with their outliers: a document that one run leaves out counts against the pair.
    either = overlap.sum(axis=1)[real_rows][:, None] + overlap.sum(axis=0)[real_columns] - shared
    first, second = rows[real_rows], columns[real_columns]
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
    """What became of each topic of the rows among those of the columns."""
    fates = []
    for topic, counts in zip(rows.tolist(), overlap, strict=True):
        if topic == OUTLIERS:
            continue
        shares = {int(other): float(share) for other, share in zip(columns, counts / counts.sum(), strict=True)}
        outliers = shares.pop(OUTLIERS, 0.0)
        partners = sorted(((o, s) for o, s in shares.items() if s >= 0.2), key=lambda pair: (-pair[1], pair[0]))
        fate: Fate = "scattered"
        if any((topic, other) in matched for other in shares):
            fate = "matched"
        elif outliers >= 0.5:
            fate = "left out"
        elif len(partners) > 1:
            fate = "split"
        elif partners and partners[0][1] >= 0.5:
            fate = "absorbed"
        fates.append(TopicFate(topic, int(counts.sum()), fate, partners, outliers))
    return fates
