"""Outliers of a fit get the topic that they are most like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.fuse import unit_rows
from moee_topics.topics.edits import relabel
from moee_topics.topics.model import TopicModel
from moee_topics.topics.result import OUTLIERS
from moee_topics.topics.settings import OutlierReduction, Strategy

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class OutlierChange:
    """What an outlier reduction did: the share of outliers before and after, and the threshold that was used."""

    strategy: Strategy
    before: float
    after: float
    threshold: float


def reduce_outliers(topic_model: TopicModel, reduction: OutlierReduction | None = None) -> OutlierChange:
    """Gives outliers the topic they are most like, the surest first until a target share of outliers is left.

    The scores are those of BERTopic's ``reduce_outliers``; the words are then counted again with the same vectorizer,
    c-TF-IDF and representation (BERTopic #2114). Memberships of documents that get a topic this way stay 0.

    Args:
        topic_model: changed in place.
        reduction: how; by the defaults if None. A target that cannot be reached is left at the nearest.

    Raises:
        InputError: a strategy that needs what this model has not.
    """
    reduction = reduction or OutlierReduction()
    threshold, target = reduction.threshold, reduction.target_share
    before = topic_model.result.topics
    rows = np.flatnonzero(before == OUTLIERS)
    if not len(rows):
        return OutlierChange(reduction.strategy, 0.0, 0.0, threshold)
    best, score = best_topics(topic_model, rows, reduction.strategy)
    if target is not None:
        # Rounded down: a share that is asked for is reached, not just missed.
        threshold = threshold_for(score, len(rows) - int(np.floor(target * len(before))))
    is_sure = (score >= threshold) & (score > 0)  # who is like no topic gets none, even with a threshold of 0
    after = before.copy()
    after[rows[is_sure]] = best[is_sure]
    if is_sure.any():
        relabel(topic_model, after)
    share_before, share_after = (float(np.mean(topics == OUTLIERS)) for topics in (before, after))
    return OutlierChange(reduction.strategy, share_before, share_after, threshold)


def threshold_for(score: Scores, count: int) -> float:
    """The threshold that the ``count`` highest scores reach; infinity where none shall."""
    if count <= 0:
        return float("inf")
    return float(np.sort(score)[::-1][min(count, len(score)) - 1])


def best_topics(
    topic_model: TopicModel, rows: NDArray[np.int64], strategy: Strategy
) -> tuple[NDArray[np.int64], Scores]:
    """The topic that the outlier of each row is most like, and how much.

    Raises:
        InputError: the strategy needs what this model has not.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    model, texts = topic_model.model, [topic_model.result.texts[row] for row in rows.tolist()]
    if strategy == "embeddings":
        vectors = topic_model.embed(texts) if topic_model.X is None else topic_model.X[rows]
        # Row 0 is that of the outliers themselves, here and below.
        scores = unit_rows(vectors) @ unit_rows(np.asarray(model.topic_embeddings_)[1:]).T
    elif strategy == "c-tf-idf":
        bags = model.vectorizer_model.transform(texts)
        scores = np.asarray(cosine_similarity(model.ctfidf_model.transform(bags), model.c_tf_idf_[1:]))
    elif strategy == "distributions":
        scores = np.asarray(model.approximate_distribution(texts, min_similarity=0)[0])
    elif np.ndim(model.probabilities_) == 2:
        scores = np.asarray(model.probabilities_)[rows]
    else:
        raise InputError(
            "topics.outliers.strategy=probabilities needs a fit with bertopic.calculate_probabilities=true, which "
            "are not saved with a model. The other strategies need neither."
        )
    # Columns stand in the order of the ids, which have gaps where topics of an updated run are gone.
    topics = np.unique(topic_model.result.topics)
    return topics[topics != OUTLIERS][scores.argmax(axis=1)], scores.max(axis=1)
