"""Scoring runs: what is computed once, gone on with, chosen and left out."""

from __future__ import annotations

import csv
import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing_disks import FAULTS, fail_from
from scipy.stats import spearmanr
from scored_files import ALL_TYPES, local, recipe, run, unreachable, write_rows
from scoring_doubles import HashEncoder

from moee_topics.errors import InputError, Interrupted
from moee_topics.fuse import Fusion
from moee_topics.mteb.board import summary
from moee_topics.mteb.score_recipe import parse_score_recipe
from moee_topics.report import to_markdown

pytest.importorskip("mteb")


def test_all_six_types_run_from_one_recipe_and_running_again_is_free(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, double = recipe(local(files, *ALL_TYPES)), HashEncoder()
    board = run(made, tmp_path, double)
    assert [task.type for task in board.tasks] == [*ALL_TYPES[:4], "Summarization", "Classification"]
    assert board.variants == ["HS", "RW", "concat", "sum 0.5"]
    for task in board.tasks:
        assert all(np.isfinite(task.scores[label][task.main_score]) for label in board.variants)
    assert {"v_measure", "ami", "ari"} <= set(board.tasks[0].scores["HS"])
    assert len(double.seen) == len(set(double.seen))
    first = {name: (tmp_path / name).read_bytes() for name in ("scores.json", "scores.md", "scores.html")}

    import mteb

    def no_evaluation(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a cached result was computed again")

    monkeypatch.setattr(mteb, "evaluate", no_evaluation)
    encoded = len(double.seen)
    run(made, tmp_path, double)
    assert len(double.seen) == encoded
    assert {name: (tmp_path / name).read_bytes() for name in first} == first


@pytest.mark.parametrize("stop_at", [1, 4])
def test_interrupting_and_resuming_gives_the_same_files(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    import mteb

    development = {"file": str(files["STS"]), "type": "STS", "name": "Dev"}
    made = recipe(
        local(files, "STS", "Clustering"),
        standardize="none,both",
        methods="HS,sum",
        alpha="auto",
        development=development,
    )
    run(made, tmp_path / "whole")
    evaluate, calls = mteb.evaluate, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(mteb, "evaluate", interrupted)
    with pytest.raises(Interrupted, match="run the same command again"):
        run(made, tmp_path / "cut")
    monkeypatch.setattr(mteb, "evaluate", evaluate)
    run(made, tmp_path / "cut")
    for name in ("scores.json", "scores.md", "scores.html", "alphas.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_changed_file_is_scored_again(files: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "sts.jsonl"
    file.write_bytes(files["STS"].read_bytes())
    made = recipe([{"file": str(file), "name": "MySTS"}], methods="HS")
    before = run(made, tmp_path / "out").tasks[0]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    write_rows(file, [{**row, "score": 5 - row["score"]} for row in rows])
    after = run(made, tmp_path / "out").tasks[0]
    assert after.revision != before.revision
    assert after.scores["HS"]["cosine_spearman"] == pytest.approx(-before.scores["HS"]["cosine_spearman"], abs=1e-6)


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
@pytest.mark.parametrize("standardize", ["none", "both"])
def test_sts_scores_are_those_of_a_plain_computation(
    files: dict[str, Path], tmp_path: Path, alpha: float, standardize: str
) -> None:
    made = recipe(local(files, "STS"), alpha=[alpha], standardize=[standardize])
    board = run(made, tmp_path)
    rows = [json.loads(line) for line in files["STS"].read_text().splitlines()]
    double = HashEncoder()
    every = [row[side] for row in rows for side in ("sentence1", "sentence2")]
    statistics = [double.encode(list(dict.fromkeys(every)))]
    sides = [double.encode([row[side] for row in rows]) for side in ("sentence1", "sentence2")]
    hidden, routing = (
        cosines(*(Fusion(method, standardize=standardize).fit(statistics).transform(side) for side in sides))  # type: ignore[arg-type]
        for method in ("hidden_states", "routing_weights")
    )
    gold = [row["score"] for row in rows]
    labels = [label for label in board.variants if label.startswith("sum")]
    found = board.tasks[0].scores[labels[0]]["cosine_spearman"]
    # float16 in the store may swap two near-equal ranks.
    assert found == pytest.approx(spearmanr(gold, hidden + alpha * routing).statistic, abs=5e-3)


def test_alpha_is_chosen_for_each_task_and_named(files: dict[str, Path], tmp_path: Path) -> None:
    development = {"file": str(files["STS"]), "type": "STS", "name": "Dev"}
    made = recipe(local(files, "STS", "Clustering"), methods="sum", alpha="auto", development=development)
    board = run(made, tmp_path)
    assert board.variants == ["sum auto"]
    for task in board.tasks:
        alpha = task.alphas["sum auto"]
        fixed = run(recipe(local(files, "STS", "Clustering"), methods="sum", alpha=[alpha]), tmp_path)
        same = next(t for t in fixed.tasks if t.name == task.name)
        assert same.scores[f"sum {alpha:g}"] == task.scores["sum auto"]
        assert any(f"{task.name}: sum auto {alpha:g}" in note for note in board.notes)
    with pytest.raises(InputError, match=r"score\.alpha=auto needs score\.development"):
        run(recipe(local(files, "STS"), methods="sum", alpha="auto"), tmp_path)


def test_alpha_is_searched_on_a_development_file(files: dict[str, Path], tmp_path: Path) -> None:
    from moee_topics.fuse.alpha import grid_search_alpha_pairs

    development = {"file": str(files["STS"]), "type": "STS", "name": "Dev"}
    made = recipe(local(files, "PairClassification"), methods="sum", alpha="auto", development=development)
    board = run(made, tmp_path)
    rows = [json.loads(line) for line in files["STS"].read_text().splitlines()]
    sides = [HashEncoder().encode([row[side] for row in rows]) for side in ("sentence1", "sentence2")]
    best = grid_search_alpha_pairs(sides[0], sides[1], [row["score"] for row in rows]).alpha
    assert board.tasks[0].alphas == {"sum auto": best}
    assert any("development file Dev" in note for note in board.notes)
    wrong = {**development, "file": str(files["Reranking"]), "type": "Reranking"}
    with pytest.raises(InputError, match="for Clustering or STS"):
        run(recipe(local(files, "STS"), methods="sum", alpha="auto", development=wrong), tmp_path)


def test_the_reference_mode_says_what_it_is(files: dict[str, Path], tmp_path: Path) -> None:
    board = run(recipe(local(files, "STS"), standardize="reference"), tmp_path)
    assert board.variants == ["HS", "RW batch-z", "concat batch-z", "sum 0.5"]
    assert any("depends on its neighbours" in note for note in board.notes)
    other = run(recipe(local(files, "STS"), standardize="reference", batch_size=5), tmp_path)
    assert other.tasks[0].scores["HS"] == board.tasks[0].scores["HS"]
    assert other.tasks[0].scores["RW batch-z"] != board.tasks[0].scores["RW batch-z"]


def test_missing_data_ends_the_run_or_is_left_out(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable(monkeypatch)
    sections = local(files, "STS")
    with pytest.raises(InputError, match="STS12"):
        run(recipe(sections, tasks="STS12"), tmp_path)
    board = run(recipe(sections, tasks="STS12", skip_missing=True, methods="HS"), tmp_path)
    assert [task.name for task in board.tasks] == ["MySTS"]
    assert "Couldn't reach" in board.skipped["STS12"]
    assert "Not scored: STS12" in to_markdown(summary(board))
    with pytest.raises(InputError, match="No task could be scored"):
        run(parse_score_recipe({"score": {"tasks": ["STS12"], "skip_missing": True}}), tmp_path)


def test_a_table_of_csv_is_scored_like_one_of_jsonl(files: dict[str, Path], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in files["STS"].read_text().splitlines()]
    path = tmp_path / "sts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    boards = [
        run(recipe([{"file": str(f), "name": "X"}], methods="RW"), tmp_path / f.suffix) for f in (path, files["STS"])
    ]
    assert replace(boards[0].tasks[0], revision="") == replace(boards[1].tasks[0], revision="")


@pytest.mark.parametrize(
    ("call", "number"), [(1, errno.ENOSPC), (3, errno.EROFS), (6, errno.ENOSPC), (9, errno.ENOSPC)]
)
def test_a_disk_that_fails_ends_the_run_with_an_error_and_it_goes_on_with_a_good_one(
    files: dict[str, Path], tmp_path: Path, call: int, number: int
) -> None:
    made, names = recipe(local(files, "STS"), methods="HS,sum"), ("scores.json", "scores.md", "scores.html")
    run(made, tmp_path / "whole")
    error, message = FAULTS[number]
    with pytest.MonkeyPatch.context() as patch:
        fail_from(patch, call, number)
        with pytest.raises(error, match=message):
            run(made, tmp_path / "full")
    assert not list((tmp_path / "full").rglob("*.tmp"))
    run(made, tmp_path / "full")
    assert all((tmp_path / "full" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)
