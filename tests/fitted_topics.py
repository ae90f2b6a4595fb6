"""Topic models that several test files share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from bag_of_words import BagOfWords, themed_corpus

from moee_topics.corpus import Document
from moee_topics.fuse import Fusion
from moee_topics.topics import TopicModel, fit_topics
from moee_topics.topics.backend import MoEEBackend

DOCUMENTS, LABELS = themed_corpus()
TIMESTAMPS = [f"1993-04-{1 + row % 28:02d}T10:00:00" for row in range(len(DOCUMENTS))]


HIDDEN_STATES = Fusion("hidden_states", standardize="none")


def backend() -> MoEEBackend:
    return MoEEBackend(BagOfWords(), HIDDEN_STATES)


@cache
def vectors() -> np.ndarray:
    found: np.ndarray = backend().embed_documents(DOCUMENTS)
    found.flags.writeable = False
    return found


def fit(**options: Any) -> TopicModel:
    rows = zip(DOCUMENTS, LABELS, TIMESTAMPS, strict=True)
    documents = [Document(str(row), text, label, time) for row, (text, label, time) in enumerate(rows)]
    return fit_topics(documents, vectors(), **{"backend": backend(), **options})


def fit_words(**options: Any) -> TopicModel:
    """A fit whose words alone are looked at: without a map, and with a tenth of the steps of UMAP."""
    return fit(**{"positions": vectors()[:, :2], "umap": {"n_epochs": 50}, **options})


@cache
def fitted() -> TopicModel:
    """The model with the defaults; not to be changed."""
    return fit()


@cache
def temporary() -> TemporaryDirectory[str]:
    """Goes when the tests end."""
    return TemporaryDirectory(prefix="moee-topics-test-")


@cache
def saved() -> Path:
    folder = Path(temporary().name) / "model"
    fitted().save(folder)
    return folder


def fresh(*, with_vectors: bool = True, outliers: int = 0) -> TopicModel:
    """A copy of the fitted model that a test may change, with the first documents turned into outliers."""
    from moee_topics.topics.edits import relabel

    model = TopicModel.load(saved(), backend=backend())
    model.X = vectors()
    if outliers:
        topics = model.result.topics.copy()
        topics[:outliers] = -1
        relabel(model, topics)
    model.X = vectors() if with_vectors else None
    return model


def assert_consistent(model: TopicModel) -> None:
    """Topics, words, vectors and prediction all speak of the same topics."""
    bertopic, result = model.model, model.result
    numbers = np.unique(result.topics)
    assert bertopic.topics_ == result.topics.tolist()
    assert len(bertopic.topic_embeddings_) == bertopic.c_tf_idf_.shape[0] == len(numbers)
    assert (
        sorted(bertopic.topic_representations_) == sorted(topic.topic for topic in result.topic_info) == list(numbers)
    )
    assert {topic.topic: topic.count for topic in result.topic_info} == {
        int(topic): int((result.topics == topic).sum()) for topic in numbers
    }
    assert np.array_equal(model.voters.topics, result.topics[model.voters.rows])
    for topic in result.topic_info:
        assert all(result.topics[row] == topic.topic for row in topic.representative_docs)
