from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.topics.plots import document_map, topic_sizes, topic_words, trends
from moee_topics.topics.result import OUTLIERS, Topic, TopicResult

HOSTILE = "<script>alert('x')</script>"


def result(**changed: object) -> TopicResult:
    given: dict[str, object] = {
        "ids": ["a", "b", "c", "d", "e"],
        "texts": ["orbit one", HOSTILE, "puck one", "orbit two", "puck two"],
        "topics": np.array([0, OUTLIERS, 1, 0, 0]),
        "probabilities": np.array([0.5, 0.0, 1.0, 0.9, 0.7], dtype=np.float32),
        "positions": np.arange(10, dtype=np.float32).reshape(5, 2),
        "topic_info": [
            Topic(OUTLIERS, 1, "outliers", [("the", 0.1)]),
            Topic(0, 3, "orbit", [("orbit", 0.9), (HOSTILE, 0.2)], {"mmr": [("rocket", 0.5)]}, [0, 4]),
            Topic(1, 1, "puck", [("puck", 0.8)]),
        ],
        "labels": ["space", "none", "hockey", "space", "space"],
        "timestamps": ["1993-04-01"] * 5,
    }
    return TopicResult(**{**given, **changed})  # type: ignore[arg-type]


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


def test_the_map_draws_every_document_once_and_escapes_its_text() -> None:
    figure = document_map(result(), topics=1)
    assert [trace.name for trace in figure.data] == ["outliers and other topics", "0: orbit"]
    assert sum(len(trace.x) for trace in figure.data) == 5
    assert "<script>" not in figure.to_json()
    assert sum(len(trace.x) for trace in document_map(result(), most=2).data) == 2


def test_bars_show_topics_and_words() -> None:
    assert list(topic_sizes(result()).data[0].x) == [1, 3]
    assert list(topic_words(result(), [1]).data[0].y) == ["puck"]
    assert "<script>" not in topic_words(result()).to_json()
    with pytest.raises(InputError):
        topic_words(result(), [9])


def test_trends_draw_a_line_per_topic() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {"topic": [0, 0, 1], "timestamp": ["1993", "1994", "1993"], "frequency": [2, 1, 1], "words": ["a", "b", "c"]}
    )
    lines = trends(result(), frame).data
    assert [list(line.y) for line in lines] == [[2, 1], [1]]
