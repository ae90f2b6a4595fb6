"""What commands write to stdout: JSON, lines, and tables that are drawn in a terminal and Markdown elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from moee_topics.report import TextTable


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    from moee_topics.store import to_json

    typer.echo(to_json(data, indent=2))


def show(data: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """The same thing for programs or for people."""
    if as_json:
        print_json(data)
        return
    for line in lines:
        typer.echo(line)


def show_tables(data: Any, tables: Sequence[TextTable], page: Any, *, as_json: bool) -> None:
    """Tables and where their page is, or their JSON."""
    if as_json:
        print_json(data)
        return
    for table in tables:
        print_table(table)
    if page is not None:
        typer.echo(f"Page: {page}")


def print_table(table: TextTable) -> None:
    """A table, drawn in a terminal and Markdown elsewhere."""
    if not sys.stdout.isatty():
        from moee_topics.report import to_markdown

        typer.echo(to_markdown(table))
        return
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # As Text: rich takes [brackets] in a plain string for markup, and a topic's word may have some.
    drawn = RichTable(title=Text(table.title))
    # Folded, not cut: a long name of a model or a task would lose what tells it from others.
    for header, is_number in zip(table.headers, table.are_numbers, strict=True):
        drawn.add_column(Text(header), justify="right" if is_number else "left", overflow="fold")
    best = table.best or [None] * len(table.rows)
    for row, top in zip(table.rows, best, strict=True):
        drawn.add_row(*(Text(cell, style="bold" if i == top else "") for i, cell in enumerate(row)))
    console = Console(highlight=False)
    console.print(drawn)
    for note in table.notes:
        console.print(Text(f"- {note}"))


def fact_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """A line for each fact that is there: its name in words, and its value."""
    for name, value in facts.items():
        if value is None or value == "":
            continue
        parts = []
        for key, item in value.items() if isinstance(value, Mapping) else [("", value)]:
            # bool is an int, and True is no amount.
            amount = f"{item:,}" if isinstance(item, int) and not isinstance(item, bool) else str(item)
            parts.append(f"{key} {amount}".strip())
        yield f"{name.replace('_', ' '):<20} {', '.join(parts)}"
