"""The numbers published with the paper beside ours, with the cells whose published protocol is unsound marked.

The numbers are in ``recipes/paper/published.csv``: Li & Zhou, "Your Mixture-of-Experts LLM Is Secretly an Embedding
Model For Free", arXiv 2410.10814, Tables 3, 4 and 8 to 12.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from moee_topics.errors import InputError
from moee_topics.fuse import METHODS
from moee_topics.mteb.board import Board, TaskScores, percent
from moee_topics.mteb.board_columns import Column
from moee_topics.mteb.score_recipe import PAPER_TASKS, PublishedSection
from moee_topics.recipe import recipes_folder
from moee_topics.report import TextTable

LABEL_ARITHMETIC = {
    ("sum", "Clustering"): (
        "the published code averages the k-means cluster ids of HS and RW, which are arbitrary numbers, and V-measure "
        "then rises with the number of made-up clusters; ours clusters the single vector of the sum"
    ),
    ("sum", "Classification"): (
        "the published code averages the class ids that two classifiers predict and rounds down, for two classes a "
        "logical AND; ours trains one classifier on the single vector of the sum"
    ),
}
P_VALUES = "the score of SummEval averages correlations together with their p-values (mteb issue 1156)"
SAME_TWICE = "the same number is printed for this model with and without the prompt"


class Cell(NamedTuple):
    """Where a published number stands."""

    model: str
    prompt: str
    method: str
    task: str


@dataclass(frozen=True)
class PaperRow:
    """One number of ours beside the published one, in percent.

    Attributes:
        task: the data set.
        type: mteb's task type.
        method: HS, RW, concat or sum.
        column: our column.
        ours: our main score.
        published: the paper's.
        difference: ours minus published, in points.
        unsound: why the published number does not measure what it says, or None.
    """

    task: str
    type: str
    method: str
    column: str
    ours: float
    published: float
    difference: float
    unsound: str | None


@cache
def published(path: Path | None = None) -> Mapping[Cell, float]:
    """The published numbers of single data sets, in percent.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = path or recipes_folder() / "paper" / "published.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["task"]]
        return {Cell(r["model"], r["prompt"], r["method"], r["task"]): float(r["percent"]) for r in rows}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"The published numbers in {path} cannot be read: {error}. Install the package again."
        ) from error


def doubt(cell: Cell, task_type: str) -> str | None:
    """Why a published number should not be compared with, or None."""
    if task_type == "Summarization":
        return P_VALUES
    if why := LABEL_ARITHMETIC.get((cell.method, task_type)):
        return why
    numbers = published()
    # A prompt changes every vector: two results that agree to the last digit are one that was printed twice.
    both = {numbers.get(cell._replace(prompt=prompt)) for prompt in ("none", "prompteol")}
    return SAME_TWICE if len(both) == 1 else None


def beside_the_paper(board: Board, columns: Sequence[Column], where: PublishedSection) -> list[PaperRow]:
    """Our scores of the paper's data sets beside the published ones, task by task and column by column."""
    return [row for task in board.tasks for column in columns if (row := _row(task, column, where)) is not None]


def _row(task: TaskScores, column: Column, where: PublishedSection) -> PaperRow | None:
    method = METHODS[column.fusion.method].short_name
    cell = Cell(where.model, where.prompt, method, task.name)
    theirs = published().get(cell)
    ours = task.score(column.label, task.main_score) * 100
    if theirs is None or not math.isfinite(ours):
        return None
    why = doubt(cell, task.type)
    return PaperRow(task.name, task.type, method, column.label, ours, theirs, ours - theirs, why)


def rows_to_json(rows: Sequence[PaperRow], where: PublishedSection) -> dict[str, Any]:
    """The comparison as plain JSON."""
    return {**where.model_dump(), "rows": [asdict(row) for row in rows]}


def paper_table(rows: Sequence[PaperRow], where: PublishedSection) -> TextTable:
    """Ours, published and the difference for each column, a mark on the unsound, and means of the types at the end."""
    labels = list(dict.fromkeys(row.column for row in rows))
    tasks = list(dict.fromkeys((row.task, row.type) for row in rows))
    reasons = {why: chr(ord("a") + i) for i, why in enumerate(dict.fromkeys(r.unsound for r in rows if r.unsound))}
    by_place = {(row.task, row.column): row for row in rows}
    body = [[task, kind, *_cells([by_place.get((task, label)) for label in labels], reasons)] for task, kind in tasks]
    for kind, data_sets in PAPER_TASKS.items():
        of_type = [row for row in rows if row.type == kind]
        if of_type and len(data_sets) > 1:
            means = [_mean([row for row in of_type if row.column == label], len(data_sets)) for label in labels]
            body.append([f"mean of {kind}", kind, *_cells(means, reasons)])
    headers = ["task", "type", *(head for label in labels for head in (f"{label}: ours", "paper", "difference"))]
    notes = [f"[{mark}] {why}." for why, mark in reasons.items()]
    missing = sorted({task for tasks_ in PAPER_TASKS.values() for task in tasks_} - {task for task, _ in tasks})
    if missing:
        notes.append(f"Not scored, so not compared: {', '.join(missing)}.")
    return TextTable(f"{where.model}, prompt {where.prompt}: beside the paper", headers, body, (), notes)


def _cells(rows: Sequence[PaperRow | None], reasons: Mapping[str, str]) -> list[str]:
    cells: list[str] = []
    for row in rows:
        if row is None:
            cells += ["–", "–", "–"]
            continue
        mark = f" [{reasons[row.unsound]}]" if row.unsound else ""
        cells += [percent(row.ours / 100), f"{row.published:.2f}{mark}", f"{row.difference:+.2f}"]
    return cells


def _mean(rows: Sequence[PaperRow], needed: int) -> PaperRow | None:
    """The mean over all data sets of a type, marked if one of its numbers is unsound; None where some are missing."""
    # The paper's mean is of all data sets of the type; a mean of some beside it would look like a difference.
    if len(rows) != needed:
        return None
    ours, theirs = (sum(values) / needed for values in zip(*((r.ours, r.published) for r in rows), strict=True))
    first = rows[0]
    why = next((row.unsound for row in rows if row.unsound), None)
    return PaperRow("mean", first.type, first.method, first.column, ours, theirs, ours - theirs, why)
