"""The one reader of tables: csv, tsv, JSON lines, parquet and xlsx files as rows that know where they stand.

Corpora and labelled scoring files both come from here, so that one file cannot mean two things.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.corpus.delimited import delimited_table
from moee_topics.corpus.excel import excel_table
from moee_topics.corpus.packing import PACKINGS, kind_of, readable
from moee_topics.corpus.rows import Row, Table
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.text_file import LONGEST_DOCUMENT, TextFile
from moee_topics.errors import InputError

ROWS_PER_READ = 1024
FROM_ARRAY = "An array of objects becomes one object per line with: jq -c '.[]' posts.json > posts.jsonl"
JSON_VALUES = 2_000_000  # of one line, 128 MB as Python objects


def read_table(path: Path, settings: CorpusSettings) -> Table:
    """Opens a file of rows and reads its header.

    Raises:
        InputError: it is of no known kind, has no header, or cannot be read; here or while rows are read, by line.
    """
    if not is_table(path):
        raise InputError(
            f"{path} is of no known kind of table ({''.join(path.suffixes) or 'no ending'}). Expected one of: "
            f"{', '.join(TABLES)}; the text ones also packed as .gz, .bz2, .xz, .zst or .zip.{array_hint(path)}"
        )
    return TABLES[kind_of(path)[0]](path, settings)


def is_table(path: Path) -> bool:
    """Whether the name of a file is that of a table; parquet and xlsx files are packed inside and not once more."""
    kind, packing = kind_of(path)
    return kind in TABLES and not (packing and kind in (".parquet", ".xlsx"))


def array_hint(path: Path) -> str:
    """How a file that is one JSON array becomes a table; empty for any other file."""
    return f" {FROM_ARRAY}" if ".json" in map(str.lower, path.suffixes) else ""


def bare_name(path: Path) -> str:
    """The name of a table without what says its kind and its packing: ``posts`` of ``posts.jsonl.gz``."""
    inside = path.with_suffix("") if path.suffix.lower() in PACKINGS else path
    return inside.stem if inside.suffix.lower() in TABLES else inside.name


def json_lines_table(path: Path, settings: CorpusSettings) -> Table:
    """A file with one JSON object per line."""

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        for number, line in enumerate(TextFile.at(path, settings).lines(), start=1):
            line = line.removeprefix("\ufeff")  # in the middle where files were joined
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            # An object takes 64 bytes or more for the three characters it is written with.
            if len(line) > JSON_VALUES and line.count(",") + line.count("[") + line.count("{") > JSON_VALUES:
                raise InputError(f"{place} holds more than {JSON_VALUES:,} values. Expected one flat object per line.")
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except json.JSONDecodeError as error:
                raise InputError(f"{place}: not JSON ({error.msg}). Expected one object per line.") from error
            except ValueError as error:  # a number of more than 4,300 digits
                raise InputError(f"{place}: not JSON that can be read ({error}).") from error
            except RecursionError as error:
                raise InputError(f"{place}: JSON nested too deeply. Expected one flat object per line.") from error
            if not isinstance(row, dict):
                kind = type(row).__name__
                raise InputError(
                    f"{place}: a JSON {kind}. Expected one object per line, such as {{'text': …}}. {FROM_ARRAY}"
                )
            yield Row(f"line {number}", row)

    return Table(None, rows)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a key that stands twice Python would keep the last value and forget the first."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice")
    return values


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


TABLES: Mapping[str, Callable[[Path, CorpusSettings], Table]] = {
    ".csv": delimited_table,
    ".tsv": partial(delimited_table, delimiter="\t"),
    ".jsonl": json_lines_table,
    ".ndjson": json_lines_table,
    ".parquet": parquet_table,
    ".xlsx": excel_table,
}
