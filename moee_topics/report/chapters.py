"""What the chapters of the report show, as values for the template: topics, experts, labels, outliers, the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from moee_topics.report.numerals import as_text
from moee_topics.run_folder import RunFolder, title
from moee_topics.topics import OUTLIERS, Topic

EXCERPT = 220
OUTLIER_SAMPLES = 6
EXPERTS_SHOWN = 300

LabelCounts = Mapping[int, Counter[str]]


@dataclass(frozen=True)
class TopicRow:
    """One row of the topic table."""

    topic: Topic
    share: float
    words: str
    excerpt: str
    label: str
    purity: float
    expert: str
    lift: float


def label_counts(run: RunFolder) -> LabelCounts:
    """How many documents of each label a topic has, outliers included; nothing where there are no labels."""
    counts: dict[int, Counter[str]] = {}
    for topic, label in zip(run.result.topics.tolist(), run.labels or [], strict=False):
        if label:
            counts.setdefault(topic, Counter())[label] += 1
    return counts


def main_label(counts: LabelCounts, topic: int) -> tuple[str, float]:
    """The label that most documents of a topic have, and the share that has it."""
    if topic not in counts:
        return "", 0.0
    label, count = counts[topic].most_common(1)[0]
    return label, count / counts[topic].total()


def excerpt(run: RunFolder, row: int) -> str:
    """The beginning of a document on one line; empty where the run has no such row."""
    text = " ".join((run.result.texts[row] or "").split()) if row < len(run.result) else ""
    return text if len(text) <= EXCERPT else text[:EXCERPT].rstrip() + "…"


def topic_rows(run: RunFolder, counts: LabelCounts) -> list[TopicRow]:
    """The table of topics, the largest first."""
    best = {topic.topic: topic.experts[0] for topic in run.experts.topics if topic.experts} if run.experts else {}
    rows = []
    for topic in run.ranked_topics:
        label, purity = main_label(counts, topic.topic)
        expert = best.get(topic.topic)
        rows.append(
            TopicRow(
                topic=topic,
                share=topic.count / max(len(run.result), 1),
                words=", ".join(word for word, _ in list(topic.words)[:8] if word),
                excerpt=excerpt(run, topic.representative_docs[0]) if topic.representative_docs else "",
                label=label,
                purity=purity,
                expert=f"L{expert.layer} E{expert.expert}" if expert else "",
                lift=expert.lift if expert else 0.0,
            )
        )
    return rows


def expert_rows(run: RunFolder) -> list[dict[str, str]]:
    """The table of experts as it stands where no script draws it: strongest first, with topics and heaviest user."""
    if run.experts is None:
        return []
    pairs = [(pair, topic.topic) for topic in run.experts.topics for pair in topic.experts]
    pairs.sort(key=lambda pair: -pair[0].lift)
    topics: dict[tuple[int, int], list[str]] = {}
    for pair, topic in pairs:
        text = f"{title(run.result.topic(topic))} × {pair.lift:.2f}"
        topics.setdefault((pair.layer, pair.expert), []).append(text)
    users = {(user.layer, user.expert): user.rows[0] for user in run.experts.expert_documents if user.rows}
    return [
        {
            "name": f"L{layer} E{expert}",
            "topics": "; ".join(texts[:8]),
            "user": excerpt(run, users[layer, expert]) if (layer, expert) in users else "",
        }
        # A large model has thousands of pairs, and the script draws them all: without it the strongest must do.
        for (layer, expert), texts in list(topics.items())[:EXPERTS_SHOWN]
    ]


def label_chapter(run: RunFolder, counts: LabelCounts) -> dict[str, Any] | None:
    """Which labels topics keep whole, and which they mix; None without labels."""
    if not run.labels or not any(run.labels):
        return None
    purity = [(topic, *main_label(counts, topic.topic)) for topic in run.ranked_topics if topic.topic in counts]
    purest = sorted(purity, key=lambda row: -row[2])
    homes = []
    for label, size in Counter(label for label in run.labels if label).items():
        sizes = {topic.topic: counts.get(topic.topic, Counter())[label] for topic in run.ranked_topics}
        home = max(sizes, key=lambda topic: sizes[topic], default=OUTLIERS)
        homes.append((label, size, home, sizes.get(home, 0) / size))
    return {
        "count": len(homes),
        "purest": purest[:3],
        "mixed": [row for row in purest[::-1] if row[2] < 1][:3],
        "homes": sorted(homes, key=lambda row: -row[3]),
        "names": {topic.topic: title(topic) for topic in run.ranked_topics},
    }


def outlier_chapter(run: RunFolder, counts: LabelCounts) -> dict[str, Any] | None:
    """How many documents have no topic, some of them, and whose labels they had; None where all have one."""
    if run.outliers is None or not len(run.result):
        return None
    rows = np.flatnonzero(run.result.topics == OUTLIERS)
    # Evenly through the corpus, which is often sorted: the first six would all be of one source.
    sample = rows[np.linspace(0, len(rows) - 1, min(OUTLIER_SAMPLES, len(rows))).astype(int)] if len(rows) else rows
    without_topic = counts.get(OUTLIERS, Counter())
    labels = Counter(label for label in run.labels or [] if label)
    shares = [(label, without_topic[label], without_topic[label] / count) for label, count in labels.items()]
    return {
        "count": len(rows),
        "share": len(rows) / len(run.result),
        "words": [word for word, _ in list(run.outliers.words)[:10] if word],
        "samples": [(run.result.ids[row], excerpt(run, row)) for row in sample.tolist()],
        "by_label": sorted(shares, key=lambda row: (-row[2], row[0])),
    }


def manifest_tables(run: RunFolder) -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of the manifest as tables of text."""
    sections: dict[str, Mapping[str, Any]] = {
        "Run": {name: run.manifest.get(name) for name in ("name", "created", "finished", "seed")}
    }
    sections |= {name.capitalize(): run.section(name) for name in ("corpus", "encoder", "fusion", "versions", "hashes")}
    tables = [
        (name, [(key.replace("_", " "), as_text(value)) for key, value in section.items() if value is not None])
        for name, section in sections.items()
    ]
    return [(name, rows) for name, rows in tables if rows]
