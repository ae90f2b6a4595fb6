from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from bag_of_words import THEMES
from fitted_topics import DOCUMENTS, LABELS, assert_consistent, backend, fit, fitted, fresh, saved, temporary

from moee_topics.errors import InputError
from moee_topics.topics import OutlierReduction, TopicModel, merge_topics, reduce_outliers, reduce_topics
from moee_topics.topics.edits import best_topics, refresh, relabel, renumber, replace_documents, threshold_for
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


def test_merged_topics_hold_the_documents_of_both() -> None:
    model = fresh()
    before = model.result.topics
    merge_topics(model, [[1, 3]])
    assert len(model.result.topic_info) == 3
    merged = model.result.topics[np.isin(before, [1, 3])]
    assert len(set(merged.tolist())) == 1
    assert (model.result.topics == merged[0]).sum() == np.isin(before, [1, 3]).sum()
    assert_consistent(model)


@pytest.mark.parametrize("groups", [[], [[1]], [[1, 9]], [[1, -1]], [[0, 1], [1, 2]]])
def test_groups_that_cannot_be_merged_are_refused(groups: list[list[int]]) -> None:
    with pytest.raises(InputError, match="groups of at least two topics"):
        merge_topics(fresh(), groups)


def test_topics_are_reduced_to_the_number_asked() -> None:
    model = fresh()
    reduce_topics(model, 2)
    assert len(model.result.topic_info) == 2
    assert_consistent(model)
    with pytest.raises(InputError, match="from 2"):
        reduce_topics(model, 1)


def test_a_loaded_model_without_backend_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="backend="):
        merge_topics(TopicModel.load(saved()), [[0, 1]])


def test_a_change_by_bertopics_own_method_is_taken_over() -> None:
    model = fresh()
    model.model.merge_topics(DOCUMENTS, [0, 1])
    refresh(model)
    assert_consistent(model)


def test_the_backend_of_a_model_is_the_one_given_after_every_change() -> None:
    mine = backend()
    model = TopicModel.load(saved(), backend=mine)
    model.X = mine.embed_documents(DOCUMENTS)
    merge_topics(model, [[0, 1]])
    assert model.model.embedding_model is mine


def test_other_documents_take_the_place_of_those_of_a_fit_and_names_stay() -> None:
    model = fresh()
    gone, keep = model.result.topics == 1, np.flatnonzero(model.result.topics != 1)
    old, X = model.result, np.asarray(model.X)
    rows = [*keep.tolist(), *np.flatnonzero(gone).tolist()[:2]]
    topics = np.array([*old.topics[keep], 9, 9])
    columns = {"ids": [f"n{row}" for row in rows], "texts": [old.texts[row] for row in rows], "topics": topics}
    changed = replace(old, **columns, probabilities=old.probabilities[rows], positions=old.positions[rows],
                      labels=None, timestamps=None)  # fmt: skip
    replace_documents(model, changed, X[rows])
    assert_consistent(model)
    assert sorted(topic.topic for topic in model.result.topic_info) == [*{*old.topics} - {1}, 9]
    assert all(model.result.topic(topic).name == old.topic(topic).name for topic in (0, 2, 3))
    assert model.fitted_topics([old.texts[rows[-1]], "never seen"]).tolist() == [9, -2]


def test_renumbered_topics_are_the_same_topics() -> None:
    model = fresh(outliers=OUTLIERS)
    before, words = model.result, model.model.c_tf_idf_.toarray()
    renumber(model, {0: 7, 1: 0, 2: 12, 3: 2}, {12: "twelve"})
    assert_consistent(model)
    new = {-1: -1, 0: 7, 1: 0, 2: 12, 3: 2}
    assert model.result.topics.tolist() == [new[topic] for topic in before.topics.tolist()]
    assert all(model.result.topic(new[topic.topic]).words == topic.words for topic in before.topic_info)
    assert model.result.topic(12).name == "twelve"
    assert np.array_equal(model.model.c_tf_idf_.toarray(), words[[0, 2, 4, 1, 3]])
    model.save(folder := Path(mkdtemp(dir=temporary().name)))
    again = TopicModel.load(folder, backend=backend())
    assert again.model.topics_ == model.result.topics.tolist()
    relabel(again, again.result.topics)
    assert_consistent(again)


@pytest.mark.parametrize("strategy", ["embeddings", "c-tf-idf"])
def test_outliers_of_a_model_with_gaps_between_its_ids_get_an_id_that_exists(strategy: Strategy) -> None:
    model = fresh(outliers=OUTLIERS)
    plain = best_topics(model, np.arange(OUTLIERS), strategy)[0]
    renumber(model, {0: 3, 1: 8, 2: 9, 3: 21}, {})
    assert best_topics(model, np.arange(OUTLIERS), strategy)[0].tolist() == [[3, 8, 9, 21][topic] for topic in plain]
