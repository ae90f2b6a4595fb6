"""The commands that score and compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scored_files import write_files
from typer.testing import CliRunner

from moee_topics.cli.app import app

pytest.importorskip("mteb")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("files"))


def cli(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_score_from_the_command_line_with_a_real_model(
    files: dict[str, Path], tiny_olmoe: Path, tmp_path: Path
) -> None:
    arguments = ["score", f"encoder.model={tiny_olmoe}", f"score.local=STS={files['STS']},name=Mine",
                 "score.methods=HS,RW,sum", "score.alpha=0.5", "--quiet", "--output", str(tmp_path)]  # fmt: skip
    result = cli(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [task["name"] for task in data["tasks"]] == ["Mine"]
    assert data == json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    again = cli(*arguments)
    assert "| Mine | cosine_spearman |" in again.stdout
    counts = cli(*arguments, "--dry-run")
    assert "| Mine | STS | 48 | 48 |" in counts.stdout


def test_compare_from_the_command_line_with_a_real_model(
    files: dict[str, Path], tiny_olmoe: Path, tmp_path: Path
) -> None:
    result = cli("compare", "--base_model", str(tiny_olmoe), f"score.local={files['STS']}", "score.prompts=none,style",
                 "--quiet", "--json", "--output", str(tmp_path))  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pairs"][0]["names"] == ["HS none", "HS style", "RW none", "RW style"]


def test_two_run_folders_are_set_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import moee_topics.report

    runs = [tmp_path / "a", tmp_path / "b"]
    for run_folder in runs:
        run_folder.mkdir()
        (run_folder / "run.json").write_text("{}")
    asked: list[tuple[Path, Path, Path]] = []
    monkeypatch.setattr(moee_topics.report, "write_comparison", lambda *places: asked.append(places))
    result = cli("compare", str(runs[0]), str(runs[1]), "--output", str(tmp_path / "out"), "--json")
    assert json.loads(result.stdout) == {"page": str(tmp_path / "out" / "a-b.html")}
    assert asked == [(*runs, tmp_path / "out" / "a-b.html")]


def test_errors_leave_with_their_exit_code(tmp_path: Path) -> None:
    absent = cli("score", f"score.local={tmp_path / 'absent.csv'}", "--json")
    assert absent.exit_code == 4
    assert json.loads(absent.stdout)["error"]["kind"] == "InputError"
    assert cli("score", "score.tasks=STS12", "score.methods=mean").exit_code == 3
    assert cli("score").exit_code == 3
    (tmp_path / "taken").write_text("a file")
    assert cli("score", "score.tasks=STS12", "--output", str(tmp_path / "taken")).exit_code == 4
