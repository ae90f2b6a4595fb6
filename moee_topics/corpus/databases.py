"""Rows of a database by a query, read-only: SQLite by Python's own library, DuckDB by its package."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from moee_topics.corpus.columns import choose_columns, listed
from moee_topics.corpus.document import Record
from moee_topics.corpus.readers import table_record
from moee_topics.corpus.rows import Row
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError, import_extra
from moee_topics.messages import first_lines

ROWS_PER_FETCH = 1024
TABLES_OF_ALL = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
)
READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


def open_sqlite(path: Path, settings: CorpusSettings) -> Any:
    """A connection that can read this file and do nothing else."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.text_factory = lambda text: text.decode(settings.encoding, settings.decoding_errors)
    # A recipe is data and may be a stranger's: its query attaches no other file and changes no setting.
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)
    return connection


def open_duckdb(path: Path, settings: CorpusSettings) -> Any:
    """A connection that can read this file, and neither other files nor the network."""
    duckdb = import_extra("duckdb", "duckdb")
    return duckdb.connect(str(path), read_only=True, config={"enable_external_access": "false"})


DATABASES: Mapping[str, Callable[[Path, CorpusSettings], Any]] = {"sqlite": open_sqlite, "duckdb": open_duckdb}


def database_kind(source: str) -> str:
    """Which kind of database a source names, as "sqlite" of sqlite:///posts.db; empty for all else."""
    kind, _, rest = source.partition("://")
    return kind if rest and kind in DATABASES else ""


def database_path(source: str) -> Path:
    """The file of a database, which is not made where there is none.

    Raises:
        InputError: there is no such file.
    """
    kind, _, rest = source.partition("://")
    name = rest.removeprefix("/")
    if not rest.startswith("/") or not os.path.isfile(name):  # noqa: PTH113 (Path.is_file raises on odd names)
        raise InputError(
            f"There is no database {name!r} (corpus.source={source}). Expected {kind}:///FILE, with a fourth slash "
            "where the path begins with one."
        )
    return Path(name)


def read_database(source: str, settings: CorpusSettings) -> Iterator[Record]:
    """One document per row of the query, or of the only table.

    Raises:
        InputError: there is no such file, it is no such database, the query fails or has no column of texts.
    """
    with _selected(source, settings) as (names, cursor):
        columns, number = choose_columns(names, settings, source), 0
        while rows := cursor.fetchmany(ROWS_PER_FETCH):
            for row in rows:
                yield table_record(f"row {number}", dict(zip(names, row, strict=True)), columns)
                number += 1


def database_rows(source: str, settings: CorpusSettings, most: int) -> list[Row]:
    """The first rows of the query, or of the only table, with all columns.

    Raises:
        InputError: as :func:`read_database`.
    """
    with _selected(source, settings) as (names, cursor):
        rows = cursor.fetchmany(most)
        return [Row(f"row {number}", dict(zip(names, row, strict=True))) for number, row in enumerate(rows)]


@contextmanager
def _selected(source: str, settings: CorpusSettings) -> Iterator[tuple[list[str], Any]]:
    """The columns of what is asked of a database, and a cursor at its first row."""
    path = database_path(source)
    with _faults(source), closing(DATABASES[database_kind(source)](path, settings)) as connection:
        query = settings.query or f"SELECT * FROM {_only_table(connection, source)}"
        cursor = connection.execute(query)
        if cursor is None or cursor.description is None:  # DuckDB gives no cursor where nothing is asked
            raise InputError(f"{source}: corpus.query is no SELECT, so that it has no rows: {query[:200]}")
        yield [column[0] for column in cursor.description], cursor


def _only_table(connection: Any, source: str) -> str:
    """The quoted name of the one table or view of a database.

    Raises:
        InputError: it has none, or more.
    """
    tables = [name for (name,) in connection.execute(TABLES_OF_ALL).fetchall()]
    if len(tables) != 1:
        have = f"the tables {listed(tables)}" if tables else "no table"
        raise InputError(
            f"{source} has {have}, expected one. Say which rows are documents, such as with: "
            "corpus.query='SELECT id, body AS text FROM posts'"
        )
    return '"' + str(tables[0]).replace('"', '""') + '"'


@contextmanager
def _faults(source: str) -> Iterator[None]:
    """Turns what a database complains of into our error; DuckDB is imported by then, where it is asked."""
    errors: tuple[type[Exception], ...] = (sqlite3.Error, sqlite3.Warning)  # a Warning: two statements, before 3.12
    if database_kind(source) == "duckdb":
        errors = (import_extra("duckdb", "duckdb").Error,)
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}: a text is not {error.encoding} ({error.reason} at position {error.start}). Set corpus.encoding "
            "(for example cp1252), or corpus.decoding_errors=replace."
        ) from error
    except errors as error:
        raise InputError(  # of the first line alone: DuckDB draws the place below it
            f"{source} cannot be read: {first_lines(error)}. Expected a database of this kind, and as corpus.query one "
            "SELECT that reads nothing but this file."
        ) from error
