"""Scores as tables: nothing of others is markup, what is no number is a dash."""

from __future__ import annotations

import json

import numpy as np

from moee_topics.mteb.board import Board, TaskScores, summary
from moee_topics.mteb.charts import heatmap
from moee_topics.report import to_html, to_markdown

HOSTILE = "<script>alert(1)</script> | a"


def board_of(name: str) -> Board:
    scores = {"HS": {"cosine_spearman": 0.5}, "RW": {"cosine_spearman": float("nan")}}
    tasks = [TaskScores(name, "STS", "cosine_spearman", "1", scores)]
    return Board({"model": name}, ["HS", "RW"], tasks, [name])


def test_text_of_others_is_escaped_everywhere() -> None:
    table = summary(board_of(HOSTILE))
    page, markdown = to_html(HOSTILE, [table], [heatmap(HOSTILE, [HOSTILE], np.ones((1, 1)))]), to_markdown(table)
    assert "<script>" not in page and "<script>" not in markdown
    assert all(
        line.replace("\\|", "").count("|") == 5
        for line in markdown.splitlines()
        if line.startswith("| <") or "50.00" in line
    )
    assert not any(address in page.replace("http://www.w3.org/2000/svg", "") for address in ("http:", "https:"))


def test_what_is_not_a_number_is_a_dash_and_null() -> None:
    board = board_of("x")
    assert summary(board).rows[0][2:] == ["50.00", "–"]
    assert (
        json.loads(json.dumps(board.to_json(), allow_nan=False))["tasks"][0]["scores"]["RW"]["cosine_spearman"] is None
    )


def test_means_are_over_tasks_and_then_over_types() -> None:
    def task(name: str, kind: str, value: float) -> TaskScores:
        return TaskScores(name, kind, "s", "1", {"HS": {"s": value}})

    board = Board({}, ["HS"], [task("a", "STS", 0.2), task("b", "STS", 0.4), task("c", "Clustering", 0.9)])
    rows = {row[0]: row[2] for row in summary(board).rows}
    assert rows["STS (mean)"] == "30.00"
    assert rows["all types (mean)"] == "60.00"
