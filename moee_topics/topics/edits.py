"""Edits of a fitted topic model, in place: other topics, other documents, other numbers, fewer topics.

Words, representative documents, topic vectors and voters follow, with the vectorizer, c-TF-IDF and representation of
the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.topics.descriptions import describe, representative_texts, strengths
from moee_topics.topics.model import TopicModel, quiet_bertopic
from moee_topics.topics.result import OUTLIERS, TopicResult
from moee_topics.topics.voters import Voters, centroids


def relabel(topic_model: TopicModel, topics: NDArray[np.int64]) -> None:
    """Gives the documents of a fit other topics, and counts everything that hangs on them again.

    Args:
        topic_model: changed in place.
        topics: (N,) new topic of every document.
    """
    from moee_topics.topics.representations import build_representation

    model, settings = topic_model.model, topic_model.settings
    if topic_model.X is not None:
        vectors = centroids(topic_model.X, topics)
    else:
        of_topic = dict(zip(np.unique(topic_model.result.topics), model.topic_embeddings_, strict=True))
        vectors = np.asarray([of_topic[topic] for topic in np.unique(topics)])
    with _documents_at_hand(topic_model), quiet_bertopic():
        model.update_topics(
            model.vectorizer_model.documents(topic_model.result.texts),
            topics=[int(topic) for topic in topics],
            top_n_words=model.top_n_words,
            vectorizer_model=model.vectorizer_model,
            ctfidf_model=model.ctfidf_model,
            representation_model=build_representation(settings, read_texts(topic_model)),
        )
    # Upstream (0.17.4, _bertopic.py:1583) leaves the vector of the outliers in place when the last outlier is gone, so
    # that every topic would have its neighbour's vector from then on.
    model.topic_embeddings_ = vectors
    refresh(topic_model)


def replace_documents(topic_model: TopicModel, result: TopicResult, X: NDArray[np.floating]) -> None:
    """Puts other documents in the place of those of a fit, and counts everything that hangs on them again.

    A topic that was there before keeps its name; its words are those of its documents now.

    Args:
        topic_model: changed in place.
        result: the new documents with their topics; its ``topic_info`` is not looked at.
        X: (N, d) their vectors.
    """
    names = {topic.topic: topic.name for topic in topic_model.result.topic_info}
    topic_model.result, topic_model.X = result, X
    vars(topic_model).pop("first_rows", None)
    topic_model.model.probabilities_ = None  # of other documents, where the model was not loaded
    if topic_model.model.vectorizer_model.counted is not None:
        topic_model.model.vectorizer_model.read_rows(result.texts, topic_model.model._preprocess_text)
    topic_model.voters = Voters.fit(X, result.topics, seed=topic_model.settings.seed)
    relabel(topic_model, result.topics)
    info = [replace(topic, name=names.get(topic.topic, topic.name)) for topic in topic_model.result.topic_info]
    topic_model.result = replace(topic_model.result, topic_info=info)


def renumber(topic_model: TopicModel, numbers: Mapping[int, int], names: Mapping[int, str]) -> None:
    """Gives topics other ids, and names; nothing is counted again.

    Args:
        topic_model: changed in place.
        numbers: the new id of every topic but the outliers, no two alike.
        names: of some topics by their new id.
    """
    model, result = topic_model.model, topic_model.result
    before = np.unique(result.topics)
    new = {OUTLIERS: OUTLIERS, **numbers}
    order = np.argsort([new[topic] for topic in before.tolist()])  # rows of matrices stand in the order of the ids
    model.c_tf_idf_, model.topic_embeddings_ = model.c_tf_idf_[order], np.asarray(model.topic_embeddings_)[order]
    model.topics_ = [new[topic] for topic in model.topics_]
    for name in ("topic_representations_", "topic_sizes_", "representative_docs_", "_topic_id_to_zeroshot_topic_idx"):
        content = getattr(model, name, None)
        if content:
            setattr(model, name, type(content)({new[topic]: value for topic, value in content.items()}))
    model.topic_aspects_ = {
        name: {new[topic]: words for topic, words in of_topic.items()}
        for name, of_topic in model.topic_aspects_.items()
    }
    info = [replace(topic, topic=new[topic.topic]) for topic in result.topic_info]
    info = [replace(topic, name=names.get(topic.topic, topic.name)) for topic in info]
    topics = np.array(list(map(new.__getitem__, result.topics.tolist())), dtype=np.int64)
    info.sort(key=lambda topic: (topic.topic != OUTLIERS, -topic.count, topic.topic))
    topic_model.with_topics(replace(result, topics=topics, topic_info=info))


def refresh(topic_model: TopicModel) -> None:
    """Reads the result of a BERTopic that was changed, also by one of its own methods."""
    model, result = topic_model.model, topic_model.result
    topics = np.asarray(model.topics_, dtype=np.int64)
    if topic_model.X is not None:
        model.topic_embeddings_ = centroids(topic_model.X, topics)
    strength = result.probabilities if model.probabilities_ is None else strengths(model, topics)
    strength = np.where(topics == OUTLIERS, 0.0, strength).astype(np.float32)
    info = describe(model, result.texts, topics, strength)
    topic_model.with_topics(replace(result, topics=topics, probabilities=strength, topic_info=info))
    model.representative_docs_ = representative_texts(topic_model.result)


def reduce_topics(topic_model: TopicModel, nr_topics: int | Literal["auto"]) -> None:
    """Merges the most alike topics until ``nr_topics`` are left (the outliers count as one), in place."""
    settings = replace(topic_model.settings, nr_topics=nr_topics)
    with _documents_at_hand(topic_model), quiet_bertopic():
        _restore_representation(topic_model)
        model = topic_model.model
        model.reduce_topics(model.vectorizer_model.documents(topic_model.result.texts), nr_topics=nr_topics)
    topic_model.settings = settings  # only now: a merger that failed would leave settings that were never used
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
    topics = {topic.topic for topic in topic_model.result.topic_info} - {OUTLIERS}
    flat = [topic for group in groups for topic in group]
    if not groups or any(len(group) < 2 for group in groups) or len(set(flat)) < len(flat) or not set(flat) <= topics:
        raise InputError(
            "merge_topics takes groups of at least two topics, none in two groups, such as [[1, 2], [3, 7, 8]]; got "
            f"{groups}. This model has topics 0 to {max(topics, default=-1)}."
        )
    with _documents_at_hand(topic_model), quiet_bertopic():
        _restore_representation(topic_model)
        model = topic_model.model
        model.merge_topics(model.vectorizer_model.documents(topic_model.result.texts), groups)
    refresh(topic_model)


def _restore_representation(topic_model: TopicModel) -> None:
    """A loaded BERTopic has lost its representation models and would describe topics by counts alone."""
    from moee_topics.topics.representations import build_representation

    settings = topic_model.settings
    topic_model.model.representation_model = build_representation(settings, read_texts(topic_model))


def read_texts(topic_model: TopicModel) -> Sequence[str] | None:
    """The texts that a representation must be given, since BERTopic has only their rows."""
    return None if topic_model.model.vectorizer_model.counted is None else topic_model.result.texts


@contextmanager
def _documents_at_hand(topic_model: TopicModel) -> Iterator[None]:
    """While topics are put into words, documents of the fit are not embedded again where their vectors are at hand."""
    from moee_topics.topics.representations import KnownDocuments

    model, X = topic_model.model, topic_model.X
    backend: Any = model.embedding_model
    if X is not None:
        model.embedding_model = KnownDocuments(model.vectorizer_model.documents(topic_model.result.texts), X, backend)
    elif backend is None and topic_model.settings.needs_words:
        raise InputError("This needs words to be embedded: load the model with TopicModel.load(folder, backend=...).")
    try:
        yield
    finally:
        model.embedding_model = backend
