"""What can be done with a fitted topic model: outliers, reduction, merging, hierarchy, time and classes.

Functions that change topics change the model in place and bring words, representative documents, topic vectors and
prediction along, with the vectorizer, c-TF-IDF and representation of the fit.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.topics.describe import describe, strengths
from moee_topics.topics.model import TopicModel, quiet_bertopic
from moee_topics.topics.prediction import centroids, unit_rows
from moee_topics.topics.result import OUTLIERS
from moee_topics.topics.settings import STRATEGIES, OutlierReduction, Strategy, check_choice

Scores = NDArray[np.floating]

HIERARCHY_COLUMNS = {
    "parent": "Parent_ID",
    "left": "Child_Left_ID",
    "right": "Child_Right_ID",
    "distance": "Distance",
    "name": "Parent_Name",
    "left_name": "Child_Left_Name",
    "right_name": "Child_Right_Name",
    "topics": "Topics",
}


@dataclass(frozen=True)
class OutlierChange:
    """What an outlier reduction did: the share of outliers before and after, and the threshold that was used."""

    strategy: Strategy
    before: float
    after: float
    threshold: float


def reduce_outliers(
    topic_model: TopicModel,
    *,
    strategy: Strategy = "embeddings",
    target_share: float | None = None,
    threshold: float = 0.0,
) -> OutlierChange:
    """Gives outliers the topic they are most like, the surest first until a target share of outliers is left.

    The scores are those of BERTopic's ``reduce_outliers``; the words are then counted again with the same vectorizer,
    c-TF-IDF and representation (BERTopic #2114). Memberships of documents that get a topic this way stay 0.

    Args:
        topic_model: changed in place.
        strategy: see :class:`OutlierReduction`.
        target_share: the share of outliers to leave; what cannot be reached is left at the nearest.
        threshold: without a target: the least score of a document that gets a topic.

    Raises:
        InputError: an unknown strategy, or one that needs what this model has not.
    """
    OutlierReduction(strategy, target_share, threshold)
    before = topic_model.result.topics
    rows = np.flatnonzero(before == OUTLIERS)
    if not len(rows):
        return OutlierChange(strategy, 0.0, 0.0, threshold)
    best, score = best_topics(topic_model, rows, strategy)
    if target_share is not None:
        threshold = threshold_for(score, len(rows) - int(np.floor(target_share * len(before))))
    moved = (score >= threshold) & (score > 0)
    after = before.copy()
    after[rows[moved]] = best[moved]
    if moved.any():
        relabel(topic_model, after)
    return OutlierChange(strategy, float(np.mean(before == OUTLIERS)), float(np.mean(after == OUTLIERS)), threshold)


def threshold_for(score: Scores, count: int) -> float:
    """The threshold that the ``count`` highest scores reach; infinity where none shall."""
    if count <= 0:
        return float("inf")
    return float(np.sort(score)[::-1][min(count, len(score)) - 1])


def best_topics(
    topic_model: TopicModel, rows: NDArray[np.int64], strategy: Strategy
) -> tuple[NDArray[np.int64], Scores]:
    """The topic each of some outliers is most like, and how much."""
    check_choice("outlier strategy", strategy, STRATEGIES)
    scores = np.asarray(_SCORES[strategy](topic_model, rows))
    return scores.argmax(axis=1).astype(np.int64), scores.max(axis=1)


def _by_embeddings(topic_model: TopicModel, rows: NDArray[np.int64]) -> Scores:
    X = topic_model.X
    texts = [topic_model.result.texts[row] for row in rows]
    vectors = topic_model._embed(texts) if X is None else X[rows]
    topics = np.asarray(topic_model.model.topic_embeddings_)[1:]
    return unit_rows(np.asarray(vectors)) @ unit_rows(topics).T


def _by_words(topic_model: TopicModel, rows: NDArray[np.int64]) -> Scores:
    from sklearn.metrics.pairwise import cosine_similarity

    model = topic_model.model
    bags = model.vectorizer_model.transform([topic_model.result.texts[row] for row in rows])
    return np.asarray(cosine_similarity(model.ctfidf_model.transform(bags), model.c_tf_idf_[1:]))


def _by_distributions(topic_model: TopicModel, rows: NDArray[np.int64]) -> Scores:
    texts = [topic_model.result.texts[row] for row in rows]
    distributions, _ = topic_model.model.approximate_distribution(texts, min_similarity=0)
    return np.asarray(distributions)


def _by_probabilities(topic_model: TopicModel, rows: NDArray[np.int64]) -> Scores:
    given = topic_model.model.probabilities_
    if given is None or np.ndim(given) != 2:
        raise InputError(
            'The outlier strategy "probabilities" needs a fit with bertopic={"calculate_probabilities": True}, and is '
            "lost when a model is saved."
        )
    return np.asarray(given)[rows]


_SCORES = {
    "embeddings": _by_embeddings,
    "c-tf-idf": _by_words,
    "distributions": _by_distributions,
    "probabilities": _by_probabilities,
}


def relabel(topic_model: TopicModel, topics: NDArray[np.int64]) -> None:
    """Gives the documents of a fit other topics, and counts everything that hangs on them again.

    Upstream (0.17.4, _bertopic.py:1583) leaves the vector of the outliers in place when the last outlier is gone, so
    that every topic has its neighbour's vector from then on; here the vectors are made anew.

    Args:
        topic_model: changed in place.
        topics: (N,) new topic of every document.
    """
    from moee_topics.topics.representations import build_representation

    model = topic_model.model
    vectors = _remaining_vectors(topic_model, topics)
    words = {"vectorizer_model": model.vectorizer_model, "ctfidf_model": model.ctfidf_model}
    words |= {"representation_model": build_representation(topic_model.settings), "top_n_words": model.top_n_words}
    with knowing_documents(topic_model), quiet_bertopic():
        model.update_topics(list(topic_model.result.texts), topics=[int(topic) for topic in topics], **words)
    model.topic_embeddings_ = vectors
    refresh(topic_model)


def _remaining_vectors(topic_model: TopicModel, topics: NDArray[np.int64]) -> Any:
    if topic_model.X is not None:
        return centroids(topic_model.X, topics)
    known = dict(zip(np.unique(topic_model.result.topics), topic_model.model.topic_embeddings_, strict=True))
    return np.asarray([known[topic] for topic in np.unique(topics)])


def refresh(topic_model: TopicModel) -> None:
    """Reads the result of a BERTopic that was changed, also by one of its own methods."""
    model, result = topic_model.model, topic_model.result
    topics = np.asarray(model.topics_, dtype=np.int64)
    if topic_model.X is not None:
        model.topic_embeddings_ = centroids(topic_model.X, topics)
    strength = result.probabilities if model.probabilities_ is None else strengths(model, topics)
    strength = np.where(topics == OUTLIERS, 0.0, strength).astype(np.float32)
    info = describe(model, result.texts, topics, strength)
    model.representative_docs_ = {
        topic.topic: [result.texts[row] for row in topic.representative_docs] for topic in info
    }
    topic_model.with_topics(replace(result, topics=topics, probabilities=strength, topic_info=info))


def reduce_topics(topic_model: TopicModel, nr_topics: int | Literal["auto"]) -> None:
    """Merges the most alike topics until ``nr_topics`` are left (the outliers count as one), in place."""
    replaced = replace(topic_model.settings, nr_topics=nr_topics)
    with knowing_documents(topic_model), quiet_bertopic():
        _restore_representation(topic_model)
        topic_model.model.reduce_topics(list(topic_model.result.texts), nr_topics=nr_topics)
    topic_model.settings = replaced
    refresh(topic_model)


def merge_topics(topic_model: TopicModel, groups: Sequence[Sequence[int]]) -> None:
    """Merges every group of topics into one, in place; topics are numbered anew by size.

    Args:
        topic_model: changed in place.
        groups: topic ids that belong together, such as [[1, 2], [3, 7, 8]]; -1 cannot be merged.

    Raises:
        InputError: a group that is not at least two topics of this model, or a topic in two groups.
    """
    groups = [[int(topic) for topic in group] for group in groups]
    _check_groups(topic_model, groups)
    with knowing_documents(topic_model), quiet_bertopic():
        _restore_representation(topic_model)
        topic_model.model.merge_topics(list(topic_model.result.texts), groups)
    refresh(topic_model)


def _check_groups(topic_model: TopicModel, groups: Sequence[Sequence[int]]) -> None:
    known = {topic.topic for topic in topic_model.result.topic_info} - {OUTLIERS}
    flat = [topic for group in groups for topic in group]
    if not groups or any(len(group) < 2 for group in groups) or len(set(flat)) < len(flat) or not set(flat) <= known:
        raise InputError(
            "merge_topics takes groups of at least two topics, none in two groups, such as [[1, 2], [3, 7, 8]]; got "
            f"{groups}. This model has topics 0 to {max(known, default=-1)}."
        )


def _restore_representation(topic_model: TopicModel) -> None:
    from moee_topics.topics.representations import build_representation

    topic_model.model.representation_model = build_representation(topic_model.settings)


@contextmanager
def knowing_documents(topic_model: TopicModel) -> Iterator[None]:
    """While topics are put into words, documents of the fit are not embedded again where their vectors are at hand."""
    from moee_topics.topics.representations import KnownDocuments

    model, X = topic_model.model, topic_model.X
    backend = model.embedding_model
    if X is not None:
        model.embedding_model = KnownDocuments(topic_model.result.texts, X, backend)
    elif backend is None and topic_model.settings.needs_words:
        raise InputError("This needs words to be embedded: load the model with TopicModel.load(folder, backend=...).")
    try:
        yield
    finally:
        model.embedding_model = backend


def hierarchical_topics(topic_model: TopicModel) -> pd.DataFrame:
    """How topics join into larger ones, step by step (Ward's linkage of c-TF-IDF, as BERTopic does it).

    Returns:
        One row per merger, the last first: parent, left, right (ids; parents follow the topics), distance, name (of
        the parent), left_name, right_name, topics (list of ids). No rows for fewer than two topics.
    """
    if len([topic for topic in topic_model.result.topic_info if topic.topic != OUTLIERS]) < 2:
        return pd.DataFrame(columns=list(HIERARCHY_COLUMNS))
    with words_by_counts(topic_model) as model, contextlib.redirect_stderr(io.StringIO()):
        frame = model.hierarchical_topics(list(topic_model.result.texts))
    frame = pd.DataFrame({name: list(frame[upstream]) for name, upstream in HIERARCHY_COLUMNS.items()})
    for column in ("name", "left_name", "right_name"):
        frame[column] = [", ".join(word for word in name.split("_") if word) for name in frame[column]]
    typed: pd.DataFrame = frame.astype({"parent": int, "left": int, "right": int, "distance": float})
    return typed


def topics_over_time(
    topic_model: TopicModel, timestamps: Sequence[Any] | None = None, *, bins: int = 20
) -> pd.DataFrame:
    """How often topics come up and with which words, in equal stretches of time.

    Args:
        topic_model: a fitted model.
        timestamps: N times, ISO 8601 or datetimes; those of the corpus by default. Documents without one are left out.
        bins: how many stretches; fewer distinct times than that stay as they are.

    Returns:
        topic, timestamp (start of the stretch), frequency, words; by topic and time.

    Raises:
        InputError: there are no timestamps, or they cannot be read.
    """
    result = topic_model.result
    times = _parsed_times(result.timestamps if timestamps is None else timestamps, len(result))
    frame = pd.DataFrame({"text": result.texts, "topic": result.topics, "timestamp": _binned(times, bins)})
    return _words_per_group(topic_model, frame.dropna(subset="timestamp"), "timestamp")


def topics_per_class(topic_model: TopicModel, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """How often topics come up and with which words, in every class of documents.

    Returns:
        topic, label, frequency, words; by topic and label.

    Raises:
        InputError: the corpus has no labels and none are given, or not one per document.
    """
    result = topic_model.result
    labels = result.labels if labels is None else labels
    if labels is None or len(labels) != len(result):
        raise InputError(f"topics_per_class needs a label for each of the {len(result)} documents.")
    frame = pd.DataFrame({"text": result.texts, "topic": result.topics, "label": [str(label) for label in labels]})
    return _words_per_group(topic_model, frame, "label")


def _parsed_times(timestamps: Sequence[Any] | None, documents: int) -> pd.Series:
    if timestamps is None or len(timestamps) != documents:
        raise InputError(f"topics_over_time needs a timestamp for each of the {documents} documents.")
    try:
        times = pd.to_datetime(pd.Series(list(timestamps)), utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise InputError(f"Timestamps must be ISO 8601, such as 1993-04-21 or 1993-04-21T10:30:00: {error}") from error
    if times.notna().sum() == 0:
        raise InputError("No document has a timestamp.")
    return times.dt.tz_localize(None)


def _binned(times: pd.Series, bins: int) -> pd.Series:
    """The start of the stretch each time lies in."""
    if bins < 1:
        raise InputError(f"bins is a whole number from 1, got {bins}.")
    if times.nunique() <= bins:
        return times
    first, step = times.min(), (times.max() - times.min()) / bins
    number = ((times - first) // step).clip(upper=bins - 1)
    starts: pd.Series = (first + number * step).dt.round("s")
    return starts


def _words_per_group(topic_model: TopicModel, frame: pd.DataFrame, group: str) -> pd.DataFrame:
    """Counts and c-TF-IDF words of every (topic, group), the words half those of the topic and half of the group.

    The averaging is BERTopic's "global tuning"; its own topics_over_time is not used because it normalizes the
    model's c-TF-IDF in place and takes arguments that pandas 3 no longer knows.
    """
    joined = frame.groupby(["topic", group], as_index=False, sort=True).agg(
        words=("text", " ".join), frequency=("text", "size")
    )
    joined["words"] = _tuned_words(topic_model, joined["topic"].to_numpy(), list(joined["words"]))
    return joined[["topic", group, "frequency", "words"]]


def _tuned_words(topic_model: TopicModel, topics: NDArray[np.int64], texts: list[str], count: int = 5) -> list[str]:
    from sklearn.preprocessing import normalize

    model = topic_model.model
    local = model.ctfidf_model.transform(model.vectorizer_model.transform(model._preprocess_text(texts)))
    at = np.searchsorted(np.unique(topic_model.result.topics), topics)
    tuned = (normalize(local, norm="l1") + normalize(model.c_tf_idf_, norm="l1")[at]).tocsr()
    names = model.vectorizer_model.get_feature_names_out()
    return [", ".join(names[_best_columns(tuned[row], count)]) for row in range(len(texts))]


def _best_columns(row: Any, count: int) -> NDArray[np.int64]:
    order = np.argsort(-row.data, kind="stable")[:count]
    return np.asarray(row.indices[order], dtype=np.int64)


@contextmanager
def words_by_counts(topic_model: TopicModel) -> Iterator[Any]:
    """A BERTopic that names topics by c-TF-IDF alone, so that no model is asked for words."""
    model = topic_model.model
    before = model.representation_model
    model.representation_model = None
    try:
        yield model
    finally:
        model.representation_model = before
