from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from bag_of_words import THEMES
from fitted_topics import DOCUMENTS, LABELS, TIMESTAMPS, fitted, fresh
from scipy.sparse import csr_matrix
from sklearn.metrics.pairwise import cosine_similarity

from moee_topics.errors import InputError
from moee_topics.topics import hierarchical_topics, merge_topics, renumber, topics_over_time, topics_per_class
from moee_topics.topics.relations import cosine_distances


def test_the_hierarchy_joins_all_topics_in_one_row_less_than_there_are() -> None:
    frame = hierarchical_topics(fitted())
    assert len(frame) == 3
    assert sorted(frame.iloc[0]["topics"]) == [0, 1, 2, 3]
    assert list(frame["distance"]) == sorted(frame["distance"], reverse=True)
    assert set(frame["parent"]) == {4, 5, 6}
    children = [*frame["left"], *frame["right"]]
    assert sorted(children) == [0, 1, 2, 3, 4, 5]


def test_the_hierarchy_is_silent_and_leaves_the_model_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = fitted().model.representation_model
    hierarchical_topics(fitted())
    assert capsys.readouterr() == ("", "")
    assert fitted().model.representation_model is before


def test_the_distance_of_equal_rows_is_nothing_and_never_below() -> None:
    """Their cosine in float32 can be 1 + 1e-7, and upstream ends a run where a distance is negative."""
    rows = np.random.default_rng(0).random((200, 50)).astype(np.float32)
    twice = csr_matrix(np.vstack([rows, rows]))
    assert (1 - cosine_similarity(twice)).min() < 0, "what is clipped"
    distances = cosine_distances(twice)
    assert distances.min() == 0 and np.allclose(np.diag(distances), 0, atol=1e-6)
    assert np.allclose(distances, np.maximum(1 - cosine_similarity(twice), 0), atol=0)


def test_topics_of_the_same_words_are_joined_at_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh()
    monkeypatch.setattr(model.model, "c_tf_idf_", model.model.c_tf_idf_[[1, 1, 2, 3]].astype(np.float32))
    frame = hierarchical_topics(model)
    assert len(frame) == 3 and frame["distance"].iloc[-1] == pytest.approx(0, abs=1e-6)
    assert (frame["distance"] >= 0).all()


def test_one_topic_has_no_hierarchy() -> None:
    model = fresh()
    merge_topics(model, [[0, 1, 2, 3]])
    assert len(hierarchical_topics(model)) == 0


def test_every_document_is_counted_once_over_time() -> None:
    frame = topics_over_time(fitted(), bins=5)
    assert frame["frequency"].sum() == len(DOCUMENTS)
    assert frame["timestamp"].nunique() == 5
    assert list(frame.columns) == ["topic", "timestamp", "frequency", "words"]
    april = [row for row, time in enumerate(TIMESTAMPS) if time < "1993-04-07"]
    first = frame[frame["timestamp"] == frame["timestamp"].min()]
    counts = {topic: int((fitted().result.topics[april] == topic).sum()) for topic in first["topic"]}
    assert dict(zip(first["topic"], first["frequency"], strict=True)) == counts


def test_few_times_stay_as_they_are_and_missing_ones_are_left_out() -> None:
    times = ["1993-04-01" if row % 2 else "" for row in range(len(DOCUMENTS))]
    frame = topics_over_time(fitted(), times)
    assert {str(time)[:10] for time in frame["timestamp"]} == {"1993-04-01"}
    assert frame["frequency"].sum() == len(DOCUMENTS) // 2


@pytest.mark.parametrize("microseconds", [1_000, 10_000, 50_000])
def test_stretches_shorter_than_two_seconds_stay_apart(microseconds: int) -> None:
    start = datetime(1993, 4, 1, 10, 30, 0, 500_000)
    times = [start + timedelta(microseconds=microseconds * row) for row in range(len(DOCUMENTS))]
    frame = topics_over_time(fitted(), times, bins=5)
    assert frame["timestamp"].nunique() == 5 and frame["frequency"].sum() == len(DOCUMENTS)


@pytest.mark.parametrize("times", [["soon"] * len(DOCUMENTS), [""] * len(DOCUMENTS), ["1993-04-01"]])
def test_unreadable_times_are_refused(times: list[str]) -> None:
    with pytest.raises(InputError, match=r"[Tt]imestamp"):
        topics_over_time(fitted(), times)


def test_every_document_is_counted_once_per_class() -> None:
    frame = topics_per_class(fitted())
    assert frame["frequency"].sum() == len(DOCUMENTS)
    for topic, label, frequency in frame[["topic", "label", "frequency"]].itertuples(index=False):
        assert frequency == sum(
            of == topic and name == label for of, name in zip(fitted().result.topics, LABELS, strict=True)
        )


def test_words_of_a_class_are_words_of_its_theme() -> None:
    frame = topics_per_class(fitted())
    for label, words in THEMES.items():
        row = frame[frame["label"] == label].iloc[0]
        assert set(row["words"].split(", ")) & set(words.split())


def test_looking_at_time_and_classes_does_not_change_the_model() -> None:
    """BERTopic's own methods normalize the c-TF-IDF in place."""
    before = fitted().model.c_tf_idf_.toarray().copy()
    topics_over_time(fitted())
    topics_per_class(fitted())
    assert np.array_equal(fitted().model.c_tf_idf_.toarray(), before)


def test_labels_must_be_one_per_document() -> None:
    with pytest.raises(InputError, match="172 documents"):
        topics_per_class(fitted(), ["a", "b"])


@pytest.mark.parametrize("missing", ["", None, float("nan")])
def test_documents_without_a_label_are_in_no_class(missing: Any) -> None:
    labels = [missing if row % 2 else label for row, label in enumerate(LABELS)]
    frame = topics_per_class(fitted(), labels)
    assert set(frame["label"]) == set(LABELS)
    assert frame["frequency"].sum() == len(DOCUMENTS) // 2
    with pytest.raises(InputError, match="No document has a label"):
        topics_per_class(fitted(), [missing] * len(DOCUMENTS))


def test_the_hierarchy_of_ids_with_gaps_is_that_of_the_same_topics() -> None:
    plain, model = hierarchical_topics(fitted()), fresh()
    new = {0: 3, 1: 8, 2: 0, 3: 21}
    renumber(model, new, {})
    tree = hierarchical_topics(model)
    joined = {frozenset(new[topic] for topic in topics) for topics in plain["topics"]}
    assert {frozenset(topics) for topics in tree["topics"]} == joined
    assert sorted(tree["parent"]) == [22, 23, 24] and set(tree["left"]) | set(tree["right"]) >= set(new.values())
    assert model.model.topics_ == model.result.topics.tolist(), "the model is not changed"
