"""What a server keeps in memory of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.run_folder import RunFolder
from moee_topics.serve.service import TopicService


def test_texts_are_documents_as_the_run_read_its_own(service: TopicService) -> None:
    first, second, third = service.documents([("a", "<b>a&amp;b</b>"), ("b", "<br>"), ("a", "plain")])
    assert first is not None and (first.id, first.text) == ("a", "a&b")
    assert second is None
    assert third is not None and (third.id, third.text) == ("a", "plain")


def test_a_text_that_no_corpus_may_hold_is_refused_by_its_id(service: TopicService) -> None:
    with pytest.raises(InputError, match="document long: one document of"):
        service.documents([("long", "a" * 50_000_001)])


def test_the_topics_are_all_those_of_the_run_with_the_outliers_last(service: TopicService) -> None:
    topics, run = service.topics(), service.run
    assert sum(topic.count for topic in topics) == len(run.result.texts)
    assert [topic.topic for topic in topics if topic.topic >= 0] == [topic.topic for topic in run.ranked_topics]
    assert sum(topic.share for topic in topics) == pytest.approx(1, abs=1e-3)


def test_one_by_one_a_vector_is_that_of_its_text_alone(service: TopicService) -> None:
    texts = ["orbit and moon", "the goalie of the hockey team", "tulip"]
    for text, vector in zip(texts, service.vectors_one_by_one(texts), strict=True):
        np.testing.assert_array_equal(vector, service.predictor.vectors([text])[0])


def test_a_topic_shows_the_documents_that_stand_for_it(service: TopicService) -> None:
    for topic in service.run.ranked_topics:
        shown = service.topic(topic.topic)
        assert shown is not None
        rows = {row: service.run.result.ids[row] for row in topic.representative_docs}
        assert [document["id"] for document in shown["documents"]] == list(rows.values())
    assert service.topic(10_000) is None


def test_the_version_that_holds_is_served(service: TopicService, run_folder: Path) -> None:
    assert service.run.path == RunFolder.read(run_folder).path
