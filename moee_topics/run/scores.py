"""The scores a recipe asks for, of a fitted topic model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from moee_topics.evaluate import (
    DocumentTerms,
    Score,
    cluster_scores,
    first_of_each,
    npmi,
    outlier_share,
    prediction_agreement,
    topic_diversity,
)
from moee_topics.topics import OUTLIERS, TopicModel

WITHOUT_OUTLIERS = "_without_outliers"


def score_topics(model: TopicModel, names: Sequence[str]) -> dict[str, Score]:
    """The scores of some names in their order; those that need labels only where the corpus has them."""
    result = model.result
    words = [[word for word, _ in topic.words] for topic in result.topic_info if topic.topic != OUTLIERS]
    of_topics: Mapping[str, tuple[str, Callable[[], Score]]] = {
        "npmi": ("npmi", lambda: npmi(words, DocumentTerms.of(result.texts, words, model.model.vectorizer_model))),
        "topic_diversity": ("topic_diversity", lambda: topic_diversity(words)),
        "prediction": ("prediction_agreement", lambda: prediction_agreement(*model.voters.leave_one_out())),
        "outliers": ("outlier_share", lambda: outlier_share(result.topics)),
    }
    against_labels: Mapping[str, Score] = {}
    if result.labels is not None and {"ami", "ari", "v_measure"} & set(names):
        labelled = np.array([row for row, label in enumerate(result.labels) if label not in (None, "")], dtype=np.int64)
        rows = labelled[first_of_each(result.texts[row] for row in labelled.tolist())]
        against_labels = cluster_scores([result.labels[row] for row in rows], result.topics[rows])
    scores: dict[str, Score] = {}
    for name in names:
        if name in of_topics:
            key, score = of_topics[name]
            scores[key] = score()
        scores |= {key: against_labels[key] for key in (name, name + WITHOUT_OUTLIERS) if key in against_labels}
    return scores
