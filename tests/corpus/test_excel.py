"""Excel files: values as a spreadsheet shows them, and what only one can know is refused by row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from corpus_files import opened, refused

from moee_topics.corpus import Document

openpyxl = pytest.importorskip("openpyxl")
HEADER = ["id", "text", "label", "date"]


def book_of(path: Path, change: Callable[[Any], None] = lambda sheet: None, rows: Any = None) -> Path:
    """A workbook of these rows whose first sheet is changed afterwards."""
    book = openpyxl.Workbook()
    for row in rows or (HEADER, [1, "one", "a", datetime(2024, 5, 31)], [2, "two", "b", date(1965, 1, 2)]):
        book.active.append(row)
    change(book.active)
    book.save(path)
    return path


def test_an_excel_sheet_is_a_table(tmp_path: Path) -> None:
    rows = (["id", "text", None, "label"], [1, "one, two", "x", "a"], [None] * 4, [2, "three", None, 7])
    path = book_of(tmp_path / "t.xlsx", rows=rows)
    assert list(opened(path)) == [Document("1", "one, two", "a"), Document("2", "three", "7")]


def test_dates_are_dates_also_before_1970(tmp_path: Path) -> None:
    times = [document.timestamp for document in opened(book_of(tmp_path / "t.xlsx"))]
    assert times == ["2024-05-31T00:00:00", "1965-01-02T00:00:00"]


@pytest.mark.parametrize("cell", ["B3", "C3", "D3"])
def test_a_formula_whose_value_was_not_saved_is_refused_by_row(tmp_path: Path, cell: str) -> None:
    path = book_of(tmp_path / "t.xlsx", lambda sheet: sheet.__setitem__(cell, '=CONCATENATE("a","b")'))
    assert "row 3: the column" in refused(path) and "a formula without its value" in refused(path)


@pytest.mark.parametrize("row", [3, 4])
def test_a_row_of_formulas_alone_is_refused_and_not_left_out(tmp_path: Path, row: int) -> None:
    rows: list[list[Any]] = [["text", "label"], ["one", "a"], ["two", "b"], ["three", "c"]]
    rows[row - 1] = ["=A2", "=B2"]
    assert f"row {row}: the column 'text' holds a formula" in refused(book_of(tmp_path / "t.xlsx", rows=rows))


def test_a_blank_row_of_one_column_is_a_row_without_text(tmp_path: Path) -> None:
    read = opened(book_of(tmp_path / "t.xlsx", rows=[["text"], ["one"], [None], ["two"], [None]]))
    assert [document.id for document in read] == ["row 2", "row 4"] and read.counts.empty == 1


def test_gaps_are_no_formulas_and_columns_that_nobody_reads_may_hold_some(tmp_path: Path) -> None:
    rows = [["id", "text", "more"], [1, "one", None], [None, "two", "=1+1"], [3, None, None], [4, "four", None]]
    read = list(opened(book_of(tmp_path / "t.xlsx", rows=rows)))
    assert [(document.id, document.text) for document in read] == [("1", "one"), ("row 3", "two"), ("4", "four")]


def test_an_error_of_a_formula_is_no_text(tmp_path: Path) -> None:
    path = book_of(tmp_path / "t.xlsx", lambda sheet: sheet.__setitem__("B2", "#REF!"))
    assert "row 2: the column 'text' holds #REF!" in refused(path)


@pytest.mark.parametrize(("cells", "is_refused"), [("B2:B3", True), ("A2:B2", True), ("B2:C2", True), ("E2:E3", False)])
def test_merged_cells_are_refused_where_they_hide_a_value(tmp_path: Path, cells: str, is_refused: bool) -> None:
    path = book_of(tmp_path / "t.xlsx", lambda sheet: sheet.merge_cells(cells))
    if is_refused:
        assert f"cells {cells}: they are merged" in refused(path)
    else:
        assert len(list(opened(path))) == 2


def test_a_hidden_sheet_is_not_read_and_a_blank_first_row_is_no_header(tmp_path: Path) -> None:
    def hide(sheet: Any) -> None:
        sheet.sheet_state = "hidden"
        shown = sheet.parent.create_sheet("shown")
        shown["B3"], shown["B4"] = "text", "seen"
        sheet.parent.active = 1

    assert list(opened(book_of(tmp_path / "t.xlsx", hide))) == [Document("row 4", "seen")]
