"""A table of text, for the terminal, Markdown and HTML: scores of tasks, methods side by side, two versions."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """A table of text: the best number of a row is at ``best``.

    Attributes:
        title: above it.
        headers: of the columns.
        rows: cells; a column of numbers stands at the right, one of text at the left.
        best: of each row, the index of its best cell, or None.
        notes: below it.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Sequence[int | None] = ()
    notes: Sequence[str] = ()

    @property
    def are_numbers(self) -> list[bool]:
        """Of each column whether all that is in it are numbers, which stand at the right."""
        columns = [[cell for cell in column if cell not in NO_NUMBER] for column in zip(*self.rows, strict=True)]
        columns = columns or [[]] * len(self.headers)
        return [bool(cells) and all(map(_is_number, cells)) for cells in columns]


NO_NUMBER = ("", "–")
"""What stands where there is none."""


def _is_number(cell: str) -> bool:
    """Whether a cell is a number, perhaps in percent, as a range or with a mark: 1,204 or 43% to 60% or 51.20 [a]."""
    begins = re.match(r"[-+−±<]?\d", cell)
    return begins is not None and not re.search(r"[^\W\d_]{2,}", cell.replace(" to ", " "))


def to_markdown(table: TextTable) -> str:
    """The table as GitHub Markdown, the best number of a row in bold."""
    lines = [f"### {_plain(table.title)}", "", "| " + " | ".join(map(_plain, table.headers)) + " |"]
    lines.append("|" + "|".join("--:" if is_number else "---" for is_number in table.are_numbers) + "|")
    for row, top in _with_best(table):
        cells = [f"**{_plain(cell)}**" if i == top else _plain(cell) for i, cell in enumerate(row)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {_plain(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    # Most renderers of Markdown let HTML through, and a bar or a line break would begin another cell or row.
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _with_best(table: TextTable) -> list[tuple[Sequence[str], int | None]]:
    best = table.best or [None] * len(table.rows)
    return list(zip(table.rows, best, strict=True))


def to_html(title: str, tables: Sequence[TextTable], figures: Sequence[str] = ()) -> str:
    """One page that opens without a network; every text is escaped, figures are our own SVG."""
    body = "\n".join([*map(html_section, tables), *(f"<figure>{figure}</figure>" for figure in figures)])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head>\n'
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def html_section(table: TextTable) -> str:
    """The table with its title and notes as a part of a page; every text is escaped."""
    kinds = [' class="number"' if is_number else "" for is_number in table.are_numbers]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(header)}</th>' for kind, header in zip(kinds, table.headers, strict=True)
    )
    rows = []
    for row, top in _with_best(table):
        cells = [f"<td{kind}>{html.escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)]
        if top is not None:
            cells[top] = f'<td class="number best">{html.escape(row[top])}</td>'
        rows.append("<tr>" + "".join(cells) + "</tr>")
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    title = html.escape(table.title)
    return (
        f'<section><h2>{title}</h2>\n<div role="region" aria-label="{title}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>"
        + "\n".join(rows)
        + f"</tbody></table></div>\n<ul>{notes}</ul></section>"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}div{overflow-x:auto}table{border-collapse:collapse}th,td{padding:.25rem .75rem;"
    "border-bottom:1px solid #d6d6d6;text-align:left}.number{text-align:right;font-variant-numeric:tabular-nums}"
    ".best{font-weight:700}li{color:#444}figure{margin:2rem 0}svg{max-width:100%;height:auto}"
    # A wide table scrolls within itself, and its first column stays.
    "h1,h2,td:first-child{overflow-wrap:anywhere}td:first-child{min-width:min(20rem,40vw);position:sticky;left:0;background:inherit}"
    "tr{background:#fff}@media (max-width:600px){body{margin:1rem auto;font-size:15px}h1{font-size:1.5rem}"
    "h2{font-size:1.15rem}table{font-size:.85rem}th,td{padding:.2rem .4rem}td:first-child{max-width:10rem}}"
    "@media print{body{margin:0;max-width:none}div{overflow:visible}table{font-size:8pt}th,td{padding:.15rem .3rem}"
    "tr,figure{break-inside:avoid}}"
    "@media screen and (prefers-color-scheme:dark){body,tr{background:#16181c;color:#eee}li{color:#bbb}"
    "th,td{border-color:#444}figure{background:#fff;padding:1rem}}"
)
