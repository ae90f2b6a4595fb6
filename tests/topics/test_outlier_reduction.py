"""Outliers of a fit get the topic they are most like, by scores that are BERTopic's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bag_of_words import THEMES
from fitted_topics import DOCUMENTS, LABELS, assert_consistent, fit, fitted, fresh

from moee_topics.errors import InputError
from moee_topics.topics import OutlierReduction, reduce_outliers
from moee_topics.topics.edits import relabel, renumber
from moee_topics.topics.outlier_reduction import best_topics, threshold_for
from moee_topics.topics.settings import Strategy

OUTLIERS = 40


@pytest.mark.parametrize("strategy", ["embeddings", "c-tf-idf", "distributions"])
def test_outliers_go_back_to_the_topic_they_came_from(strategy: Strategy) -> None:
    model = fresh(outliers=OUTLIERS)
    change = reduce_outliers(model, OutlierReduction(strategy=strategy))
    themed = [row for row in range(OUTLIERS) if LABELS[row] in THEMES]
    assert np.array_equal(model.result.topics[themed], fitted().result.topics[themed])
    assert change.before == pytest.approx(OUTLIERS / len(DOCUMENTS))
    assert change.after == pytest.approx(np.mean(model.result.topics == -1))
    assert_consistent(model)


@pytest.mark.parametrize("with_vectors", [True, False])
def test_no_topic_gets_its_neighbours_vector_when_the_last_outlier_is_gone(with_vectors: bool) -> None:
    model = fresh(outliers=OUTLIERS, with_vectors=with_vectors)
    before = np.asarray(model.model.topic_embeddings_)[1:]
    reduce_outliers(model)
    after = np.asarray(model.model.topic_embeddings_)
    cosines = after @ before.T / np.linalg.norm(after, axis=1)[:, None] / np.linalg.norm(before, axis=1)
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert_consistent(model)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2])
def test_a_target_share_of_outliers_is_met_by_the_surest_documents(share: float) -> None:
    model = fresh(outliers=OUTLIERS)
    _, score = best_topics(model, np.arange(OUTLIERS), "embeddings")
    change = reduce_outliers(model, OutlierReduction(target_share=share))
    left = model.result.topics[:OUTLIERS] == -1
    assert left.sum() == int(share * len(DOCUMENTS))
    assert not left.any() or score[left].max() <= score[~left].min()
    assert change.after <= share


def test_a_share_that_is_already_met_changes_nothing() -> None:
    model = fresh(outliers=OUTLIERS)
    before = model.result
    reduce_outliers(model, OutlierReduction(target_share=0.9))
    assert model.result is before


def test_without_outliers_there_is_nothing_to_do() -> None:
    assert reduce_outliers(fresh()).after == 0.0


@pytest.mark.parametrize(("strategy", "threshold"), [("embeddings", 0.6), ("c-tf-idf", 0.2)])
def test_scores_and_thresholds_are_those_of_bertopic(strategy: Strategy, threshold: float) -> None:
    model = fresh(outliers=OUTLIERS)
    texts, topics = list(model.result.texts), model.result.topics.tolist()
    expected = model.model.reduce_outliers(
        texts, topics, strategy=strategy, threshold=threshold, embeddings=np.asarray(model.X)
    )
    reduce_outliers(model, OutlierReduction(strategy=strategy, threshold=threshold))
    assert model.result.topics.tolist() == [int(topic) for topic in expected]


def test_probabilities_reduce_outliers_where_they_were_computed() -> None:
    model = fit(bertopic={"calculate_probabilities": True}, representation="ctfidf")
    topics = model.result.topics.copy()
    topics[:OUTLIERS] = -1
    relabel(model, topics)
    reduce_outliers(model, OutlierReduction(strategy="probabilities"))
    themed = [row for row in range(OUTLIERS) if LABELS[row] in THEMES and model.result.topics[row] >= 0]
    assert np.array_equal(model.result.topics[themed], fitted().result.topics[themed])
    with pytest.raises(InputError, match="calculate_probabilities"):
        reduce_outliers(fresh(outliers=OUTLIERS), OutlierReduction("probabilities"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "embedding"}, r"Did you mean embeddings\?"),
        ({"target_share": 1.5}, "from 0 to 1"),
        ({"target_share": -1}, "0 to"),
    ],
)
def test_impossible_reductions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reduce_outliers(fresh(outliers=OUTLIERS), OutlierReduction(**options))


def test_the_threshold_leaves_the_asked_number_above_it() -> None:
    score = np.array([0.1, 0.9, 0.5, 0.3])
    assert [float(threshold_for(score, count)) for count in (0, 1, 2, 4, 9)] == [float("inf"), 0.9, 0.5, 0.1, 0.1]


def test_words_after_a_reduction_come_from_the_vectorizer_and_representation_of_the_fit() -> None:
    """BERTopic #2114: update_topics falls back to defaults, so stop words come back and KeyBERT is gone."""
    model = fresh(outliers=OUTLIERS)
    reduce_outliers(model)
    assert not set(model.model.vectorizer_model.vocabulary_) & {"the", "and", "with"}
    for topic in model.result.topic_info:
        assert {word for word, _ in topic.words} == {word for word, _ in fitted().result.topic(topic.topic).words}


@pytest.mark.parametrize("strategy", ["embeddings", "c-tf-idf"])
def test_outliers_of_a_model_with_gaps_between_its_ids_get_an_id_that_exists(strategy: Strategy) -> None:
    model = fresh(outliers=OUTLIERS)
    plain = best_topics(model, np.arange(OUTLIERS), strategy)[0]
    renumber(model, {0: 3, 1: 8, 2: 9, 3: 21}, {})
    assert best_topics(model, np.arange(OUTLIERS), strategy)[0].tolist() == [[3, 8, 9, 21][topic] for topic in plain]
