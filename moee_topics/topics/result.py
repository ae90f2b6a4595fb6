"""What a fitted topic model says, as plain data: the topics, and the topic of every document.

This file knows nothing of BERTopic; it is what reports, scores and notebooks read. In a run folder it is three files:
``topics.parquet``, ``documents.parquet`` and ``topic_info.json``.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from moee_topics.corpus import Document
from moee_topics.defaults import OUTLIERS as OUTLIERS
from moee_topics.errors import InputError, MissingExtraError
from moee_topics.messages import counted
from moee_topics.store import atomic_path, read_json, write_text
from moee_topics.topics.mapped_documents import MappedColumn, MappedDocuments

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

RESULT_FILES = TOPICS_FILE, DOCUMENTS_FILE, INFO_FILE = "topics.parquet", "documents.parquet", "topic_info.json"

ROWS_PER_GROUP = 1 << 17
"""Of the tables of documents: who reads them in parts has as many in memory. Smaller corpora are one part."""

STRINGS = ("id", "label", "timestamp")
"""The columns of ``topics.parquet`` that hold text."""

ROWS_SHOWN = 15
"""Topics that a notebook shows of a result."""

# Of a cell in a notebook, whose own style aligns right and lets one long word make a table wider than the page.
NOTEBOOK_CELL = "text-align:left;max-width:48em;overflow-wrap:anywhere;white-space:normal"

Words = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Topic:
    """One topic: its words with their weights, its size and the documents that stand for it.

    Attributes:
        topic: its id; -1 holds the outliers.
        count: number of documents.
        name: a short label.
        words: (word, weight), the most telling first.
        aspects: further word lists by the name of the representation that made them.
        representative_docs: row numbers of documents that stand for the topic.
    """

    topic: int
    count: int
    name: str
    words: Words
    aspects: Mapping[str, Words] = field(default_factory=dict)
    representative_docs: Sequence[int] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data; weights to six places, and 0 for NaN, which JSON does not have."""

        def weights(pairs: Words) -> list[list[str | float]]:
            return [[word, round(float(weight), 6) if math.isfinite(weight) else 0.0] for word, weight in pairs]

        return {
            "topic": self.topic,
            "count": self.count,
            "name": self.name,
            "words": weights(self.words),
            "aspects": {name: weights(pairs) for name, pairs in self.aspects.items()},
            "representative_docs": [int(row) for row in self.representative_docs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Topic:
        """Reads what :meth:`to_json` gave, whose form has been checked."""
        return cls(
            topic=data["topic"],
            count=data["count"],
            name=data["name"],
            words=[(word, weight) for word, weight in data["words"]],
            aspects={name: [(word, weight) for word, weight in pairs] for name, pairs in data["aspects"].items()},
            representative_docs=data["representative_docs"],
        )

    def _repr_html_(self) -> str:
        """Its words in every representation, for a notebook."""
        rows = [("words", self.words), *self.aspects.items()]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>{_cell(_joined(words))}</tr>"
            for name, words in rows
        )
        title = f"Topic {self.topic}: {self.name}, {counted(self.count, 'document')}"
        return f"<p><b>{html.escape(title)}</b></p><table>{cells}</table>"


def document_columns(documents: Iterable[str] | Iterable[Document], size: int) -> dict[str, Any]:
    """Ids, labels and times of so many documents, None where none has one; of bare texts their row numbers."""
    if isinstance(documents, MappedDocuments):
        columns = {"ids": "id", "labels": "label", "timestamps": "timestamp"}
        return {name: documents.column(column) for name, column in columns.items()}
    rows = [document for document in documents if isinstance(document, Document)]
    labels, times = ([getattr(row, name) or "" for row in rows] for name in ("label", "timestamp"))
    return {
        "ids": [row.id for row in rows] or [str(number) for number in range(size)],
        "labels": labels if any(labels) else None,
        "timestamps": times if any(times) else None,
    }


@dataclass(frozen=True)
class TopicResult:
    """The topic of every document, and what every topic is.

    Attributes:
        ids: N document ids.
        texts: N documents.
        topics: (N,) topic of every document, -1 for outliers.
        probabilities: (N,) strength of the membership, 0 for outliers.
        positions: (N, 2) coordinates of the document map.
        topic_info: every topic, outliers first where there are any, then by size.
        labels: N known classes, where the corpus has them.
        timestamps: N ISO 8601 times, where the corpus has them.
        assigned: (N,) of a fit on a sample, whether a document was left to the vote of those in it.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    topics: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    positions: NDArray[np.float32]
    topic_info: Sequence[Topic]
    labels: Sequence[str] | None = None
    timestamps: Sequence[str] | None = None
    assigned: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        columns: list[Sized] = [self.ids, self.texts, self.topics, self.probabilities, self.positions]
        columns += [c for c in (self.labels, self.timestamps, self.assigned) if c is not None]
        if len({len(column) for column in columns}) != 1:
            raise InputError(
                "A topic result needs one id, text, topic, probability and position per document, got "
                f"{[len(column) for column in columns]} of them."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def topic(self, topic: int) -> Topic:
        """One topic by its id.

        Raises:
            InputError: there is no such topic.
        """
        for info in self.topic_info:
            if info.topic == topic:
                return info
        numbers = ", ".join(str(info.topic) for info in self.topic_info)
        raise InputError(f"There is no topic {topic}; this model has {numbers}.")

    def documents_of(self, topic: int, most: int | None = None) -> list[str]:
        """The texts of a topic, its representative ones first, then by strength of membership.

        Raises:
            InputError: there is no such topic.
        """
        first = list(self.topic(topic).representative_docs)
        rows = np.flatnonzero(self.topics == topic)
        ordered = rows[np.argsort(-self.probabilities[rows], kind="stable")].tolist()
        return [self.texts[row] for row in dict.fromkeys([*first, *ordered])][:most]

    def to_pandas(self) -> pd.DataFrame:
        """One row per document: id, text, topic, name, probability, x, y; label, timestamp and assigned where known."""
        frame: pd.DataFrame = self._documents_table().to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """The same as :meth:`to_pandas`, for polars.

        Raises:
            MissingExtraError: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise MissingExtraError("polars", "notebooks") from error
        frame = polars.from_arrow(self._documents_table())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def topics_frame(self) -> pd.DataFrame:
        """One row per topic: topic, count, share, name, words, and a column per further representation."""
        import pandas as pd

        rows = [
            {"topic": info.topic, "count": info.count, "share": info.count / len(self), "name": info.name}
            | {"words": _joined(info.words)}
            | {name: _joined(words) for name, words in info.aspects.items()}
            for info in self.topic_info
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"TopicResult({self._summary()})"

    def _repr_html_(self) -> str:
        """Size and largest topics, for a notebook; everything from documents is escaped."""
        shown = [info for info in self.topic_info if info.topic != OUTLIERS][:ROWS_SHOWN]
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("topic", "documents", "name", "words"))
        body = "".join(
            f"<tr>{_cell(info.topic)}{_cell(f'{info.count:,}')}{_cell(info.name)}{_cell(_joined(info.words))}</tr>"
            for info in shown
        )
        hidden = self.topic_count - len(shown)
        more = f"<p>… and {hidden} smaller topics: <code>.topics_frame()</code></p>" if hidden else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p><b>{html.escape(self._summary())}</b></p>{table}{more}"

    @property
    def topic_count(self) -> int:
        """Topics without the outliers."""
        return sum(info.topic != OUTLIERS for info in self.topic_info)

    @property
    def outlier_share(self) -> float:
        """Share of documents without a topic, 0 to 1."""
        return float(np.mean(self.topics == OUTLIERS)) if len(self) else 0.0

    @property
    def sampled(self) -> int:
        """Documents that were clustered; of a fit without a sample all of them."""
        return len(self) if self.assigned is None else int((~self.assigned).sum())

    def _summary(self) -> str:
        topics = f"{counted(len(self), 'document')}, {counted(self.topic_count, 'topic')}"
        return f"{topics}, {self.outlier_share:.1%} outliers"

    def save(self, folder: Path) -> None:
        """Writes its files into a folder."""
        with atomic_path(folder / TOPICS_FILE) as temporary:
            pq.write_table(self._topics_table(), temporary, row_group_size=ROWS_PER_GROUP)
        # Texts apart: who reads the topics of a large corpus need not unpack them.
        documents = pa.table({"id": in_arrow(self.ids), "text": in_arrow(self.texts)})
        with atomic_path(folder / DOCUMENTS_FILE) as temporary:
            pq.write_table(documents, temporary, compression="zstd", row_group_size=ROWS_PER_GROUP)
        self.save_info(folder)

    def save_info(self, folder: Path) -> None:
        """Writes the file of the topics alone: their names may be others while no document moved."""
        # A NaN is no JSON: Python alone would read the file again.
        info = json.dumps([topic.to_json() for topic in self.topic_info], indent=1, allow_nan=False)
        write_text(folder / INFO_FILE, info)

    def _topics_table(self) -> pa.Table:
        columns: dict[str, Any] = {
            "id": in_arrow(self.ids),
            "topic": self.topics.astype(np.int64),
            "probability": self.probabilities.astype(np.float32),
            "x": self.positions[:, 0].astype(np.float32),
            "y": self.positions[:, 1].astype(np.float32),
        }
        if self.labels is not None:
            columns["label"] = in_arrow(self.labels)
        if self.timestamps is not None:
            columns["timestamp"] = in_arrow(self.timestamps)
        if self.assigned is not None:
            columns["assigned"] = self.assigned
        return pa.table(columns)

    def _documents_table(self) -> pa.Table:
        names = {info.topic: info.name for info in self.topic_info}
        table = self._topics_table().add_column(1, "text", in_arrow(self.texts))
        column = pa.array([names.get(int(topic), "") for topic in self.topics], type=pa.string())
        return table.add_column(3, "name", column)

    @classmethod
    def load(cls, folder: Path) -> TopicResult:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: the folder holds no finished topic model, or a damaged one.
        """
        for name in RESULT_FILES:
            if not (folder / name).is_file():
                raise InputError(f"{folder} holds no finished topic model: {name} is missing. Fit it again.")
        try:
            table = pq.read_table(folder / TOPICS_FILE)
            numbers = table.select([name for name in table.column_names if name not in STRINGS]).to_pydict()
            strings = {name: from_arrow(table[name]) for name in STRINGS if name in table.column_names}
            info = read_json(folder / INFO_FILE, kind=list[Topic], mend="Fit it again.")
            return cls(
                ids=strings["id"],
                texts=from_arrow(pq.read_table(folder / DOCUMENTS_FILE, columns=["text"])["text"]),
                topics=np.asarray(numbers["topic"], dtype=np.int64),
                probabilities=np.asarray(numbers["probability"], dtype=np.float32),
                positions=np.column_stack([numbers["x"], numbers["y"]]).astype(np.float32),
                topic_info=[Topic.from_json(topic) for topic in info],
                labels=strings.get("label"),
                timestamps=strings.get("timestamp"),
                assigned=np.asarray(numbers["assigned"], dtype=bool) if "assigned" in numbers else None,
            )
        # How damage shows in runs of 0.1.0, which have no digests.
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise InputError(f"The topic model in {folder} is damaged ({error}). Fit it again.") from error


def in_arrow(strings: Sequence[str]) -> pa.ChunkedArray | pa.Array:
    """A column of a table."""
    if isinstance(strings, MappedColumn):
        return strings.column.fill_null("")
    return pa.array(list(strings), type=pa.string())


def from_arrow(column: pa.ChunkedArray) -> Sequence[str]:
    """The strings of a column: a list, or of a large corpus the column, which takes a tenth of the objects."""
    return column.to_pylist() if len(column) <= ROWS_PER_GROUP else MappedColumn(column)


def _joined(words: Words) -> str:
    # BERTopic fills up what it knows of a short topic with empty words.
    return ", ".join(word for word, _ in words if word)


def _cell(value: object) -> str:
    return f"<td style='{NOTEBOOK_CELL}'>{html.escape(str(value))}</td>"
