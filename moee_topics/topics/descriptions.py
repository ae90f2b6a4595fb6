"""Reads a fitted BERTopic: the words, name and representative documents of every topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.topics.result import OUTLIERS, Topic, TopicResult, Words

Topics = NDArray[np.int64]

MOST_MEMBERS = 500
"""The strongest members of a topic among which its representative documents are looked for, as BERTopic does."""


def strengths(model: Any, topics: Topics) -> NDArray[np.float32]:
    """(N,) strength of every document's membership: HDBSCAN's, or the best of a (N, topics) distribution."""
    if model.probabilities_ is None:
        return np.where(topics == OUTLIERS, 0.0, 1.0).astype(np.float32)
    values = np.asarray(model.probabilities_, dtype=np.float32)
    values = values.max(axis=1) if values.ndim == 2 else values
    return np.where(topics == OUTLIERS, 0.0, np.nan_to_num(values)).astype(np.float32)


def describe(
    model: Any, texts: Sequence[str], topics: Topics, strength: NDArray[np.float32], documents_per_topic: int = 5
) -> list[Topic]:
    """Every topic of a fitted BERTopic, outliers first where there are any, then by size.

    Args:
        model: the BERTopic, whose words and c-TF-IDF belong to these topics.
        texts: N documents of the fit.
        topics: (N,) their topics.
        strength: (N,) their memberships; the strongest are looked at as representative documents.
    """
    counts = {int(topic): int(count) for topic, count in zip(*np.unique(topics, return_counts=True), strict=True)}
    zeroshot = getattr(model, "_topic_id_to_zeroshot_topic_idx", {}) if model.zeroshot_topic_list else {}
    descriptions = []
    for topic in sorted(counts, key=lambda topic: (topic != OUTLIERS, -counts[topic], topic)):
        words = without_padding(model.topic_representations_[topic])
        aspects = {name: without_padding(of_topic.get(topic, ())) for name, of_topic in model.topic_aspects_.items()}
        aspects = {name: pairs for name, pairs in aspects.items() if pairs}
        if topic == OUTLIERS:
            name = "outliers"
        elif topic in zeroshot:
            name = str(model.zeroshot_topic_list[zeroshot[topic]])
        # What a language model wrote is a name. It is kept beside the words: in their place no score could be computed.
        elif aspects.get("llm"):
            name = str(aspects["llm"][0][0])
        else:
            name = name_by_words(words, topic)
        rows = representative_rows(model, texts, topics, strength, topic, documents_per_topic)
        descriptions.append(Topic(topic, counts[topic], name, words, aspects, rows))
    return descriptions


def representative_texts(result: TopicResult) -> dict[int, list[str]]:
    """The representative documents of every topic, as BERTopic keeps them."""
    return {topic.topic: [result.texts[row] for row in topic.representative_docs] for topic in result.topic_info}


def name_by_words(words: Words, topic: int) -> str:
    """What a topic is called that nobody gave a name."""
    return ", ".join(word for word, _ in words[:4]) or f"topic {topic}"


def without_padding(pairs: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Words and weights without the empty words that BERTopic pads short topics with."""
    return [(str(word), float(weight)) for word, weight in pairs if word]


def representative_rows(
    model: Any, texts: Sequence[str], topics: Topics, strength: NDArray[np.float32], topic: int, count: int
) -> list[int]:
    """Rows of the documents whose words are most like their topic's (cosine of c-TF-IDF), best first, no text twice.

    BERTopic picks them in the same way, but as texts and in no order.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    members = np.flatnonzero(topics == topic)
    members = members[np.argsort(-strength[members], kind="stable")][:MOST_MEMBERS]
    # BERTopic's rows of c-TF-IDF stand in the order of the topics, -1 first.
    at = int(np.searchsorted(np.unique(topics), topic))
    bags = model.ctfidf_model.transform(model.vectorizer_model.transform_rows(texts, members.tolist()))
    # Of counts, not of vectors: a reader looks for the words of the topic in them.
    likeness = cosine_similarity(bags, model.c_tf_idf_[at]).ravel()
    best: list[int] = members[np.argsort(-likeness, kind="stable")].tolist()
    first_row = {texts[row]: row for row in reversed(best)}
    return [row for row in best if first_row[texts[row]] == row][:count]
