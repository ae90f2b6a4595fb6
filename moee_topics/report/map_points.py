"""The points of the document map: which documents are drawn, where, and in which colour."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import COLOURS
from moee_topics.run_folder import RunFolder

Floats = NDArray[np.floating]


def sampled_rows(topics: NDArray[np.integer], sample: int) -> NDArray[np.integer]:
    """Rows of at most `sample` documents, in which every topic keeps its share."""
    if len(topics) <= sample:
        return np.arange(len(topics))
    by_topic = np.argsort(topics, kind="stable")
    return np.sort(by_topic[np.linspace(0, len(topics) - 1, sample).astype(int)])


def to_unit(points: Floats, positions: Floats) -> Floats:
    """Points in a unit square that keeps the shape of all positions."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    side = max(float((high - low).max()), 1e-9)
    return np.asarray((points - (low + high) / 2) / side + 0.5)


def clipped_places(run: RunFolder) -> Floats:
    """(N, 2) map positions in the unit square; the few points far from all others are put on its edge."""
    positions = run.positions
    if not len(positions):
        return positions
    # One document far away would shrink all others to a spot, so the square is that of 98 % of them.
    low, high = np.quantile(positions, [0.01, 0.99], axis=0)
    return np.asarray(np.clip(to_unit(positions, np.stack([low, high])), -0.06, 1.06) * 0.88 + 0.06)


def packed_points(run: RunFolder, sample: int, on_page: NDArray[np.integer]) -> dict[str, Any]:
    """At most `sample` documents of the map, evenly from all topics, as base64 of 16-bit numbers.

    Args:
        run: the run.
        sample: points at most.
        on_page: the rows of the documents that the page holds, in rising order.
    """
    places_on_page = sampled_rows(run.result.topics[on_page], sample)
    rows = on_page[places_on_page]
    # 16 bits are finer than any screen, and shorter than the same numbers as JSON.
    unit = np.round(to_unit(run.positions[rows], run.positions) * 65535) if len(rows) else np.zeros((0, 2))
    numbers = {topic.topic: place for place, topic in enumerate(run.result.topic_info)}
    places = np.array([numbers.get(int(topic), 0) for topic in run.result.topics[rows]])
    return {
        "x": _base64(unit[:, 0], np.uint16),
        "y": _base64(65535 - unit[:, 1], np.uint16),  # a canvas counts downwards
        "topic": _base64(places, np.uint16),
        "row": _base64(places_on_page, np.uint32),
        "shown": len(rows),
    }


def _base64(values: NDArray[Any], kind: type[np.unsignedinteger[Any]]) -> str:
    # "<": a browser's typed arrays are little-endian on every machine that has one.
    little_endian = np.clip(values, 0, np.iinfo(kind).max).astype(f"<{np.dtype(kind).str[1:]}")
    return base64.b64encode(little_endian.tobytes()).decode()


def topic_colours(run: RunFolder) -> dict[int, int]:
    """A colour number for every topic: the ten largest have their own, and no two near neighbours share one.

    Topics of an updated run keep the colour that they had before.
    """
    centres = {
        t.topic: np.median(run.positions[run.result.topics == t.topic], axis=0) for t in run.ranked_topics if t.count
    }
    before = run.section("update").get("colours", {})
    colours: dict[int, int] = {t.topic: before[str(t.topic)] for t in run.ranked_topics if str(t.topic) in before}
    for topic in run.ranked_topics:
        if topic.topic in colours:
            continue
        if unused := [colour for colour in range(len(COLOURS)) if colour not in colours.values()]:
            colours[topic.topic] = unused[0]
            continue
        at = centres.get(topic.topic, np.zeros(2))
        nearest = dict.fromkeys(range(len(COLOURS)), np.inf)
        for other, colour in colours.items():
            # By the nearest topic of each colour: what must differ is what touches on the map.
            nearest[colour] = min(nearest[colour], float(np.linalg.norm(centres.get(other, at) - at)))
        colours[topic.topic] = max(nearest, key=lambda colour: nearest[colour])
    return colours
