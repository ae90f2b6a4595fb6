"""Which topic of a new fit is which of the one before, by the documents of both and by their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from moee_topics.topics.result import OUTLIERS, Words

Topics = NDArray[np.int64]

SAME_TOPIC = 0.25
"""The least likeness of a topic that is found again: half of its documents with none of its words, or the reverse."""


def matched_topics(
    before: Topics, after: Topics, words_before: Mapping[int, Words], words_after: Mapping[int, Words]
) -> dict[int, int]:
    """The old topic of every new one that has one: no topic is matched twice, and the sum of likenesses is the largest.

    Likeness is the mean of the Jaccard index of the documents and the cosine of the word weights.

    Args:
        before: (n,) old topics of documents that both fits have.
        after: (n,) new topics of the same documents.
        words_before: words of every old topic with their weights; its keys are the topics, outliers aside.
        words_after: the same of every new topic.
    """
    old, new = sorted(set(words_before) - {OUTLIERS}), sorted(set(words_after) - {OUTLIERS})
    if not old or not new:
        return {}
    inside_old = np.array([before == topic for topic in old], dtype=np.float32)
    inside_new = np.array([after == topic for topic in new], dtype=np.float32)
    shared = inside_old @ inside_new.T
    either = inside_old.sum(axis=1)[:, None] + inside_new.sum(axis=1) - shared
    documents = shared / np.maximum(either, 1.0)
    words = word_cosines([words_before[topic] for topic in old], [words_after[topic] for topic in new])
    # Documents alone lose a topic whose documents were replaced, words alone confuse topics of one vocabulary.
    likeness = (documents + words) / 2
    pairs = zip(*linear_sum_assignment(-likeness), strict=True)
    return {new[j]: old[i] for i, j in pairs if likeness[i, j] >= SAME_TOPIC}


def word_cosines(first: Sequence[Words], second: Sequence[Words]) -> NDArray[np.float64]:
    """(len(first), len(second)) cosines of the word weights of topics."""
    places: dict[str, int] = {}
    for words in (*first, *second):
        for word, _ in words:
            places.setdefault(word, len(places))

    def rows(topics: Sequence[Words]) -> NDArray[np.float64]:
        weights = np.zeros((len(topics), len(places)))
        for row, words in enumerate(topics):
            for word, weight in words:
                # Weights of KeyBERT are cosines, which may be below zero.
                weights[row, places[word]] = max(float(np.nan_to_num(weight)), 0.0)
        return np.asarray(weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12))

    return np.asarray(rows(first) @ rows(second).T)
