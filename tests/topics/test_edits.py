from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from fitted_topics import DOCUMENTS, assert_consistent, backend, fresh, saved, temporary

from moee_topics.errors import InputError
from moee_topics.topics import TopicModel, merge_topics, reduce_topics
from moee_topics.topics.edits import refresh, relabel, renumber, replace_documents

OUTLIERS = 40


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
