"""The beginning of a source: its columns, those to propose, and how long its texts are."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from moee_topics.corpus import CorpusSettings, preview
from moee_topics.errors import InputError

STORIES = [
    ("1", "a title", "the first story, which is long", "x"),
    ("2", "another", "a second story, longer still", "y"),
]
NAMES = ("nr", "headline", "story", "desk")


def csv_file(folder: Path) -> str:
    path = folder / "posts.csv"
    path.write_text("\n".join([",".join(NAMES), *('"' + '","'.join(row) + '"' for row in STORIES)]))
    return str(path)


def json_lines(folder: Path) -> str:
    path = folder / "posts.jsonl"
    path.write_text("\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in STORIES))
    return str(path)


def database(folder: Path) -> str:
    connection = sqlite3.connect(folder / "posts.db")
    connection.execute(f"CREATE TABLE posts ({', '.join(f'{name} TEXT' for name in NAMES)})")
    connection.executemany("INSERT INTO posts VALUES (?, ?, ?, ?)", STORIES)
    connection.commit()
    connection.close()
    return f"sqlite:///{folder / 'posts.db'}"


@pytest.mark.parametrize("source", [csv_file, json_lines, database])
def test_the_columns_are_those_that_are_there_and_the_longest_is_proposed(source: object, tmp_path: Path) -> None:
    look = preview(CorpusSettings(source(tmp_path)))  # type: ignore[operator]
    assert look.columns == NAMES and len(look.rows) == 2
    assert look.usual.text == ("story",) and look.usual.label is None
    assert look.characters(("story",)) == 29 and look.characters(("headline", "story")) == 36
    with pytest.raises(InputError, match=r"no column 'body'.*nr, headline, story, desk"):
        look.check(CorpusSettings(look.settings.source, text="body"))


def test_a_usual_name_is_proposed_before_a_longer_column(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("text,notes,date,category\nshort,very much longer than the text,2024,a\n")
    usual = preview(CorpusSettings(str(tmp_path / "posts.csv"))).usual
    assert (usual.text, usual.label, usual.timestamp) == (("text",), "category", "date")


def test_a_table_without_rows_has_the_columns_of_its_header(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("text,notes\n")
    look = preview(CorpusSettings(str(tmp_path / "posts.csv")))
    assert look.columns == ("text", "notes") and look.characters(("text",)) == 0


def test_a_file_of_lines_has_no_columns_and_texts_of_some_length(tmp_path: Path) -> None:
    (tmp_path / "posts.txt").write_text("one\nthree\nseven..\n")
    look = preview(CorpusSettings(str(tmp_path / "posts.txt")))
    assert look.columns == () and look.usual.text == () and look.characters(()) == 5


def test_what_cannot_be_looked_at_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Standard input cannot be looked at"):
        preview(CorpusSettings("-"))
    with pytest.raises(InputError, match="There is no corpus"):
        preview(CorpusSettings(str(tmp_path / "nowhere.csv")))
