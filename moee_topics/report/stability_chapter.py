"""The chapter on stability: what several fits of the corpus have in common, and which topics they all find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moee_topics.report.numerals import as_count, as_decimal
from moee_topics.report.verdicts import Level, stability_verdict, topic_verdict
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

    @classmethod
    def of(cls, name: str, fits: Mapping[str, Any]) -> FitsRow:
        """From one section of ``stability.json``."""
        counts = [count for count in fits.get("topics") or [] if isinstance(count, int)]
        few, many = min(counts, default=0), max(counts, default=0)
        return cls(
            name=name,
            fits=as_count(fits.get("fits")),
            ami=as_decimal(fits.get("ami")),
            lowest=as_decimal(fits.get("ami_lowest")),
            words=as_decimal(fits.get("words")),
            topics=f"{few:,}" if few == many else f"{few:,} to {many:,}",
        )


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
    level: Level
    mark: str


@dataclass(frozen=True)
class StabilityChapter:
    """Everything the chapter shows.

    Attributes:
        verdict: two sentences on all of it.
        kinds: the ways of fitting again.
        fits: a row for each of them.
        topics: a row for each topic, the least stable first.
    """

    verdict: str
    kinds: Sequence[str]
    fits: Sequence[FitsRow]
    topics: Sequence[TopicRow]


def stability_chapter(run: RunFolder) -> StabilityChapter | None:
    """The chapter of a run; None where it was not fitted again. What cannot be read in the file is a dash."""
    stability = run.stability or {}
    kinds = [kind for kind in KINDS if isinstance(stability.get(kind), Mapping)]
    if not kinds:
        return None
    by_topic = stability.get("topics")
    topics = []
    for topic in run.ranked_topics:
        of_topic = by_topic.get(str(topic.topic)) if isinstance(by_topic, Mapping) else None
        jaccards = [of_topic.get(kind) if isinstance(of_topic, Mapping) else None for kind in kinds]
        lowest = min((value for value in jaccards if isinstance(value, (int, float))), default=None)
        level, mark = topic_verdict(lowest)
        topics.append(TopicRow(topic, [as_decimal(value) for value in jaccards], lowest, level, mark))
    # The lowest of a topic's figures: one that only other seeds find again hangs on a few documents.
    lowest_of_each = [row.lowest for row in topics if row.lowest is not None]
    return StabilityChapter(
        verdict=stability_verdict(stability[kinds[0]].get("ami"), lowest_of_each),
        kinds=[KINDS[kind] for kind in kinds],
        fits=[FitsRow.of(KINDS[kind], stability[kind]) for kind in kinds],
        topics=sorted(topics, key=lambda row: (row.lowest is None, row.lowest or 0.0, row.topic.topic)),
    )
