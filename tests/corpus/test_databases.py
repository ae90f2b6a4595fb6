"""Rows of databases: read by a query, and nothing else done to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus_files import opened, refused, written

from moee_topics.errors import InputError, MissingExtraError

ROWS = [("a", "first, with a comma", "x", "2024-01-02"), ("b", "third: Ünïcødé 🎉", None, None)]
COLUMNS = "(id TEXT, text TEXT, label TEXT, date TEXT)"


def sqlite(path: Path, *tables: str, columns: str = COLUMNS, rows: Any = ROWS) -> str:
    connection = sqlite3.connect(path)
    fill(connection, tables, columns, rows)
    return f"sqlite:///{path}"


def duckdb(path: Path, *tables: str, columns: str = COLUMNS, rows: Any = ROWS) -> str:
    package = pytest.importorskip("duckdb", reason="needs the extra [duckdb]")
    fill(package.connect(str(path)), tables, columns, rows)
    return f"duckdb:///{path}"


def fill(connection: Any, tables: tuple[str, ...], columns: str, rows: Any) -> None:
    for table in tables:
        name = '"' + table.replace('"', '""') + '"'
        connection.execute(f"CREATE TABLE {name} {columns}")
        for row in rows:
            connection.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()


both = pytest.mark.parametrize("made", [sqlite, duckdb], ids=["sqlite", "duckdb"])
Made = Callable[..., str]


@both
def test_the_only_table_is_read_and_so_is_a_query(made: Made, tmp_path: Path) -> None:
    source = made(tmp_path / "odd #%20 name.db", 'the "posts"')
    first, second = opened(source)
    assert (first.id, first.text, first.label, first.timestamp) == (*ROWS[0][:3], "2024-01-02T00:00:00")
    assert (second.id, second.text, second.label, second.timestamp) == ("b", ROWS[1][1], None, None)
    query = """SELECT upper(id) AS key, text || '!' AS words FROM "the ""posts\""" ORDER BY id DESC"""
    assert [(one.id, one.text[-1]) for one in opened(source, query=query, text="words")] == [("B", "!"), ("A", "!")]


@both
def test_more_tables_or_none_and_a_query_without_the_texts_are_named(made: Made, tmp_path: Path) -> None:
    message = refused(source := made(tmp_path / "two.db", "posts", "users"))
    assert "the tables posts, users, expected one" in message and "corpus.query=" in message
    assert "has no table, expected one" in refused(made(tmp_path / "none.db"))
    query = "SELECT id, label FROM posts"
    assert "Its columns are: id, label" in refused(source, query=query)
    assert "has no column 'body' (corpus.text). Its columns are: id, label" in refused(source, query=query, text="body")


@both
def test_a_query_can_read_this_file_and_do_nothing_else(made: Made, tmp_path: Path) -> None:
    source, secret = made(tmp_path / "posts.db", "posts"), written(tmp_path, "secret.csv", "text\nsecret\n")
    other = made(tmp_path / "other.db", "others")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for query in (
        *("DELETE FROM posts", "DROP TABLE posts", "CREATE TABLE more (text TEXT)", "SELEC text", "", "-- nothing"),
        *(
            f"ATTACH '{other.partition(':///')[2]}' AS other",
            f"ATTACH '{tmp_path / 'new.db'}' AS new",
            "PRAGMA user_version=3",
        ),
        *(
            f"SELECT * FROM read_csv('{secret}')",
            f"COPY posts TO '{tmp_path / 'out.csv'}'",
            "SELECT load_extension('x')",
        ),
        f"VACUUM INTO '{tmp_path / 'copy.db'}'",
    ):
        if query:
            assert source in refused(source, query=query), query
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@both
def test_a_database_that_is_not_there_is_named_and_not_made(made: Made, tmp_path: Path) -> None:
    kind = made(tmp_path / "posts.db", "posts").partition(":")[0]
    missing = tmp_path / "missing.db"
    assert f"There is no database '{missing}'" in refused(f"{kind}:///{missing}")
    assert "Expected" in refused(f"{kind}://posts.db") and "fourth slash" in refused(f"{kind}:///a\0b")
    assert not missing.exists()
    written(tmp_path, "junk.db", "no database at all" * 100)
    assert "cannot be read" in refused(f"{kind}:///{tmp_path / 'junk.db'}")


def test_duckdb_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[duckdb\]"):
        list(opened(f"duckdb:///{written(tmp_path, 'a.duckdb', 'x')}"))


def test_texts_of_another_encoding_are_told_and_read_by_it(tmp_path: Path) -> None:
    source = sqlite(tmp_path / "old.db", "posts", columns="(text)", rows=[("größer".encode("latin-1"),)])
    latin = sqlite3.connect(tmp_path / "old.db")
    latin.execute("UPDATE posts SET text = CAST(text AS TEXT)")
    latin.commit()
    latin.close()
    assert "corpus.encoding" in refused(source)
    assert [one.text for one in opened(source, encoding="latin-1")] == ["größer"]


def test_a_writer_waits_for_no_reader_that_is_done(tmp_path: Path) -> None:
    """Each pass has its own connection, closed also when it is left early."""
    source = sqlite(tmp_path / "posts.db", "posts")
    assert next(iter(opened(source))).id == "a"
    writer = sqlite3.connect(tmp_path / "posts.db", timeout=0)
    writer.execute("INSERT INTO posts (id, text) VALUES ('c', 'new')")
    writer.commit()
    assert [one.id for one in opened(source)] == ["a", "b", "c"]


def test_a_column_of_a_database_that_is_no_text_is_refused_by_its_row(tmp_path: Path) -> None:
    source = sqlite(tmp_path / "posts.db", "posts", columns="(text)", rows=[("one",), (2,)])
    with pytest.raises(InputError, match="row 1: the text is a int"):
        list(opened(source))
