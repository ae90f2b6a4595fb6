"""The scores a recipe asks for, of a fitted topic model."""

from __future__ import annotations

from collections.abc import Sequence

from moee_topics.evaluate import SCORES, Evidence, Score
from moee_topics.topics import OUTLIERS, TopicModel


def evidence_of(model: TopicModel) -> Evidence:
    """What a fitted topic model is scored by."""
    result = model.result
    return Evidence(
        words=[[word for word, _ in topic.words] for topic in result.topic_info if topic.topic != OUTLIERS],
        topics=result.topics,
        texts=result.texts,
        labels=result.labels,
        vectorizer=model.model.vectorizer_model,
        leave_one_out=model.voters.leave_one_out,
    )


def score_topics(evidence: Evidence, names: Sequence[str]) -> dict[str, Score]:
    """The scores of some names in their order; those that need labels only where the corpus has them."""
    return {key: score for name in names for key, score in SCORES[name].of(evidence).items()}
