"""Figures as plain SVG text, for papers and slides; everything that comes from a corpus is escaped."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

from moee_topics.defaults import COLOURS, GREY, OUTLIERS
from moee_topics.evaluate import ExpertReport
from moee_topics.report.map_points import clipped_places, sampled_rows, topic_colours
from moee_topics.run_folder import RunFolder, title

FONT = "font-family='Segoe UI, Roboto, DejaVu Sans, sans-serif'"
SIDE = 900
NAMED = 25


def map_svg(run: RunFolder, sample: int = 20_000) -> str:
    """The document map: a point for each of at most `sample` documents, and the names of the largest topics."""
    rows = sampled_rows(run.result.topics, sample)
    places = clipped_places(run) * SIDE
    places[:, 1] = SIDE - places[:, 1]  # SVG counts downwards
    colours = topic_colours(run)
    parts = [_points(places[rows[run.result.topics[rows] == OUTLIERS]], GREY)]
    for topic in run.ranked_topics:
        of_topic = places[rows[run.result.topics[rows] == topic.topic]]
        parts.append(_points(of_topic, COLOURS[colours.get(topic.topic, 0)]))
    boxes = list[tuple[float, float, float]]()
    for topic in run.ranked_topics[:NAMED]:
        inside = run.result.topics == topic.topic
        if not inside.any():
            continue
        half = len(title(topic)) * 4.0  # a letter of this size is 8 wide, as near as can be told without the font
        x, y = np.median(places[inside], axis=0)
        x = min(max(x, half + 4), SIDE - half - 4)
        if not any(abs(x - a) < half + c and abs(y - b) < 18 for a, b, c in boxes):
            boxes.append((float(x), float(y), half))
            parts.append(_text(x, y, title(topic), "middle", bold=True))
    return _svg(SIDE, SIDE, parts, f"Document map of {run.name}")


def topics_svg(run: RunFolder, topics: int = 20) -> str:
    """The largest topics as bars."""
    shown, row, left, width = run.ranked_topics[:topics], 26, 300, 380
    most = max((topic.count for topic in shown), default=1) or 1
    parts = []
    for place, topic in enumerate(shown):
        y, length = 14 + place * row, width * topic.count / most
        parts += [
            _text(left - 10, y + 13, title(topic), "end"),
            Markup("<rect x='{}' y='{}' width='{:.1f}' height='18' fill='{}'/>").format(left, y, length, COLOURS[0]),
            _text(left + length + 6, y + 13, f"{topic.count:,}"),
        ]
    return _svg(760, 24 + row * len(shown), parts, f"The largest topics of {run.name}")


def layers_svg(experts: ExpertReport) -> str:
    """How much of the topics each layer's routing carries, beside the same for shuffled topics."""
    height, left, base = 260, 60, 225
    step = min(40.0, 640 / max(experts.layers, 1))
    top = max([0.01, *(max(layer.information, layer.information_shuffled) for layer in experts.information)])
    parts = [_text(left - 8, 24, f"{100 * top:.0f} %", "end"), _text(left - 8, base, "0 %", "end")]
    for layer in experts.information:
        x = left + (layer.layer + 0.5) * step
        for value, offset, colour in ((layer.information, -0.4, COLOURS[0]), (layer.information_shuffled, 0.02, GREY)):
            tall = (base - 20) * value / top
            bar = "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='{}'/>"
            parts.append(Markup(bar).format(x + offset * step, base - tall, 0.38 * step, tall, colour))
        parts.append(_text(x, base + 18, str(layer.layer), "middle"))
    return _svg(int(left + step * experts.layers + 20), height, parts, "Topic information in each layer's routing")


def _points(places: np.ndarray, colour: str) -> Markup:
    # Strokes without length and with round ends are dots: one element for a topic instead of one for a document.
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
    path = "<path d='{}' stroke='{}' stroke-width='3' stroke-linecap='round' stroke-opacity='.7' fill='none'/>"
    return Markup(path).format(dots, colour)


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> Markup:
    style = Markup(" font-weight='600' stroke='#fff' stroke-width='4' paint-order='stroke'") if bold else Markup("")
    element = "<text x='{:.1f}' y='{:.1f}' font-size='13' fill='#1d2430' text-anchor='{}'{}>{}</text>"
    return Markup(element).format(x, y, anchor, style, text)


def _svg(width: int, height: int, parts: list[Markup], name: str) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"role='img' {FONT}><title>{escape(name)}</title><rect width='100%' height='100%' fill='#fff'/>"
    )
    return head + "".join(parts) + "</svg>\n"
