"""Scores of tasks and vectors, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moee_topics.mteb.tasks import WITH_LABELS_SHUFFLED
from moee_topics.report import TextTable

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
        """One score of a variant; NaN where there is none."""
        return self.scores.get(label, {}).get(name, math.nan)

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON; NaN is null."""
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
        """The board as plain JSON; NaN is null."""
        return {
            "encoder": dict(self.encoder),
            "variants": list(self.variants),
            "tasks": [task.to_json() for task in self.tasks],
            "notes": list(self.notes),
            "skipped": dict(self.skipped),
        }


def summary(board: Board) -> TextTable:
    """Task by method, in percent, with AMI and ARI below each clustering task and means by type at the end."""
    rows: list[list[str]] = []
    best: list[int | None] = []
    for task in board.tasks:
        for score in _shown(task):
            values = [task.score(label, score) for label in board.variants]
            _add(rows, best, [task.name, score], values)
            controls = [task.score(label, score + WITH_LABELS_SHUFFLED) for label in board.variants]
            if any(map(math.isfinite, controls)):
                # Beside the number what it comes to where there is nothing to find.
                cells = zip(rows[-1][2:], map(percent, controls), strict=True)
                rows[-1] = [task.name, f"{score} (shuffled)", *(f"{cell} ({control})" for cell, control in cells)]
    for name, values in means(board).items():
        _add(rows, best, [name, "mean of main scores"], values)
    skipped = [f"Not scored: {name}. {why}" for name, why in board.skipped.items()]
    return TextTable("Scores in percent", ["task", "score", *board.variants], rows, best, [*board.notes, *skipped])


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
