"""A finished run as rows: its topics, its documents, and the experts that stand out for its topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moee_topics.run_folder import RunFolder, title

Rows = list[dict[str, Any]]


def topic_table(run: RunFolder) -> Rows:
    """One row per topic, the outliers last."""
    every = [*run.ranked_topics, *([run.outliers] if run.outliers else [])]
    return [
        {
            "topic": topic.topic,
            "name": title(topic),
            "documents": topic.count,
            "words": ", ".join(word for word, _ in topic.words if word),
            **{f"words_{name}": ", ".join(word for word, _ in words if word) for name, words in topic.aspects.items()},
            **({"note": run.notes.get(topic.topic, "")} if run.notes else {}),
        }
        for topic in every
    ]


def document_table(run: RunFolder) -> Rows:
    """One row per document, in the order of the corpus."""
    names = {topic.topic: title(topic) for topic in run.result.topic_info}
    result = run.result
    columns: dict[str, Sequence[Any]] = {
        "id": result.ids,
        "topic": result.topics.tolist(),
        "name": [names.get(topic, "") for topic in result.topics.tolist()],
        "probability": [round(float(value), 4) for value in result.probabilities],
        "x": [round(float(value), 4) for value in run.positions[:, 0]],
        "y": [round(float(value), 4) for value in run.positions[:, 1]],
    }
    assigned = None if result.assigned is None else result.assigned.tolist()
    optional = {"label": result.labels, "timestamp": result.timestamps, "assigned": assigned, "text": result.texts}
    columns |= {name: values for name, values in optional.items() if values is not None}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def expert_table(run: RunFolder) -> Rows:
    """One row per topic and expert that stands out for it."""
    if run.experts is None:
        return []
    return [
        {"topic": topic.topic, "documents": topic.count, **vars(pair)}
        for topic in run.experts.topics
        for pair in topic.experts
    ]


def tables_of(run: RunFolder) -> dict[str, Rows]:
    """Every table of a run that has rows, by name."""
    tables = {"topics": topic_table(run), "documents": document_table(run), "experts": expert_table(run)}
    return {name: table for name, table in tables.items() if table}
