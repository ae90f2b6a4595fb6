"""The one reader of tables: csv, tsv, JSON lines, parquet and xlsx files as rows that know where they stand.

Corpora and labelled scoring files both come from here, so that one file cannot mean two things.
"""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.corpus.lines import LONGEST_DOCUMENT, TextFile, kind_of, readable
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError, import_extra

ROWS_PER_READ = 1024
JSON_VALUES = 2_000_000
LARGEST_PART = 50_000_000
# openpyxl has no error of its own for a file that is zipped XML but no workbook.
EXCEL_FAULTS = (KeyError, ValueError, IndexError, TypeError, AttributeError, ElementTree.ParseError)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        place: where it stands, such as "line 7".
        values: by column; a column may be missing.
    """

    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """An opened file of rows.

    Attributes:
        columns: their names; None in JSON lines, where each row brings its own.
        rows: one pass over the rows; only these columns, or all for None.
    """

    columns: list[str] | None
    rows: Callable[[Collection[str] | None], Iterator[Row]]


def read_table(path: Path, settings: CorpusSettings) -> Table:
    """Opens a file of rows and reads its header.

    Raises:
        InputError: it is of no known kind, has no header, or cannot be read; here or while rows are read, by line.
    """
    kind, packing = kind_of(path)
    if kind not in TABLES or (packing and kind in (".parquet", ".xlsx")):
        raise InputError(
            f"{path} is of no known kind of table ({''.join(path.suffixes) or 'no ending'}). Expected one of: "
            f"{', '.join(TABLES)}; the text ones also packed as .gz, .bz2, .xz, .zst or .zip."
        )
    return TABLES[kind](path, settings)


def _delimited(path: Path, settings: CorpusSettings, delimiter: str = "") -> Table:
    """A csv or tsv file; without a delimiter, the one that stands most often in the header."""
    file = TextFile.at(path, settings)
    with closing(file.lines()) as lines:
        first = next(lines, None)
        skipped = int(bool(first and re.fullmatch(r"sep=.\s*", first, re.IGNORECASE)))
        header_line = next(lines, None) if skipped else first
    if header_line is None:
        raise InputError(f"{path} is empty; expected a header line with the names of the columns.")
    unquoted = re.sub('"[^"]*"', "", header_line)
    guess = first[4] if first and skipped else max(",;\t|", key=unquoted.count)  # the comma wins a draw
    delimiter = settings.field_delimiter or delimiter or guess
    # A writer that quotes every field quotes those of the header; no text would begin so.
    quotes_all = re.fullmatch('"[^"]*"(\t"[^"]*")*', header_line.strip()) is not None
    is_csv = settings.quoting == "csv" or (settings.quoting == "auto" and (delimiter != "\t" or quotes_all))
    numbered = (_quoted_rows if is_csv else _plain_rows)(file, delimiter, skipped)
    header = next(numbered)[1]

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        needed = [(i, name) for i, name in enumerate(header) if columns is None or name in columns]
        for number, fields in numbered:
            if len(fields) > len(header):
                raise InputError(
                    f"{path}, line {number}: {len(fields)} fields, but the header has {len(header)}. "
                    "Put fields that hold the delimiter or line breaks in quotation marks."
                )
            if fields:
                yield Row(f"line {number}", {name: fields[i] for i, name in needed if i < len(fields)})

    return Table(header, rows)


Numbered = Iterator[tuple[int, list[str]]]


def _quoted_rows(file: TextFile, delimiter: str, skipped: int) -> Numbered:
    """Rows with the number of their last line; quoted fields may span lines."""
    csv.field_size_limit(LONGEST_DOCUMENT)  # csv's own limit of 131,072 characters refuses long documents
    number = begun = size = 0

    def lines() -> Iterator[str]:
        nonlocal number, size
        for line in file.lines():
            number, size = number + 1, size + len(line)
            # csv bounds a field but not a row, and takes four bytes for each character of it.
            if size > LONGEST_DOCUMENT:
                raise csv.Error(f"a row of more than {LONGEST_DOCUMENT:,} characters")
            if number > skipped:
                yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        begun, size = max(number, skipped) + 1, 0
        try:
            row = next(reader, None)
        except csv.Error as error:
            opened = _open_quotation(file, begun, number, delimiter)
            place = "line {}, column {}".format(*opened) if opened else f"line {number}"
            raise InputError(
                f"{file.name}, {place}: a quotation mark left open, or one in a field that is not doubled ({error}). "
                "Mend it, or read quotation marks as text with corpus.quoting=none."
            ) from error
        if row is None:
            return
        yield number, row


def _open_quotation(file: TextFile, first: int, last: int, delimiter: str) -> tuple[int, int] | None:
    """Line and column, from 1, of the mark that opens a field which does not end as it should."""
    opened: tuple[int, int] | None = None
    for number, line in enumerate(file.lines(), start=1):
        if number < first:
            continue
        if number > last:
            break
        at = 0
        while at < len(line):
            if opened is None and line[at] == '"':
                opened = number, at + 1
                at += 1
            if opened is None:
                at = line.find(delimiter, at) + 1 or len(line)
                continue
            at = line.find('"', at) + 1 or len(line) + 1
            if at > len(line):  # it goes on in the next line
                break
            if line[at : at + 1] == '"':
                at += 1
            elif line[at : at + 1] not in (delimiter, "\r", "\n", ""):
                return opened
            else:
                opened = None
                at += 1
    return opened


def _plain_rows(file: TextFile, delimiter: str, skipped: int) -> Numbered:
    """Rows in which a quotation mark is text, as in most tab separated files.

    csv writers quote in them too, but only a field that needs it: one with a quotation mark, which they double, or one
    with a tab or a line break, without which its line has another number of fields than the header.
    """
    numbered, ahead = enumerate(file.lines(), start=1), list[tuple[int, str]]()

    def upcoming() -> Iterator[tuple[int, str]]:
        while entry := ahead.pop() if ahead else next(numbered, None):
            yield entry

    width, mended, lines = 0, file.settings.quoting == "auto", upcoming()
    for number, line in lines:
        if number <= skipped:
            continue
        fields = line.rstrip("\r\n").split(delimiter)
        if not line.strip("\r\n"):
            fields = []
        elif mended and '"' in line:
            broken = bool(width) and len(fields) != width
            if width > 1 and not broken and fields[-1].startswith('"') and fields[-1].count('"') % 2:
                # The last field may go on; then the next line is no row by itself.
                ahead += [entry for entry in [next(numbered, None)] if entry]
                broken = bool(ahead) and ahead[-1][1].count(delimiter) + 1 != width
            if broken:
                number, fields = _mended_row(file, number, line, lines, width)
            else:
                fields = [_unquoted(field) for field in fields]
        width = width or len(fields)
        yield number, fields


def _mended_row(
    file: TextFile, first: int, line: str, following: Iterator[tuple[int, str]], width: int
) -> tuple[int, list[str]]:
    """A row of tab separated fields that may go on in the lines that follow, read as csv writers quote."""
    last, size = first, len(line)

    def lines() -> Iterator[str]:
        nonlocal last, size
        yield line
        for last, more in following:  # noqa: B007 (last is the caller's)
            size += len(more)
            if size > LONGEST_DOCUMENT:
                return
            yield more

    try:
        fields = next(csv.reader(lines(), delimiter="\t", strict=True))
        if last > first and len(fields) != width:
            raise csv.Error(f"{len(fields)} fields up to line {last}, {width} in the header")
    except csv.Error as error:
        raise InputError(
            f"{file.name}, line {first}: the number of its fields is not that of the header, whether its quotation "
            f"marks are text or not ({error}). Mend the line, or set corpus.quoting to csv or none."
        ) from error
    return last, fields


def _unquoted(field: str) -> str:
    inner = field[1:-1]
    quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted and (not inner or '"' in inner) else field


def _json_lines(path: Path, settings: CorpusSettings) -> Table:
    """A file with one JSON object per line."""

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        for number, line in enumerate(TextFile.at(path, settings).lines(), start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            # An object takes 64 bytes or more for the three characters it is written with.
            if len(line) > JSON_VALUES and line.count(",") + line.count("[") + line.count("{") > JSON_VALUES:
                raise InputError(f"{place} holds more than {JSON_VALUES:,} values. Expected one flat object per line.")
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{place}: not JSON ({error.msg}). Expected one object per line.") from error
            except ValueError as error:  # a number of more than 4,300 digits
                raise InputError(f"{place}: not JSON that can be read ({error}).") from error
            except RecursionError as error:
                raise InputError(f"{place}: JSON nested too deeply. Expected one flat object per line.") from error
            if not isinstance(row, dict):
                kind = type(row).__name__
                raise InputError(f"{place}: a JSON {kind}. Expected one object per line, such as {{'text': …}}.")
            yield Row(f"line {number}", row)

    return Table(None, rows)


def _parquet(path: Path, settings: CorpusSettings) -> Table:
    """A parquet file, read in blocks of rows and only the columns needed."""
    try:
        with readable(path), pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except InputError as error:
        raise InputError(f"{path} cannot be read as parquet: {error.__cause__}") from error

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        names = [name for name in schema.names if columns is None or name in columns]
        # A dictionary stays one: the same long text in each of a million rows is in memory once.
        texts = [name for name in names if pa.types.is_string(schema.field(name).type)]
        number = 0
        with readable(path), pq.ParquetFile(path, read_dictionary=texts) as file:
            _check_rows(file, path)
            for batch in file.iter_batches(ROWS_PER_READ, columns=names):
                arrays = [batch.column(name) for name in names]
                for i in range(len(batch)):
                    values = {name: array[i].as_py() for name, array in zip(names, arrays, strict=True)}
                    yield Row(f"row {number}", values)
                    number += 1

    return Table(list(schema.names), rows)


def _check_rows(file: pq.ParquetFile, path: Path) -> None:
    """Refuses what is too long before it is unpacked; groups of few, huge rows are known by their mean."""
    for number in range(file.metadata.num_row_groups):
        # Not column by column: pyarrow 26 aborts the process where the metadata of a column are damaged.
        group = file.metadata.row_group(number)
        mean = group.total_byte_size / max(1, group.num_rows)
        if mean > LONGEST_DOCUMENT:
            raise InputError(
                f"{path}: rows of {mean:,.0f} bytes on average, at most {LONGEST_DOCUMENT:,} are read. "
                "Should they be split?"
            )


def _excel(path: Path, settings: CorpusSettings) -> Table:
    """The first sheet of an Excel file; its first row names the columns."""
    openpyxl = import_extra("openpyxl", "excel")
    try:
        with readable(path), zipfile.ZipFile(path) as parts:
            for part in parts.infolist():
                # Strings that many cells share are all in memory; real ones shrink by 5 to 20, a bomb by 1,000.
                if part.file_size > max(LARGEST_PART, 100 * part.compress_size):
                    raise InputError(f"{path} unpacks to {part.file_size / 1e6:,.0f} MB of nothing; save it as csv.")
        with readable(path):
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # some writers state too few rows, and openpyxl would read no more
            sheet_rows = sheet.iter_rows(values_only=True)
            header = next(sheet_rows, ())
    except EXCEL_FAULTS as error:
        raise InputError(f"{path} cannot be read as an Excel file: {error}") from error
    names = [(i, str(name)) for i, name in enumerate(header) if name is not None]
    if not names:
        raise InputError(f"{path} is empty; expected the names of the columns in the first row of the first sheet.")

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        needed = [(i, name) for i, name in names if columns is None or name in columns]
        try:
            with readable(path):
                for number, cells in enumerate(sheet_rows, start=2):
                    if any(cell is not None for cell in cells):
                        yield Row(f"row {number}", {name: cells[i] for i, name in needed if i < len(cells)})
        except EXCEL_FAULTS as error:
            raise InputError(f"{path} cannot be read as an Excel file: {error}") from error

    return Table([name for _, name in names], rows)


TABLES: Mapping[str, Callable[[Path, CorpusSettings], Table]] = {
    ".csv": _delimited,
    ".tsv": partial(_delimited, delimiter="\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
    ".xlsx": _excel,
}
