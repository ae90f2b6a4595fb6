"""Readers of files: delimited text, JSON lines, parquet, one document per line, and folders of text files."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.corpus.document import Record
from moee_topics.corpus.settings import Columns, CorpusSettings, choose_columns
from moee_topics.errors import InputError

ROWS_PER_READ = 1024
FIELD_LIMIT = 2**31 - 1


def read_delimited(path: Path, settings: CorpusSettings, delimiter: str) -> Iterator[Record]:
    """Records of a csv or tsv file with a header line; quoted fields may span lines."""
    csv.field_size_limit(FIELD_LIMIT)  # csv's own limit of 131,072 characters refuses long documents
    rows = csv.reader(_text_lines(path, settings), delimiter=delimiter, strict=True)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{path} is empty; expected a header line with the names of the columns.")
    columns = choose_columns(header, settings, str(path))
    for row in _csv_rows(rows, path):
        if len(row) > len(header):
            raise InputError(
                f"{path}, line {rows.line_num}: {len(row)} fields, but the header has {len(header)}. "
                "Put fields that hold the delimiter or line breaks in quotation marks."
            )
        if row:
            yield table_record(f"line {rows.line_num}", dict(zip(header, row, strict=False)), columns)


def _csv_rows(rows: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(
            f"{path}, line {rows.line_num}: {error}. Is a quotation mark left open, or not doubled inside a field?"
        ) from error


def read_json_lines(path: Path, settings: CorpusSettings) -> Iterator[Record]:
    """Records of a file with one JSON object per line; the first one says which columns there are."""
    columns: Columns | None = None
    for number, line in enumerate(_text_lines(path, settings), start=1):
        if not line.strip():
            continue
        row = _json_object(line, f"{path}, line {number}")
        columns = columns or choose_columns(list(row), settings, str(path))
        yield table_record(f"line {number}", row, columns)


def _json_object(line: str, place: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON ({error.msg}). Expected one object per line.") from error
    except RecursionError as error:
        raise InputError(f"{place}: JSON nested too deeply. Expected one flat object per line.") from error
    if not isinstance(row, dict):
        raise InputError(f"{place}: a JSON {type(row).__name__}. Expected one object per line, such as {{'text': …}}.")
    return row


def read_parquet(path: Path, settings: CorpusSettings) -> Iterator[Record]:
    """Records of a parquet file, read in blocks of rows and only the columns needed."""
    try:
        with pq.ParquetFile(path) as file:
            columns = choose_columns(file.schema_arrow.names, settings, str(path))
            number = 0
            for batch in file.iter_batches(ROWS_PER_READ, columns=columns.all):
                for row in batch.to_pylist():
                    yield table_record(f"row {number}", row, columns)
                    number += 1
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as parquet: {error}") from error


def read_lines(path: Path, settings: CorpusSettings) -> Iterator[Record]:
    """One document per line of a text file."""
    for number, line in enumerate(_text_lines(path, settings), start=1):
        yield Record(f"line {number}", line.rstrip("\r\n"))


class StandardInput:
    """One document per line of standard input, kept in a temporary file so that it can be read again."""

    def __init__(self) -> None:
        self._kept: IO[bytes] | None = None

    def read(self, settings: CorpusSettings) -> Iterator[Record]:
        """Starts a pass; the first one drains standard input."""
        if self._kept is None:
            self._kept = self._drain()
        self._kept.seek(0)
        for number, line in enumerate(_decode_lines(self._kept, "standard input", settings), start=1):
            yield Record(f"line {number}", line.rstrip("\r\n"))

    @staticmethod
    def _drain() -> IO[bytes]:
        if sys.stdin.isatty():
            raise InputError("The corpus is standard input (-), but nothing is piped in. Pipe one document per line.")
        kept = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115  (lives as long as the corpus)
        while block := sys.stdin.buffer.read(1 << 20):
            kept.write(block)
        return kept


def read_folder(folder: Path, settings: CorpusSettings) -> Iterator[Record]:
    """One document per file, sorted by path; the sub-folder a file lies in is its label."""
    paths = sorted(path for path in folder.glob(settings.pattern) if path.is_file())
    if not paths:
        found = sorted({path.suffix for path in folder.rglob("*") if path.is_file()})
        raise InputError(
            f"{folder} has no file that matches {settings.pattern!r}; it has files ending in "
            f"{', '.join(found) or 'nothing'}. Set corpus.pattern, or give one file as corpus.source."
        )
    for path in paths:
        name = path.relative_to(folder)
        label = str(name.parent) if name.parent != Path() and settings.label != "none" else None
        yield Record(str(name), _decode(path.read_bytes(), str(path), settings), id=name.as_posix(), label=label)


def table_record(place: str, row: Mapping[str, Any], columns: Columns) -> Record:
    """One row of a table as a record."""
    return Record(
        place,
        _joined([row.get(column) for column in columns.text]),
        id=row.get(columns.id) if columns.id else None,
        label=row.get(columns.label) if columns.label else None,
        timestamp=row.get(columns.timestamp) if columns.timestamp else None,
    )


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return "\n".join(str(part) for part in parts if part is not None)


def _text_lines(path: Path, settings: CorpusSettings) -> Iterator[str]:
    with path.open("rb") as raw:
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
        yield from _decode_lines(stream, str(path), settings)


def _decode_lines(stream: IO[bytes], name: str, settings: CorpusSettings) -> Iterator[str]:
    try:
        for number, line in enumerate(stream, start=1):
            text = _decode(line, f"{name}, line {number}", settings)
            yield text.removeprefix("\ufeff") if number == 1 else text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{name} is a damaged gzip file: {error}") from error


def _decode(raw: bytes, place: str, settings: CorpusSettings) -> str:
    try:
        return raw.decode(settings.encoding, settings.decoding_errors)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place}: byte 0x{raw[error.start]:02x} at position {error.start} is not {settings.encoding}. "
            "Set corpus.encoding (for example latin-1), or corpus.decoding_errors=replace."
        ) from error
    except LookupError as error:
        raise InputError(f"{settings.encoding!r} is not an encoding Python knows (corpus.encoding).") from error
