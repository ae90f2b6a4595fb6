"""The chapter on stability: what several fits of the corpus have in common, and which topics they all find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moee_topics.report import reading
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Topic

KINDS = {"seeds": "Other seeds", "bootstrap": "Bootstrap samples"}


@dataclass(frozen=True)
class FitsRow:
    """One way of fitting again, as text: how many fits, their agreement, words and numbers of topics."""

    name: str
    fits: str
    ami: str
    lowest: str
    words: str
    topics: str


@dataclass(frozen=True)
class TopicRow:
    """How well one topic is found again.

    Attributes:
        topic: of the run.
        figures: one for each way of fitting again, as text.
        lowest: the lowest of them, by which it is read; None where there is none.
        level: for its colour.
        mark: the reading in a word.
    """

    topic: Topic
    figures: Sequence[str]
    lowest: float | None
    level: reading.Level
    mark: str


@dataclass(frozen=True)
class StabilityChapter:
    """Everything the chapter shows.

    Attributes:
        reading: two sentences on all of it.
        kinds: the ways of fitting again.
        fits: a row for each of them.
        topics: a row for each topic, the least stable first.
    """

    reading: str
    kinds: Sequence[str]
    fits: Sequence[FitsRow]
    topics: Sequence[TopicRow]


def stability_chapter(run: RunFolder) -> StabilityChapter | None:
    """The chapter of a run; None where its stability was not measured."""
    stability = run.stability or {}
    kinds = [kind for kind in KINDS if isinstance(stability.get(kind), Mapping)]
    if not kinds:
        return None
    by_topic = stability.get("topics")
    topics = [
        _topic_row(topic, by_topic if isinstance(by_topic, Mapping) else {}, kinds) for topic in run.ranked_topics
    ]
    again = [row.lowest for row in topics if row.lowest is not None]
    return StabilityChapter(
        reading=reading.read_stability(stability[kinds[0]].get("ami"), again),
        kinds=[KINDS[kind] for kind in kinds],
        fits=[_fits_row(KINDS[kind], stability[kind]) for kind in kinds],
        topics=sorted(topics, key=lambda row: (row.lowest is None, row.lowest or 0.0, row.topic.topic)),
    )


def _fits_row(name: str, fits: Mapping[str, Any]) -> FitsRow:
    counts = [count for count in fits.get("topics") or [] if isinstance(count, int)]
    few, many = min(counts, default=0), max(counts, default=0)
    return FitsRow(
        name=name,
        fits=reading.number(fits.get("fits")),
        ami=reading.figure(fits.get("ami")),
        lowest=reading.figure(fits.get("ami_lowest")),
        words=reading.figure(fits.get("words")),
        topics=f"{few:,}" if few == many else f"{few:,} to {many:,}",
    )


def _topic_row(topic: Topic, by_topic: Any, kinds: Sequence[str]) -> TopicRow:
    of_topic = by_topic.get(str(topic.topic)) if isinstance(by_topic, Mapping) else None
    values = [of_topic.get(kind) if isinstance(of_topic, Mapping) else None for kind in kinds]
    lowest = min((value for value in values if isinstance(value, (int, float))), default=None)
    level, mark = reading.read_found_again(lowest)
    return TopicRow(topic, [reading.figure(value) for value in values], lowest, level, mark)
