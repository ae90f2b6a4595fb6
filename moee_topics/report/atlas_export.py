"""A run as Apple's Embedding Atlas reads it: points with their topics and neighbours, and the labels of the map.

Its format, as of version 0.26 (https://apple.github.io/embedding-atlas/tool.html): a Parquet file with two columns of
coordinates, and one of ``{"ids": [rows from 0], "distances": [...]}``; and a table of ``x``, ``y``, ``text``, ``level``
and ``priority`` for the labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.run_folder import RunFolder, title
from moee_topics.store import atomic_path
from moee_topics.topics import Voters

POINTS_FILE, LABELS_FILE = "atlas.parquet", "atlas_labels.parquet"
NEIGHBORS = 15
NEIGHBOR_TYPE = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float64()))])


def export_atlas(run: RunFolder, output: Path) -> list[Path]:
    """``atlas.parquet`` with a point for every document, and ``atlas_labels.parquet`` with the names on the map."""
    tables = {output / POINTS_FILE: points_table(run), output / LABELS_FILE: labels_table(run)}
    for path, table in tables.items():
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    return list(tables)


def points_table(run: RunFolder) -> pa.Table:
    """One row per document: id, text, topic, topic_id, probability, projection_x and _y, and what else is known."""
    import pandas as pd

    result = run.result
    # The number stands before the name, since two topics may have one name and colours go by it.
    names = {topic.topic: f"{topic.topic}: {title(topic)}" for topic in run.ranked_topics}
    columns: dict[str, Any] = {
        "id": list(result.ids),
        "text": list(result.texts),
        "topic": [names.get(topic, "Outliers") for topic in result.topics.tolist()],
        "topic_id": result.topics,
        "probability": result.probabilities,
        "projection_x": run.positions[:, 0],
        "projection_y": run.positions[:, 1],
    }
    if run.labels is not None:
        columns["label"] = run.labels
    if result.timestamps is not None:
        columns["timestamp"] = pd.to_datetime(list(result.timestamps), format="ISO8601", utc=True, errors="coerce")
    if RunFolder.model.exists(run):
        columns["neighbors"] = pa.array(neighbors_of_documents(run), type=NEIGHBOR_TYPE)
    return pa.table(columns)


def labels_table(run: RunFolder) -> pa.Table:
    """One row per topic: where its name stands, amid its documents, and which goes first where two overlap."""
    topics = [topic for topic in run.ranked_topics if topic.count]
    middles = [np.median(run.positions[run.result.topics == topic.topic], axis=0) for topic in topics]
    x, y = np.array(middles).reshape(-1, 2).T
    names = [title(topic) for topic in topics]
    return pa.table(
        {
            "x": x,
            "y": y,
            "text": names,
            "content": names,  # what the page of 0.26.0 reads in the place of text: without it no label is drawn
            "level": [0] * len(topics),  # of one level, labels are shown however near one looks
            "priority": [topic.count for topic in topics],
        }
    )


def neighbors_of_documents(run: RunFolder) -> list[dict[str, list[Any]]]:
    """The 15 nearest documents of each, by cosine of the vectors that the topics were found in, the nearest first.

    A copy of another document has its neighbours; of a large run those beyond its voters have none.
    """
    RunFolder.model.check(run)
    voters = Voters.load(RunFolder.model.path(run))
    places, cosines = voters.nearest(voters.vectors, own=True, most=NEIGHBORS)
    order = np.argsort(-cosines, axis=1, kind="stable")
    rows = np.take_along_axis(voters.rows[places], order, axis=1).tolist()
    distances = (1 - np.take_along_axis(cosines, order, axis=1)).clip(min=0).round(6).tolist()
    place_of = {run.result.texts[row]: place for place, row in enumerate(voters.rows.tolist())}
    found = (place_of.get(text) for text in run.result.texts)
    return [
        {"ids": [], "distances": []} if place is None else {"ids": rows[place], "distances": distances[place]}
        for place in found
    ]
