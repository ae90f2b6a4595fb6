"""A board as files: JSON, Markdown and one HTML page, with the paper's numbers beside ours where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moee_topics.mteb.board import Board, summary
from moee_topics.mteb.board_columns import columns_of
from moee_topics.mteb.paper import beside_the_paper, paper_table, rows_to_json
from moee_topics.mteb.score_recipe import ScoreRecipe
from moee_topics.report import TextTable, to_html, to_markdown
from moee_topics.store import write_json, write_text


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        data: the JSON.
        tables: the tables of the page.
        page: its file.
    """

    data: dict[str, Any]
    tables: Sequence[TextTable]
    page: Path


def write(board: Board, recipe: ScoreRecipe, output: Path) -> Written:
    """Writes ``scores.json``, ``scores.md`` and ``scores.html``; the same board gives the same bytes."""
    tables = [summary(board)]
    data = board.to_json()
    if recipe.score.paper is not None:
        rows = beside_the_paper(board, columns_of(recipe), recipe.score.paper)
        tables.append(paper_table(rows, recipe.score.paper))
        data["paper"] = rows_to_json(rows, recipe.score.paper)
    title = f"Scores of {board.encoder.get('model', 'a model')}"
    return Written(data, tables, write_files(output, "scores", data, tables, title))


def write_files(
    output: Path, stem: str, data: Any, tables: Sequence[TextTable], title: str, figures: Sequence[str] = ()
) -> Path:
    """Writes ``stem`` as .json, .md and .html into a folder; the page is the last of them."""
    write_json(output / f"{stem}.json", data)
    write_text(output / f"{stem}.md", "\n".join(to_markdown(table) for table in tables))
    page = output / f"{stem}.html"
    write_text(page, to_html(title, tables, figures))
    return page
