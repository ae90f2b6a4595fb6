"""A table of text says the same in Markdown and HTML, and nothing in it is markup."""

from __future__ import annotations

import pytest

from moee_topics.cli.stdout import print_table
from moee_topics.report import TextTable, to_html, to_markdown

HOSTILE = "<b>a</b> | b\nc"
TABLE = TextTable(HOSTILE, [HOSTILE, "score", "HS"], [[HOSTILE, "ami", "50.00"]], [2], [HOSTILE])


def test_cells_stay_one_line_and_one_cell_in_markdown() -> None:
    lines = to_markdown(TABLE).splitlines()
    plain = "&lt;b&gt;a&lt;/b&gt; \\| b c"
    assert lines == [
        f"### {plain}",
        "",
        f"| {plain} | score | HS |",
        "|---|---|--:|",
        f"| {plain} | ami | **50.00** |",
        "",
        f"- {plain}",
    ]


def test_a_page_escapes_every_text_and_marks_the_best_number() -> None:
    page = to_html(HOSTILE, [TABLE])
    assert "<b>" not in page and page.count("&lt;b&gt;a&lt;/b&gt; | b") == 7
    assert '<td class="number best">50.00</td>' in page and '<th scope="col" class="number">HS</th>' in page


@pytest.mark.parametrize("best", [[], [None]])
def test_where_no_number_is_best_none_is_marked(best: list[int | None]) -> None:
    table = TextTable("t", ["task", "score", "HS"], [["a", "ami", "1"]], best)
    assert "**" not in to_markdown(table) and ' best"' not in to_html("t", [table])


def test_numbers_stand_at_the_right_and_words_at_the_left() -> None:
    headers = ["nr", "topic", "right", "gain", "else taken for", "none"]
    rows = [["1", "2024", "43% to 60%", "–", "", "–"], ["12", "a", "7 %", "-1.50 [a]", "3 moons", ""]]
    table = TextTable("t", headers, rows)
    assert "|--:|---|--:|--:|---|---|" in to_markdown(table)
    page = to_html("t", [table])
    assert '<td class="number">12</td>' in page and "<td>3 moons</td>" in page
    assert "|---|---|---|---|---|---|" in to_markdown(TextTable("t", headers, []))


def test_a_table_in_a_terminal_stands_as_it_does_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(TextTable("t", ["number", "so", "what happened"], [["1", "a", "born"], ["12", "b", "gone"]]))
    lines = capsys.readouterr().out.splitlines()
    assert any("     1 │ a  │ born  " in line for line in lines), lines
