"""Rows are the same thing from every kind of table: with a place, by column, and not to be changed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from corpus_files import FILES, ROWS, written

from moee_topics.corpus.rows import Row, Table
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.tables import read_table

every_kind = pytest.mark.parametrize("name", sorted(FILES))


def opened(folder: Path, name: str) -> Table:
    path = written(folder, name, FILES[name])
    return read_table(path, CorpusSettings(str(path)))


def test_a_row_is_a_value_without_room_for_more() -> None:
    row = Row("line 7", {"text": "one"})
    assert row == Row("line 7", {"text": "one"}) and not hasattr(row, "__dict__")
    with pytest.raises(FrozenInstanceError):
        row.place = "line 8"  # type: ignore[misc]


@every_kind
def test_every_row_has_a_place_of_its_own(tmp_path: Path, name: str) -> None:
    rows = list(opened(tmp_path, name).rows(None))
    assert [row.values["id"] for row in rows] == [row["id"] for row in ROWS]
    assert len({row.place for row in rows}) == len(ROWS)


@every_kind
def test_a_column_that_is_asked_for_has_the_same_values_without_the_others(tmp_path: Path, name: str) -> None:
    alone, whole = ([row.values["text"] for row in opened(tmp_path, name).rows(asked)] for asked in ({"text"}, None))
    assert alone == whole == [row["text"] for row in ROWS]


@every_kind
def test_columns_are_those_of_the_header_and_lines_of_json_have_none(tmp_path: Path, name: str) -> None:
    assert opened(tmp_path, name).columns == (None if "json" in name else list(ROWS[0]))
