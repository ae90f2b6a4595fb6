from __future__ import annotations

import pytest
from topic_results import result

from moee_topics.errors import InputError
from moee_topics.topics.plots import document_map, topic_sizes, topic_words, trends


def test_the_map_draws_every_document_once_and_escapes_its_text() -> None:
    figure = document_map(result(), top_n_topics=1)
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
