from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from topic_results import result

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.topics.result import Topic, TopicResult


def test_a_saved_result_comes_back_equal(tmp_path: Path) -> None:
    result().save(tmp_path)
    again = TopicResult.load(tmp_path)
    assert again.topic_info == [
        Topic(info.topic, info.count, info.name, list(info.words), dict(info.aspects), list(info.representative_docs))
        for info in result().topic_info
    ]
    assert (again.ids, again.texts, again.labels) == (result().ids, result().texts, result().labels)
    assert np.array_equal(again.topics, result().topics)
    assert np.array_equal(again.positions, result().positions)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="per document"):
        result(ids=["a"])


def test_an_unknown_topic_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="-1, 0, 1"):
        result().topic(7)


def test_what_a_notebook_shows_is_escaped() -> None:
    for shown in (result()._repr_html_(), result().topic(0)._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;script&gt;" in shown
    assert "5 documents, 2 topics, 20.0% outliers" in result()._repr_html_()


def test_a_notebook_shows_no_empty_word_and_breaks_a_long_one() -> None:
    shown = Topic(0, 1, "name", [("x" * 240, 1.0), ("", 0.0), ("", 0.0)])._repr_html_()
    assert f">{'x' * 240}</td>" in shown and "overflow-wrap:anywhere" in shown


def test_a_notebook_shows_the_largest_topics_and_says_how_many_more_there_are() -> None:
    info = [Topic(topic, 1, f"name{topic}", []) for topic in range(40)]
    shown = result(topic_info=info)._repr_html_()
    assert shown.count("<tr>") == 16
    assert "25 smaller topics" in shown


def test_frames_have_one_row_per_document_and_agree() -> None:
    frame = result().to_pandas()
    assert list(frame.columns) == ["id", "text", "topic", "name", "probability", "x", "y", "label", "timestamp"]
    assert list(frame["name"]) == ["orbit", "outliers", "puck", "orbit", "orbit"]
    pytest.importorskip("polars")
    assert result().to_polars().to_dicts() == frame.to_dict("records")


def test_without_polars_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match="notebooks"):
        result().to_polars()


def test_the_topics_frame_has_a_column_per_representation() -> None:
    frame = result().topics_frame()
    assert list(frame.columns) == ["topic", "count", "share", "name", "words", "mmr"]
    assert frame["share"].tolist() == [0.2, 0.6, 0.2]


def test_documents_of_a_topic_come_representative_ones_first() -> None:
    assert result().documents_of(0) == ["orbit one", "puck two", "orbit two"]
    assert result().documents_of(0, most=1) == ["orbit one"]
