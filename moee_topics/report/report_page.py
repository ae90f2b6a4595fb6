"""The report: one HTML file of a run that needs no network and runs nothing but its own script."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from moee_topics.errors import InputError
from moee_topics.fuse import METHODS
from moee_topics.report import reading
from moee_topics.report.citations import references
from moee_topics.report.payload import documents_payload, embedded_json, first_payload
from moee_topics.report.settings import ReportSettings
from moee_topics.report.stability_chapter import stability_chapter
from moee_topics.report.template import render, template_text
from moee_topics.run_folder import RunFolder, title
from moee_topics.store import write_text
from moee_topics.topics import OUTLIERS, Topic

EXCERPT = 220
OUTLIER_SAMPLES = 6
LARGEST = 10
EXPERTS_SHOWN = 300

LabelCounts = Mapping[int, Counter[str]]


def write_report(
    run_folder: Path | str, output: Path | str | None = None, settings: ReportSettings | None = None
) -> Path:
    """Writes the report of a finished run as one self-contained HTML file.

    Args:
        run_folder: the folder of a finished run; nothing else is read.
        output: where to write; ``report.html`` in the run folder by default.
        settings: the recipe's section ``report``.

    Returns:
        The path of the file.

    Raises:
        InputError: the folder holds no finished topic model, a file of it is damaged, or the map would be empty.
    """
    settings = settings or ReportSettings()
    if settings.map_documents < 1:
        raise InputError(f"The map needs at least one document, got map_documents={settings.map_documents}.")
    run = RunFolder.read(run_folder)
    page = render_report(run, settings)
    if output is None:
        RunFolder.report.write(run, page)
        return RunFolder.report.path(run)
    write_text(Path(output), page)
    return Path(output)


def render_report(run: RunFolder, settings: ReportSettings) -> str:
    """The report as text."""
    packed, longest = documents_payload(run)
    counts = _label_counts(run)
    # A run of an older version can have no section, or a method that is gone.
    method = METHODS.get(str(run.section("fusion").get("method")))
    return render(
        "report.html.j2",
        script=template_text("report.js"),
        run=run,
        rows=_topic_rows(run, counts),
        largest=run.ranked_topics[:LARGEST],
        topics_total=len(run.ranked_topics),
        outliers=_outliers(run, counts),
        scores=[reading.read_score(name, score) for name, score in run.scores.items()],
        headline=[reading.read_score(name, run.scores[name]) for name in reading.HEADLINE if name in run.scores],
        labels=_labels(run, counts),
        expert_rows=_expert_rows(run),
        manifest=_manifest(run),
        left_out=list(run.section("left_out").items()),
        recipe=json.dumps(run.manifest.get("recipe", {}), indent=2, ensure_ascii=False),
        references=references(run),
        first=Markup(embedded_json(first_payload(run, settings.map_documents))),
        packed=Markup(packed),
        longest=longest,
        stability=stability_chapter(run),
        method=method,
        circular=method is not None and "routing_weights" in method.reads,
    )


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


def _label_counts(run: RunFolder) -> LabelCounts:
    """How many documents of each label a topic has, outliers included; nothing where there are no labels."""
    counts: dict[int, Counter[str]] = {}
    for topic, label in zip(run.result.topics.tolist(), run.labels or [], strict=False):
        if label:
            counts.setdefault(topic, Counter())[label] += 1
    return counts


def _topic_rows(run: RunFolder, counts: LabelCounts) -> list[TopicRow]:
    best = {topic.topic: topic.experts[0] for topic in run.experts.topics if topic.experts} if run.experts else {}
    rows = []
    for topic in run.ranked_topics:
        label, purity = _main_label(counts, topic.topic)
        expert = best.get(topic.topic)
        rows.append(
            TopicRow(
                topic=topic,
                share=topic.count / max(len(run.result), 1),
                words=", ".join(word for word, _ in list(topic.words)[:8] if word),
                excerpt=_excerpt(run, topic.representative_docs[0]) if topic.representative_docs else "",
                label=label,
                purity=purity,
                expert=f"L{expert.layer} E{expert.expert}" if expert else "",
                lift=expert.lift if expert else 0.0,
            )
        )
    return rows


def _expert_rows(run: RunFolder) -> list[dict[str, str]]:
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
            "topics": "; ".join(served[:8]),
            "user": _excerpt(run, users[layer, expert]) if (layer, expert) in users else "",
        }
        for (layer, expert), served in list(topics.items())[:EXPERTS_SHOWN]
    ]


def _main_label(counts: LabelCounts, topic: int) -> tuple[str, float]:
    """The label that most documents of a topic have, and the share that has it."""
    if topic not in counts:
        return "", 0.0
    label, count = counts[topic].most_common(1)[0]
    return label, count / counts[topic].total()


def _excerpt(run: RunFolder, row: int) -> str:
    text = " ".join((run.result.texts[row] or "").split()) if row < len(run.result) else ""
    return text if len(text) <= EXCERPT else text[:EXCERPT].rstrip() + "…"


def _outliers(run: RunFolder, counts: LabelCounts) -> dict[str, Any] | None:
    if run.outliers is None or not len(run.result):
        return None
    rows = np.flatnonzero(run.result.topics == OUTLIERS)
    picked = rows[np.linspace(0, len(rows) - 1, min(OUTLIER_SAMPLES, len(rows))).astype(int)] if len(rows) else rows
    out = counts.get(OUTLIERS, Counter())
    labels = Counter(label for label in run.labels or [] if label)
    shares = [(label, out[label], out[label] / count) for label, count in labels.items()]
    return {
        "count": len(rows),
        "share": len(rows) / len(run.result),
        "words": [word for word, _ in list(run.outliers.words)[:10] if word],
        "samples": [(run.result.ids[row], _excerpt(run, row)) for row in picked.tolist()],
        "by_label": sorted(shares, key=lambda row: (-row[2], row[0])),
    }


def _labels(run: RunFolder, counts: LabelCounts) -> dict[str, Any] | None:
    """Which labels topics keep whole, and which they mix."""
    if not run.labels or not any(run.labels):
        return None
    purity = [(topic, *_main_label(counts, topic.topic)) for topic in run.ranked_topics if topic.topic in counts]
    ranked = sorted(purity, key=lambda row: -row[2])
    held = []
    for label, size in Counter(label for label in run.labels if label).items():
        sizes = {topic.topic: counts.get(topic.topic, Counter())[label] for topic in run.ranked_topics}
        home = max(sizes, key=lambda topic: sizes[topic], default=OUTLIERS)
        held.append((label, size, home, sizes.get(home, 0) / size))
    return {
        "count": len(held),
        "purest": ranked[:3],
        "mixed": [row for row in ranked[::-1] if row[2] < 1][:3],
        "held": sorted(held, key=lambda row: -row[3]),
        "names": {topic.topic: title(topic) for topic in run.ranked_topics},
    }


def _manifest(run: RunFolder) -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of the manifest as tables of text."""
    sections: dict[str, Mapping[str, Any]] = {
        "Run": {name: run.manifest.get(name) for name in ("name", "created", "finished", "seed")}
    }
    sections |= {name.capitalize(): run.section(name) for name in ("corpus", "encoder", "fusion", "versions", "hashes")}
    tables = [
        (name, [(key.replace("_", " "), reading.plain(value)) for key, value in section.items() if value is not None])
        for name, section in sections.items()
    ]
    return [(name, rows) for name, rows in tables if rows]
