"""The one reader of tables: csv, tsv, JSON lines, parquet and xlsx files as rows that know where they stand.

Corpora and labelled scoring files both come from here, so that one file cannot mean two things.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.corpus.delimited import delimited_table
from moee_topics.corpus.packing import kind_of, readable
from moee_topics.corpus.rows import Row, Table
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.text_file import LONGEST_DOCUMENT, TextFile
from moee_topics.errors import InputError, import_extra

ROWS_PER_READ = 1024
JSON_VALUES = 2_000_000  # of one line, 128 MB as Python objects
LARGEST_PART = 50_000_000  # bytes
# openpyxl has no error of its own for a file that is zipped XML but no workbook.
EXCEL_FAULTS = (KeyError, ValueError, IndexError, TypeError, AttributeError, ElementTree.ParseError)


def read_table(path: Path, settings: CorpusSettings) -> Table:
    """Opens a file of rows and reads its header.

    Raises:
        InputError: it is of no known kind, has no header, or cannot be read; here or while rows are read, by line.
    """
    if not is_table(path):
        raise InputError(
            f"{path} is of no known kind of table ({''.join(path.suffixes) or 'no ending'}). Expected one of: "
            f"{', '.join(TABLES)}; the text ones also packed as .gz, .bz2, .xz, .zst or .zip."
        )
    return TABLES[kind_of(path)[0]](path, settings)


def is_table(path: Path) -> bool:
    """Whether the name of a file is that of a table; parquet and xlsx files are packed inside and not once more."""
    kind, packing = kind_of(path)
    return kind in TABLES and not (packing and kind in (".parquet", ".xlsx"))


def json_lines_table(path: Path, settings: CorpusSettings) -> Table:
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


def parquet_table(path: Path, settings: CorpusSettings) -> Table:
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
            for group in range(file.metadata.num_row_groups):
                # What is too long is refused before it is unpacked; groups of few, huge rows are known by their mean.
                # Not column by column: pyarrow 26 aborts the process where the metadata of a column are damaged.
                size = file.metadata.row_group(group).total_byte_size
                mean = size / max(1, file.metadata.row_group(group).num_rows)
                if mean > LONGEST_DOCUMENT:
                    raise InputError(
                        f"{path}: rows of {mean:,.0f} bytes on average, at most {LONGEST_DOCUMENT:,} are read. "
                        "Should they be split?"
                    )
            for batch in file.iter_batches(ROWS_PER_READ, columns=names):
                arrays = [batch.column(name) for name in names]
                for i in range(len(batch)):
                    values = {name: array[i].as_py() for name, array in zip(names, arrays, strict=True)}
                    yield Row(f"row {number}", values)
                    number += 1

    return Table(list(schema.names), rows)


def excel_table(path: Path, settings: CorpusSettings) -> Table:
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
    ".csv": delimited_table,
    ".tsv": partial(delimited_table, delimiter="\t"),
    ".jsonl": json_lines_table,
    ".ndjson": json_lines_table,
    ".parquet": parquet_table,
    ".xlsx": excel_table,
}
