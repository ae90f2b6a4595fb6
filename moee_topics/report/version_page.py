"""Two versions of an updated run side by side: what became of every topic, and which documents moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moee_topics.errors import InputError
from moee_topics.evaluate import TopicEvent, topic_lineage
from moee_topics.messages import counted
from moee_topics.report.numerals import as_percent
from moee_topics.report.template import render, template_text
from moee_topics.report.text_table import TextTable, html_section
from moee_topics.run_folder import VERSIONS, RunFolder, title
from moee_topics.store import write_text
from moee_topics.topics import OUTLIERS, Topic

WORDS = 10
MOVED_SHOWN = 500
EXCERPT = 160


@dataclass(frozen=True)
class TopicChange:
    """One topic in two versions.

    Attributes:
        topic: its id.
        name: in the later version, or in the earlier one if it is gone.
        events: of ``born``, ``merged``, ``gone``, ``split``, ``grown``, ``shrunk`` and ``words``; none where all is as
            it was.
        before: documents in the earlier version.
        after: in the later one.
        partners: topics it came from or went to, with the share of its documents.
        gained: words that it has now.
        lost: words that it had.
    """

    topic: int
    name: str
    events: Sequence[str]
    before: int
    after: int
    partners: Sequence[tuple[int, float]]
    gained: Sequence[str]
    lost: Sequence[str]


@dataclass(frozen=True)
class Move:
    """A document of both versions that is in another topic now."""

    id: str
    excerpt: str
    before: int
    after: int


@dataclass(frozen=True)
class VersionComparison:
    """Two versions of one run.

    Attributes:
        run: its name.
        versions: the numbers of both.
        documents: how many both have.
        added: documents of the later version alone.
        removed: documents of the earlier one alone.
        topics: every topic of either, by id.
        moved: documents of both in other topics, in their order.
        passing: topics that were born after the earlier version and are gone in the later one, by id.
    """

    run: str
    versions: tuple[int, int]
    documents: int
    added: int
    removed: int
    topics: Sequence[TopicChange]
    moved: Sequence[Move]
    passing: Sequence[int] = ()

    @property
    def passing_note(self) -> str:
        """The topics that neither version shows; empty where there are none."""
        topics = ", ".join(map(str, self.passing))
        return f"Born and gone again between the two, and counted in neither: {topics}." if topics else ""

    @property
    def events(self) -> Mapping[str, int]:
        """How many topics each event happened to."""
        return Counter(event for topic in self.topics for event in topic.events)

    def to_table(self) -> TextTable:
        """The topics to which something happened, and what."""
        rows = [
            (str(topic.topic), topic.name, ", ".join(topic.events), f"{topic.before:,}", f"{topic.after:,}")
            for topic in self.topics
            if topic.events
        ]
        first, second = self.versions
        facts = (
            f"{counted(self.documents, 'document')} in both, {self.added:,} came, {self.removed:,} went, "
            f"{len(self.moved):,} moved to another topic"
        )
        headers = ("nr", "topic", "event", "before", "now")
        return TextTable(
            f"{self.run}: v{first} and v{second}", headers, rows, notes=(facts, *filter(None, [self.passing_note]))
        )

    def _repr_html_(self) -> str:
        """The same table, for a notebook."""
        return html_section(self.to_table())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        facts = {name: getattr(self, name) for name in ("run", "versions", "documents", "added", "removed", "passing")}
        rows = {"topics": [vars(topic) for topic in self.topics], "moved": [vars(move) for move in self.moved]}
        return {**facts, "events": dict(self.events), **rows}


def compare_versions(folder: Path, first: int, second: int) -> VersionComparison:
    """Compares two versions of a run; version 1 is its own fit.

    Raises:
        InputError: there is no run, no such version, or a damaged one.
    """
    run = RunFolder(folder)
    there = [1, *(record["version"] for record in (run.history or {"versions": []})["versions"])]
    for number in (first, second):
        if number not in there:
            numbers = ", ".join(f"v{number}" for number in there)
            raise InputError(f"{folder} has no version v{number}; it has {numbers} (v1 is the run's own fit).")
    # Version 1 lies in the folder itself, of which read() would give the version that holds.
    old, new = (RunFolder.read(run.version(number).path) if number > 1 else run for number in (first, second))
    before, after = old.result, new.result
    # By id and not by place: an update may drop documents and brings new ones.
    topic_before = dict(zip(before.ids, before.topics.tolist(), strict=True))
    rows = [(row, topic_before[name]) for row, name in enumerate(after.ids) if name in topic_before]
    was, now = [topic for _, topic in rows], [int(after.topics[row]) for row, _ in rows]
    of_old, of_new = ({topic.topic: topic for topic in result.topic_info} for result in (before, after))
    lineage = {event["topic"]: event for event in topic_lineage(was, now, of_old, of_new)}
    moved = [
        Move(after.ids[row], " ".join(after.texts[row][: 2 * EXCERPT].split())[:EXCERPT], old, new)
        for (row, old), new in zip(rows, now, strict=True)
        if old != new
    ]
    return VersionComparison(
        run=run.name,
        versions=(first, second),
        documents=len(rows),
        added=len(after) - len(rows),
        removed=len(before) - len(rows),
        topics=[_change(topic, of_old, of_new, lineage.get(topic)) for topic in sorted({*of_old, *of_new})],
        moved=moved,
        passing=[topic for topic in _born_between(run, first, second) if topic not in of_old and topic not in of_new],
    )


def _born_between(run: RunFolder, first: int, second: int) -> list[int]:
    """The topics that were born on the way from one version to the other; none where the other was not made of it."""
    records = {record["version"]: record for record in (run.history or {"versions": []})["versions"]}
    born, number = list[int](), second
    while number in records and number != first:
        born += [event["topic"] for event in records[number]["lineage"] if event["event"] == "born"]
        number = records[number]["parent"]
    return sorted(born) if number == first else []


def _change(
    topic: int, before: Mapping[int, Topic], after: Mapping[int, Topic], event: TopicEvent | None
) -> TopicChange:
    """What became of one topic."""
    old, new = before.get(topic), after.get(topic)
    events: list[str] = [event["event"]] if event else []
    had, has = ([word for word, _ in list(info.words)[:WORDS] if word] if info else [] for info in (old, new))
    gained, lost = [word for word in has if word not in had], [word for word in had if word not in has]
    if old and new:
        events += ["grown"] if new.count > old.count else ["shrunk"] if new.count < old.count else []
        events += ["words"] if topic != OUTLIERS and (gained or lost) else []
    # A topic that is gone is called as it was called last.
    latest = new or old
    return TopicChange(
        topic,
        title(latest) if latest else "",
        events,
        old.count if old else 0,
        new.count if new else 0,
        event["topics"] if event else [],
        gained if old and new else [],
        lost if old and new else [],
    )


def write_versions(folder: Path, comparison: VersionComparison, output: Path | None = None) -> Path:
    """Writes the comparison of two versions as one HTML file, beside the versions unless told where."""
    first, second = comparison.versions
    page = output or Path(folder) / VERSIONS / f"v{first}-v{second}.html"
    names = {topic.topic: topic.name for topic in comparison.topics}
    text = render(
        "versions.html.j2",
        script=template_text("comparison.js"),
        comparison=comparison,
        events=comparison.events,
        names=names,
        partners={
            change.topic: "; ".join(
                f"{topic} {names.get(topic, '')} {as_percent(share)}" for topic, share in change.partners
            )
            for change in comparison.topics
        },
        shown=comparison.moved[:MOVED_SHOWN],
    )
    write_text(page, text)
    return page
