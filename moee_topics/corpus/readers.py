"""Records from files: rows of tables, one document per line, folders of text files."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from moee_topics.corpus.columns import Columns, choose_columns, grow_columns
from moee_topics.corpus.document import Parts, Record
from moee_topics.corpus.packing import is_hidden
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.tables import read_table
from moee_topics.corpus.text_file import TextFile
from moee_topics.errors import InputError
from moee_topics.progress import disk_space


def read_rows(path: Path, settings: CorpusSettings) -> Iterator[Record]:
    """One document per row of a table."""
    table = read_table(path, settings)
    if table.columns is not None:
        columns = choose_columns(table.columns, settings, str(path))
        for row in table.rows(columns.all):
            yield table_record(row.place, row.values, columns)
        return
    # JSON lines have no header: a column may come first in the millionth line, and is missing only after the last.
    columns, names = Columns(), dict[str, None]()
    for number, row in enumerate(table.rows(None)):
        if not columns.complete and not row.values.keys() <= names.keys():
            names.update(dict.fromkeys(row.values))
            columns = grow_columns(columns, list(names), settings)
        if number == settings.limit:  # a name that has not come yet is a wrong one
            choose_columns(list(names), settings, str(path))
        yield table_record(row.place, row.values, columns)
    if names:
        choose_columns(list(names), settings, str(path))


def table_record(place: str, row: Mapping[str, Any], columns: Columns) -> Record:
    """One row of a table as a record."""
    parts = Parts(row.get(column) for column in columns.text)
    return Record(
        place,
        parts[0] if len(parts) == 1 else parts,
        id=row.get(columns.id) if columns.id else None,
        label=row.get(columns.label) if columns.label else None,
        timestamp=row.get(columns.timestamp) if columns.timestamp else None,
        clock=str(columns.timestamp).lower().strip() == "time",
        text_columns=columns.text,
    )


def read_lines(path: Path, settings: CorpusSettings) -> Iterator[Record]:
    """One document per line of a text file."""
    return line_records(TextFile.at(path, settings))


def line_records(file: TextFile) -> Iterator[Record]:
    """One document per line of an opened text file."""
    for number, line in enumerate(file.lines(), start=1):
        yield Record(f"line {number}", line.rstrip("\r\n"))


class StandardInput:
    """One document per line of standard input, kept in a temporary file so that it can be read again."""

    def __init__(self) -> None:
        self._copy: IO[bytes] | None = None

    def read(self, settings: CorpusSettings) -> Iterator[Record]:
        """Starts a pass; the first one drains standard input."""
        if self._copy is None:
            if sys.stdin.isatty():
                raise InputError("The corpus is standard input (-), but nothing is piped in. Pipe one document a line.")
            with disk_space("Standard input is kept in a temporary file; give a file instead, or pipe it in again."):
                self._copy = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115 (lives as long as the corpus)
                weakref.finalize(self, self._copy.close)
                while block := sys.stdin.buffer.read(1 << 20):
                    self._copy.write(block)
                self._copy.flush()
        copy = self._copy

        def rewound() -> AbstractContextManager[IO[bytes]]:
            copy.seek(0)
            return nullcontext(copy)  # and not closed afterwards: the next pass reads it again

        yield from line_records(TextFile("standard input", rewound, settings))


def read_folder(folder: Path, settings: CorpusSettings) -> Iterator[Record]:
    """One document per file, sorted by path; the sub-folder a file lies in is its label. Hidden ones are left out."""
    # An ending in other letters (.TXT) is the same one, as it is where file names have no case.
    pattern = re.sub(
        r"(?<=\.)\w+$", lambda ending: "".join(f"[{c.lower()}{c.upper()}]" for c in ending[0]), settings.pattern
    )
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() or _is_broken_link(path))
    if not paths:
        endings = sorted({path.suffix for path in folder.rglob("*") if path.is_file()})
        raise InputError(
            f"{folder} has no file that matches {settings.pattern!r}; it has files ending in "
            f"{', '.join(endings) or 'nothing'}. Set corpus.pattern, or give one file as corpus.source."
        )
    for path in paths:
        name = path.relative_to(folder)
        if is_hidden(name):
            yield Record(str(name), None, left_out="hidden files")
            continue
        if _is_broken_link(path):
            yield Record(str(name), None, left_out="links to files that are not there")
            continue
        label = str(name.parent) if name.parent != Path() and settings.label != "none" else None
        yield Record(str(name), TextFile.at(path, settings).whole(), id=name.as_posix(), label=label)


def _is_broken_link(path: Path) -> bool:
    return path.is_symlink() and not os.path.exists(path)  # noqa: PTH110 (Path.exists raises where a link is a loop)
