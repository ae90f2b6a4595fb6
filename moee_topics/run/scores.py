"""The scores a recipe asks for, of a fitted topic model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from moee_topics.evaluate import DocumentTerms, Score, cluster_scores, npmi, outlier_share, topic_diversity
from moee_topics.topics import OUTLIERS, TopicModel

WITHOUT_OUTLIERS = "_without_outliers"


def score_topics(model: TopicModel, names: Sequence[str]) -> dict[str, Score]:
    """The scores of some names in their order; those that need labels only where the corpus has them."""
    found: dict[str, Score] = {}
    against_labels = _against_labels(model) if {"ami", "ari", "v_measure"} & set(names) else {}
    for name in names:
        if name in _OF_TOPICS:
            key, score = _OF_TOPICS[name]
            found[key] = score(model)
        for key in (name, name + WITHOUT_OUTLIERS):
            if key in against_labels:
                found[key] = against_labels[key]
    return found


def topic_words(model: TopicModel) -> list[list[str]]:
    """The words of every topic but the outliers."""
    return [[word for word, _ in topic.words] for topic in model.result.topic_info if topic.topic != OUTLIERS]


def _npmi(model: TopicModel) -> Score:
    words = topic_words(model)
    return npmi(words, DocumentTerms.of(model.result.texts, words, model.model.vectorizer_model))


def _diversity(model: TopicModel) -> Score:
    return topic_diversity(topic_words(model))


def _outliers(model: TopicModel) -> Score:
    return outlier_share(model.result.topics)


_OF_TOPICS: Mapping[str, tuple[str, Callable[[TopicModel], Score]]] = {
    "npmi": ("npmi", _npmi),
    "topic_diversity": ("topic_diversity", _diversity),
    "outliers": ("outlier_share", _outliers),
}


def _against_labels(model: TopicModel) -> dict[str, Score]:
    labels = model.result.labels
    return {} if labels is None else cluster_scores(labels, model.result.topics)
