"""A board as files."""

from __future__ import annotations

import json
from pathlib import Path

from moee_topics.mteb.board import Board, TaskScores
from moee_topics.mteb.score_page import write
from moee_topics.mteb.score_recipe import parse_score_recipe


def test_a_board_is_three_files_and_equal_boards_give_equal_bytes(tmp_path: Path) -> None:
    scores = {"HS": {"cosine_spearman": 0.5}, "RW": {"cosine_spearman": float("nan")}}
    board = Board({"model": "mine"}, ["HS", "RW"], [TaskScores("Mine", "STS", "cosine_spearman", "1", scores)])
    recipe = parse_score_recipe({"score": {}})
    first, second = (write(board, recipe, tmp_path / name) for name in ("one", "two"))
    names = ["scores.html", "scores.json", "scores.md"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "one" / "scores.json").read_text()) == first.data == second.data
    assert "Scores of mine" in (tmp_path / "one" / "scores.html").read_text()
