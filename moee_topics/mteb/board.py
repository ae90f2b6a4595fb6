"""Scores of tasks and vectors as one table, for the terminal, Markdown, HTML and JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moee_topics.mteb.tasks import SHUFFLED

Scores = Mapping[str, float]
CHANCE_CORRECTED = ("ami", "ari")


@dataclass(frozen=True)
class TaskScores:
    """The scores of one task.

    Attributes:
        name: the task.
        type: mteb's task type.
        main_score: the score it is ranked by.
        revision: the version of its data; of a local file a digest of its content.
        scores: of each variant, by its label, mteb's scores by name, each between -1 and 1.
        alphas: the alpha that was chosen for a variant, where the recipe says to choose one.
        local: whether its data is a local file.
        left_out: rows and candidates of the file that are not scored.
    """

    name: str
    type: str
    main_score: str
    revision: str
    scores: Mapping[str, Scores]
    alphas: Mapping[str, float] = field(default_factory=dict)
    local: bool = False
    left_out: int = 0

    def score(self, label: str, name: str) -> float:
        """One score of a variant; not a number where there is none."""
        return self.scores.get(label, {}).get(name, math.nan)

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON; what is not a number is null."""
        return {
            "name": self.name,
            "type": self.type,
            "main_score": self.main_score,
            "revision": self.revision,
            "local": self.local,
            "left_out": self.left_out,
            "alphas": dict(self.alphas),
            "scores": {
                label: {name: value if math.isfinite(value) else None for name, value in sorted(scores.items())}
                for label, scores in self.scores.items()
            },
        }


@dataclass(frozen=True)
class Board:
    """All scores of a run: no times in it, so the same run gives the same JSON.

    Attributes:
        encoder: everything that the vectors depend on.
        variants: labels of the vectors, the columns.
        tasks: the rows.
        notes: what a reader of the numbers must know.
        skipped: tasks whose data could not be had, with the reason.
    """

    encoder: Mapping[str, Any]
    variants: Sequence[str]
    tasks: Sequence[TaskScores]
    notes: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The board as plain JSON; what is not a number is null."""
        return {
            "encoder": dict(self.encoder),
            "variants": list(self.variants),
            "tasks": [task.to_json() for task in self.tasks],
            "notes": list(self.notes),
            "skipped": dict(self.skipped),
        }


@dataclass(frozen=True)
class Table:
    """A table of text: the best number of a row is at ``best``.

    Attributes:
        title: above it.
        headers: of the columns; the first two are text, the others numbers.
        rows: cells.
        best: of each row, the index of its best cell, or None.
        notes: below it.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Sequence[int | None] = ()
    notes: Sequence[str] = ()


def summary(board: Board) -> Table:
    """Task by method, in percent, with AMI and ARI below each clustering task and means by type at the end."""
    rows: list[list[str]] = []
    best: list[int | None] = []
    for task in board.tasks:
        for score in _shown(task):
            values = [task.score(label, score) for label in board.variants]
            _add(rows, best, [task.name, score], values)
            controls = [task.score(label, score + SHUFFLED) for label in board.variants]
            if any(map(math.isfinite, controls)):
                # Beside the number what it comes to where there is nothing to find.
                cells = zip(rows[-1][2:], map(percent, controls), strict=True)
                rows[-1] = [task.name, f"{score} (shuffled)", *(f"{cell} ({control})" for cell, control in cells)]
    for name, values in means(board).items():
        _add(rows, best, [name, "mean of main scores"], values)
    skipped = [f"Not scored: {name}. {why}" for name, why in board.skipped.items()]
    return Table("Scores in percent", ["task", "score", *board.variants], rows, best, [*board.notes, *skipped])


def _shown(task: TaskScores) -> list[str]:
    extra = [name for name in CHANCE_CORRECTED if any(name in scores for scores in task.scores.values())]
    return [task.main_score, *extra]


def _add(rows: list[list[str]], best: list[int | None], head: list[str], values: Sequence[float]) -> None:
    rows.append([*head, *(percent(value) for value in values)])
    finite = [value for value in values if math.isfinite(value)]
    distinct = len({round(value, 4) for value in finite}) > 1
    best.append(len(head) + list(values).index(max(finite)) if distinct else None)


def percent(value: float) -> str:
    """A score as percent with two digits, or a dash."""
    return f"{100 * value:.2f}" if math.isfinite(value) else "–"


def means(board: Board) -> dict[str, list[float]]:
    """Mean main score of each task type with two or more tasks, and the mean over the types, one for each variant."""
    types = list(dict.fromkeys(task.type for task in board.tasks))
    by_type = {}
    for kind in types:
        tasks = [task for task in board.tasks if task.type == kind]
        rows = [[task.score(label, task.main_score) for label in board.variants] for task in tasks]
        # Plain sums: a column that lacks one of its scores must come to "not a number".
        by_type[kind] = [sum(column) / len(tasks) for column in zip(*rows, strict=True)]
    shown = {f"{kind} (mean)": v for kind, v in by_type.items() if sum(t.type == kind for t in board.tasks) > 1}
    if len(types) > 1:
        shown["all types (mean)"] = [sum(column) / len(types) for column in zip(*by_type.values(), strict=True)]
    return shown


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown, the best number of a row in bold."""
    lines = [f"### {_plain(table.title)}", "", "| " + " | ".join(map(_plain, table.headers)) + " |"]
    lines.append("|" + "|".join("---" if i < 2 else "--:" for i in range(len(table.headers))) + "|")
    for row, top in _with_best(table):
        cells = [f"**{_plain(cell)}**" if i == top else _plain(cell) for i, cell in enumerate(row)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {_plain(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _with_best(table: Table) -> list[tuple[Sequence[str], int | None]]:
    best = table.best or [None] * len(table.rows)
    return list(zip(table.rows, best, strict=True))


def to_html(title: str, tables: Sequence[Table], figures: Sequence[str] = ()) -> str:
    """One page that opens without a network; every text is escaped, figures are our own SVG."""
    sections = []
    for table in tables:
        head = "".join(f'<th scope="col">{html.escape(header)}</th>' for header in table.headers)
        rows = []
        for row, top in _with_best(table):
            kinds = ["", "", *(' class="number best"' if i == top else ' class="number"' for i in range(2, len(row)))]
            cells = (f"<td{kind}>{html.escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
            rows.append("<tr>" + "".join(cells) + "</tr>")
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
        sections.append(
            f"<section><h2>{html.escape(table.title)}</h2>\n<div><table><thead><tr>{head}</tr></thead>\n"
            "<tbody>" + "\n".join(rows) + f"</tbody></table></div>\n<ul>{notes}</ul></section>"
        )
    body = "\n".join([*sections, *(f"<figure>{figure}</figure>" for figure in figures)])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head>\n'
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}div{overflow-x:auto}table{border-collapse:collapse}th,td{padding:.25rem .75rem;"
    "border-bottom:1px solid #d6d6d6;text-align:left}.number{text-align:right;font-variant-numeric:tabular-nums}"
    ".best{font-weight:700}li{color:#444}figure{margin:2rem 0}svg{max-width:100%;height:auto}"
    "@media (prefers-color-scheme:dark){body{background:#16181c;color:#eee}li{color:#bbb}th,td{border-color:#444}"
    "figure{background:#fff;padding:1rem}}"
)
