"""Plotly figures of a topic result, for notebooks; plotly is loaded when a figure is made.

>>> from moee_topics.topics import plots
>>> plots.document_map(model.result).show()  # doctest: +SKIP
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import COLOURS, GREY, SEED
from moee_topics.errors import InputError
from moee_topics.messages import counted
from moee_topics.topics.result import OUTLIERS, Topic, TopicResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

TEXT_SHOWN = 160


def document_map(result: TopicResult, *, top_n_topics: int = 20, most: int = 20_000, seed: int = SEED) -> Figure:
    """Every document as a point, coloured by topic; pointing at one shows its text.

    Args:
        result: a fitted model's result.
        top_n_topics: how many of the largest topics get a colour and an entry in the legend; the others are grey.
        most: documents drawn; of more, a seeded random part.
        seed: of that part.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(result))[:most])
    named = [info for info in result.topic_info if info.topic != OUTLIERS][:top_n_topics]
    rest = rows[~np.isin(result.topics[rows], [info.topic for info in named])]
    figure = _figure(f"{counted(len(result), 'document')}, {counted(result.topic_count, 'topic')}", height=650)
    figure.add_trace(_points(result, rest, "outliers and other topics", GREY, opacity=0.4))
    for place, info in enumerate(named):
        of_topic = rows[result.topics[rows] == info.topic]
        figure.add_trace(_points(result, of_topic, _title(info), COLOURS[place % len(COLOURS)]))
    figure.update_xaxes(visible=False).update_yaxes(visible=False, scaleanchor="x")
    return figure


def topic_sizes(result: TopicResult, *, top_n_topics: int = 20) -> Figure:
    """The largest topics as bars."""
    from plotly.graph_objects import Bar

    smallest_first = [info for info in result.topic_info if info.topic != OUTLIERS][:top_n_topics][::-1]
    figure = _figure("Documents per topic", height=120 + 24 * len(smallest_first))
    bars = Bar(x=[info.count for info in smallest_first], y=[_title(info) for info in smallest_first], orientation="h")
    return figure.add_trace(bars.update(marker_color=COLOURS[0]))


def topic_words(result: TopicResult, topics: Sequence[int] | None = None, *, top_n_words: int = 8) -> Figure:
    """The words of some topics with their weights, side by side; the eight largest topics by default.

    Raises:
        InputError: a topic this result has not.
    """
    from plotly.graph_objects import Bar
    from plotly.subplots import make_subplots

    largest = [info.topic for info in result.topic_info if info.topic != OUTLIERS][:8]
    infos = [result.topic(topic) for topic in (largest if topics is None else topics)]
    if not infos:
        raise InputError("There are no topics to show.")
    columns = min(4, len(infos))
    height = -(-len(infos) // columns)
    # Plotly reads titles and labels as a part of HTML, and words come from other people's texts.
    titles = [f"{info.topic}: {html.escape(info.name)[:28]}" for info in infos]
    figure = make_subplots(height, columns, subplot_titles=titles, horizontal_spacing=0.1)
    for place, info in enumerate(infos):
        best = list(info.words)[:top_n_words][::-1]
        bar = Bar(x=[weight for _, weight in best], y=[html.escape(word) for word, _ in best], orientation="h")
        bar.update(marker_color=COLOURS[place % len(COLOURS)], showlegend=False)
        figure.add_trace(bar, place // columns + 1, place % columns + 1)
    return figure.update_layout(template="plotly_white", height=260 * height)


def trends(result: TopicResult, over_time: pd.DataFrame, topics: Sequence[int] | None = None) -> Figure:
    """How often topics come up over time; the eight largest by default.

    Args:
        result: names the topics.
        over_time: what :func:`moee_topics.topics.topics_over_time` returned.
        topics: which topics to draw.
    """
    from plotly.graph_objects import Scatter

    largest = [info.topic for info in result.topic_info if info.topic != OUTLIERS][:8]
    figure = _figure("Topics over time", height=420)
    for place, topic in enumerate(largest if topics is None else topics):
        of_topic = over_time[over_time["topic"] == topic]
        line = Scatter(x=of_topic["timestamp"], y=of_topic["frequency"], name=_title(result.topic(topic)))
        line.update(mode="lines+markers", line_color=COLOURS[place % len(COLOURS)])
        line.update(text=[html.escape(words) for words in of_topic["words"]])
        figure.add_trace(line)
    return figure.update_yaxes(title="documents")


def _figure(title: str, height: int) -> Figure:
    from plotly.graph_objects import Figure

    return Figure().update_layout(template="plotly_white", title=title, height=height, legend_itemsizing="constant")


def _points(result: TopicResult, rows: NDArray[np.int64], name: str, colour: str, opacity: float = 0.75) -> Any:
    from plotly.graph_objects import Scattergl

    # Scattergl and not Scatter: points in SVG are elements, and a page holds some thousand of these at most.
    x, y = result.positions[rows].T
    text = [html.escape(result.texts[row][:TEXT_SHOWN].replace("\n", " ")) for row in rows.tolist()]
    points = Scattergl(x=x, y=y, mode="markers", name=name, text=text, hovertemplate="%{text}")
    return points.update(marker={"size": 5, "color": colour, "opacity": opacity})


def _title(info: Topic) -> str:
    name = html.escape(info.name)
    return f"{info.topic}: {name if len(name) <= 44 else name[:43] + '…'}"
