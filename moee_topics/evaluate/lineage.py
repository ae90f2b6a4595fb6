"""What became of topics from one version of a run to another, where the same id is the same topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

import numpy as np

from moee_topics.defaults import OUTLIERS
from moee_topics.evaluate.agreement import Topics, same_length

FIFTH, HALF = 0.2, 0.5


class TopicEvent(TypedDict):
    """Something that happened to a topic.

    ``born``: its id is new, and ``topics`` are the old ones that a fifth of its documents or more were in. ``split``:
    parts of it, a fifth or more each, are topics that were not there before. ``merged``: it is gone, and half of it or
    more is in one topic. ``gone``: none of these; its id is never used again. Shares are of the documents that both
    versions have.
    """

    topic: int
    event: Literal["born", "split", "merged", "gone"]
    topics: list[tuple[int, float]]


def topic_lineage(
    before: Topics, after: Topics, topics_before: Iterable[int], topics_after: Iterable[int]
) -> list[TopicEvent]:
    """The topics that are not simply there as before, by id.

    Args:
        before: topic of every document that both versions have, in the earlier one.
        after: in the later one.
        topics_before: all topics of the earlier version, those included that none of these documents is in.
        topics_after: all topics of the later one.

    Raises:
        InputError: the versions differ in length.
    """
    first, second = same_length(before, after)
    old, new = ({int(topic) for topic in topics} - {OUTLIERS} for topics in (topics_before, topics_after))
    events: list[TopicEvent] = []
    for topic in sorted(old | new):
        if topic not in old:
            events.append({"topic": topic, "event": "born", "topics": _shares(first[second == topic])})
            continue
        partners = _shares(second[first == topic])
        others = [(other, share) for other, share in partners if other != topic]
        if topic in new:
            # What went to a topic that was there before is a move of documents and no split.
            parts = [(other, share) for other, share in others if other not in old]
            events += [{"topic": topic, "event": "split", "topics": parts}] if parts else []
        elif len(others) > 1 and not {other for other, _ in others} & old:  # all of it is in topics that are new
            events.append({"topic": topic, "event": "split", "topics": others})
        elif others and others[0][1] >= HALF:
            events.append({"topic": topic, "event": "merged", "topics": others})
        else:
            events.append({"topic": topic, "event": "split" if len(others) > 1 else "gone", "topics": others})
    return events


def _shares(topics: Topics) -> list[tuple[int, float]]:
    """The topics that hold a fifth of some documents or more, the largest first."""
    numbers, counts = np.unique(topics, return_counts=True)
    # At least one: a topic may hold none of the documents that both versions have.
    shares = zip(numbers.tolist(), (counts / max(1, len(topics))).tolist(), strict=True)
    parts = [(topic, round(share, 4)) for topic, share in shares if topic != OUTLIERS and share >= FIFTH]
    return sorted(parts, key=lambda part: (-part[1], part[0]))
