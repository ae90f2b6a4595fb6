"""How far several fits of one corpus agree, and how well other fits find each topic of a run again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from moee_topics.defaults import OUTLIERS
from moee_topics.errors import InputError
from moee_topics.evaluate.agreement import Topics, match_topics, same_length
from moee_topics.evaluate.duplicate_texts import first_of_each
from moee_topics.evaluate.score import Reading, Score

Kind = Literal["seeds", "bootstrap"]

TOP_WORDS = 10
"""So many first words of a topic are compared."""

REFITS: Mapping[str, str] = {
    "seeds": "{} with other seeds",
    "bootstrap": "{} on bootstrap samples (some 63 % of the documents each), on the documents both saw",
}

STABILITY_READINGS: Mapping[str, Reading] = {
    "stability_seeds": Reading(
        "Stability over seeds",
        0.5,
        0.75,
        "Fitted again, the corpus gives rather different topics.",
        "Fitted again, the corpus gives the same topics in part.",
        "Fitted again, the corpus gives nearly the same topics.",
    ),
    "stability_bootstrap": Reading(
        "Stability on samples",
        0.5,
        0.75,
        "Samples of the corpus give rather different topics.",
        "Samples of the corpus give the same topics in part.",
        "Samples of the corpus give nearly the same topics.",
    ),
}


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
        word_overlap: mean Jaccard overlap of the words of paired topics, None where no words were given.
        topics: number of topics of each fit, outliers aside.
    """

    runs: int
    ami: float
    ami_lowest: float
    pairwise_ami: NDArray[np.float64]
    word_overlap: float | None
    topics: Sequence[int]


def compare_runs(
    runs: Sequence[TopicRun], *, top: int = TOP_WORDS, texts: Sequence[Hashable] | None = None
) -> Stability:
    """Compares every two of several fits (seeds, bootstraps) of one corpus.

    Args:
        runs: two or more.
        top: how many first words of each topic are compared.
        texts: the text of each document of the corpus, or its hash; copies count once. Without, no two are copies.

    Raises:
        InputError: fewer than two runs, or two runs that share no document.
    """
    if len(runs) < 2:
        raise InputError(f"Stability compares runs, so it needs at least 2, got {len(runs)}.")
    table = np.eye(len(runs))
    overlaps = []
    for i, j in combinations(range(len(runs)), 2):
        topics = _on_common_documents(runs[i], runs[j], texts)
        table[i, j] = table[j, i] = adjusted_mutual_info_score(*topics)
        for pair in match_topics(*topics).pairs:
            first, second = set(runs[i].words.get(pair.first, ())[:top]), set(runs[j].words.get(pair.second, ())[:top])
            if first and second:
                overlaps.append(len(first & second) / len(first | second))
    values = table[np.triu_indices(len(runs), k=1)]
    return Stability(
        runs=len(runs),
        ami=float(values.mean()),
        ami_lowest=float(values.min()),
        pairwise_ami=table,
        word_overlap=float(np.mean(overlaps)) if overlaps else None,
        topics=[len(set(np.asarray(run.topics).tolist()) - {OUTLIERS}) for run in runs],
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
    jaccards: dict[int, list[float]] = {}
    for refit in refits:
        first, second = _on_common_documents(run, refit)
        rows, columns = np.unique(first), np.unique(second)
        overlap = np.asarray(contingency_matrix(first, second), dtype=np.int64)
        either = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0) - overlap
        # A refit can consist of outliers alone, and then finds no topic again.
        best = (overlap / either)[:, columns != OUTLIERS].max(axis=1, initial=0.0)
        for topic, jaccard in zip(rows.tolist(), best.tolist(), strict=True):
            if topic != OUTLIERS:
                jaccards.setdefault(topic, []).append(jaccard)
    return {topic: float(np.mean(jaccards[topic])) for topic in sorted(jaccards)}


def _on_common_documents(
    first: TopicRun, second: TopicRun, texts: Sequence[Hashable] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The topics of two fits on the documents both saw, in the same order; where texts are given, each text once."""
    a, b = np.asarray(first.topics), np.asarray(second.topics)
    # Fits of all documents must be of one length; bootstraps saw parts, which may be of any.
    if first.rows is None and second.rows is None:
        a, b = same_length(a, b)
    rows_a = np.arange(len(a)) if first.rows is None else np.asarray(first.rows)
    rows_b = np.arange(len(b)) if second.rows is None else np.asarray(second.rows)
    common, at_a, at_b = np.intersect1d(rows_a, rows_b, return_indices=True)
    if len(common) == 0:
        raise InputError("Two of the runs share no document, so they cannot be compared. Draw larger samples.")
    if texts is not None:
        different = first_of_each(texts[row] for row in common.tolist())
        at_a, at_b = at_a[different], at_b[different]
    return a[at_a], b[at_b]


def stability_summary(
    own: TopicRun, refits: Mapping[Kind, Sequence[TopicRun]], texts: Sequence[Hashable] | None = None
) -> dict[str, Any]:
    """What a run and its refits have in common, as plain JSON; ``texts`` as in :func:`compare_runs`.

    Returns:
        For each kind of refit: ``fits`` (the run's own is the first), ``ami`` and ``ami_lowest`` over every two of
        them, ``pairwise_ami``, ``words`` (mean overlap of the words of paired topics) and ``topics`` of each fit. And
        ``topics``: of each topic of the run and each kind, how well it is found again (:func:`topic_stability`).
    """
    summary: dict[str, Any] = {}
    for kind, runs in refits.items():
        agreement = compare_runs([own, *runs], texts=texts)
        summary[kind] = {
            "fits": agreement.runs,
            "ami": round(agreement.ami, 6),
            "ami_lowest": round(agreement.ami_lowest, 6),
            "pairwise_ami": agreement.pairwise_ami.round(4).tolist(),
            "words": None if agreement.word_overlap is None else round(agreement.word_overlap, 6),
            "topics": list(agreement.topics),
        }
    again = {kind: topic_stability(own, runs) for kind, runs in refits.items()}
    topics = sorted(set(np.unique(np.asarray(own.topics)).tolist()) - {OUTLIERS})
    summary["topics"] = {
        str(topic): {kind: round(values[topic], 6) for kind, values in again.items() if topic in values}
        for topic in topics
    }
    return summary


def stability_scores(summary: Mapping[str, Any]) -> dict[str, Score]:
    """The scores ``stability_seeds`` and ``stability_bootstrap``, of each kind of refit that was made."""
    scores = {}
    for kind in [kind for kind in REFITS if kind in summary]:
        fits = summary[kind]["fits"]
        text = f"Mean adjusted mutual information of every two of {fits} fits: this one and "
        text += f"{REFITS[kind].format(fits - 1)}. 1 is the same topics."
        scores[f"stability_{kind}"] = Score(summary[kind]["ami"], text, higher_is_better=True)
    return scores
