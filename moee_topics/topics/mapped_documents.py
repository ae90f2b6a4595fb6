"""Documents of a corpus too large for memory: columns of Arrow in a file, of which the pages in use are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import overload

import pyarrow as pa

from moee_topics.corpus import Document
from moee_topics.store import Scratch

ROWS_PER_BATCH = 16_384
SCHEMA = pa.schema([(name, pa.large_string()) for name in ("id", "text", "label", "timestamp")])


class MappedColumn(Sequence[str]):
    """The strings of a column of Arrow; each is made when it is asked for.

    Attributes:
        column: of type string or large_string; what is missing is the empty string.
        folder: where there is room for files as large as the column; None for the system's own.
    """

    def __init__(self, column: pa.ChunkedArray, folder: Path | None = None) -> None:
        self.column, self.folder = column, folder

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        return self.column[at].as_py() or ""

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ROWS_PER_BATCH):
            for text in self.column.slice(start, ROWS_PER_BATCH).to_pylist():
                yield text or ""


@dataclass(frozen=True)
class MappedDocuments(Sequence[Document]):
    """Documents by their columns.

    Attributes:
        table: id, text, label and timestamp of each; labels and times may be missing.
        folder: of the file.
    """

    table: pa.Table
    folder: Path | None = None

    @classmethod
    def of(cls, documents: Iterable[Document], folder: Path | None = None) -> MappedDocuments:
        """Writes documents into a file without a name, and maps it.

        Args:
            documents: of which a batch at a time is in memory.
            folder: where there is room.

        Raises:
            ResourceError: the disk is full.
        """
        scratch, stream = Scratch(folder), iter(documents)
        with pa.ipc.new_file(pa.PythonFile(scratch.file, "w"), SCHEMA) as writer:
            while batch := list(islice(stream, ROWS_PER_BATCH)):
                columns = [[getattr(document, name) for document in batch] for name in SCHEMA.names]
                with scratch.writing():
                    writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        return cls(pa.ipc.open_file(pa.py_buffer(scratch.mapped())).read_all(), folder)

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, at: int) -> Document: ...
    @overload
    def __getitem__(self, at: slice) -> list[Document]: ...
    def __getitem__(self, at: int | slice) -> Document | list[Document]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        return Document(*(self.table[name][at].as_py() for name in SCHEMA.names))

    def column(self, name: str) -> MappedColumn | None:
        """One of the columns; None where no document has it."""
        column = self.table[name]
        return None if column.null_count == len(column) else MappedColumn(column, self.folder)

    @property
    def texts(self) -> MappedColumn:
        """The texts."""
        return MappedColumn(self.table["text"], self.folder)


def texts_of(documents: Sequence[Document]) -> Sequence[str]:
    """The texts of documents: of mapped ones their column."""
    return documents.texts if isinstance(documents, MappedDocuments) else [document.text for document in documents]
