"""A table of text says the same in Markdown and HTML, and nothing in it is markup."""

from __future__ import annotations

import pytest

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
    table = TextTable("t", ["nr", "topic", "documents", "why"], [["1", "a", "3", "it is gone"]], texts=["why"])
    assert "|---|---|--:|---|" in to_markdown(table)
    page = to_html("t", [table])
    assert '<td class="number">3</td>' in page and "<td>it is gone</td>" in page
