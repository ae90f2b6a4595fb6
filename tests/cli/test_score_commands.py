"""The commands that score and compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import call
from scored_files import write_files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("mteb")
    return write_files(tmp_path_factory.mktemp("files"))


def test_score_from_the_command_line_with_a_real_model(
    files: dict[str, Path], tiny_olmoe: Path, tmp_path: Path
) -> None:
    arguments = ["score", f"encoder.model={tiny_olmoe}", f"score.local=STS={files['STS']},name=Mine",
                 "score.methods=HS,RW,sum", "score.alpha=0.5", "--quiet", "--output", str(tmp_path)]  # fmt: skip
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [task["name"] for task in data["tasks"]] == ["Mine"]
    assert data == json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    again = call(*arguments)
    assert "| Mine | cosine_spearman |" in again.stdout
    counts = call(*arguments, "--dry-run")
    assert "| Mine | STS | 48 | 48 |" in counts.stdout


def test_compare_from_the_command_line_with_a_real_model(
    files: dict[str, Path], tiny_olmoe: Path, tmp_path: Path
) -> None:
    result = call("compare", "--base_model", str(tiny_olmoe), f"score.local={files['STS']}", "score.prompts=none,style",
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
    result = call("compare", str(runs[0]), str(runs[1]), "--output", str(tmp_path / "out"), "--json")
    assert json.loads(result.stdout) == {"page": str(tmp_path / "out" / "a-b.html")}
    assert asked == [(*runs, tmp_path / "out" / "a-b.html")]


def test_errors_leave_with_their_exit_code(tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    absent = call("score", f"score.local={tmp_path / 'absent.csv'}", "--json")
    assert absent.exit_code == 4
    assert json.loads(absent.stdout)["error"]["kind"] == "InputError"
    assert call("score", "score.tasks=STS12", "score.methods=mean").exit_code == 3
    assert call("score").exit_code == 3
    (tmp_path / "taken").write_text("a file")
    assert call("score", "score.tasks=STS12", "--output", str(tmp_path / "taken")).exit_code == 4


def test_the_methods_of_a_recipe_are_run_off_one_store_and_compared(
    finished: Path, recipe: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(finished, tmp_path / "runs"))
    result = call("compare", recipe, "--output", output, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    names = ["hidden_states", "routing_weights", "concat", "weighted_sum"]
    assert list(found["methods"]) == names and [len(row) for row in found["ami"]] == [4] * 4
    for name in names:
        folder = output / f"mine-{name}"
        assert found["methods"][name]["run"] == str(folder) and (folder / "report.html").is_file()
        assert json.loads((folder / "run.json").read_text())["fusion"]["method"] == name
        assert json.loads((folder / "stages.json").read_text())["embed"]["facts"]["encoded"] == 0, "all were stored"
    pages = output / "mine-methods"
    assert found["page"] == str(pages / "methods.html") and len(list(pages.iterdir())) == 1 + 6
    again = call("compare", recipe, "fusion.method=concat,weighted_sum", "--output", output)
    assert not [line for line in again.stderr.splitlines() if line.startswith(("fuse", "topics", "stability"))]
    assert "| topics |" in again.stdout and again.stdout.rstrip().endswith("methods.html")


def test_the_views_of_a_corpus_are_compared_and_the_best_is_told(recipe: Path, tmp_path: Path) -> None:
    arguments = ("compare", "views", recipe, "encoder.layers=[1, last]", "encoder.pooling=[mean, last_token]")
    more = ("--draws", "1", "--random-model", "--also", "'encoder.prompt=on {text}' encoder.layers=1")
    result = call(*arguments, "--sample", "20", *more, "--output", tmp_path, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    names = [view["name"] for view in found["views"]]
    assert (found["documents"], found["draws"]) == (20, 1) and "hidden_states@1/mean" in names
    assert "hidden_states@1/mean z, encoder.prompt=on {text} encoder.layers=1" in names
    assert (
        "hidden_states@last/last_token z, random model" in names or "hidden_states@last/mean z, random model" in names
    )
    assert (tmp_path / "views.html").is_file()
    assert call("compare", "views").exit_code == 3
    missing = call("compare", "views", recipe, "encoder.layers=99", "--output", tmp_path)
    assert missing.exit_code == 4 and "asks for layer 99" in missing.stderr


def test_what_cannot_be_compared_is_refused(finished: Path, recipe: Path, tmp_path: Path) -> None:
    run = finished / "mine"
    for arguments, told in [
        ((), "No task to score"),
        ((run,), "neither a file nor one of the shipped"),
        ((run, run, run), "one recipe comes first"),
        ((run, recipe), "one recipe comes first"),
        ((recipe, "fusion.method=concat"), "two or more of hidden_states"),
        ((recipe, "fusion.method=concat,XY"), "no way to fuse called 'XY'"),
        ((recipe, "--method", "all"), "There is no option --method."),
        ((recipe, "score.alpha=1"), "there is no key score"),
        ((recipe, "--sample", "40"), "use corpus.limit=N"),
        ((run, run, "--sample", "40"), "is for `compare views`"),
        ((run, run, "--store", tmp_path), "--store is not for two finished runs"),
        ((recipe, "--random-model"), "--random-model is for `compare views`"),
        (("views", recipe, "--also", "corpus.limit=3"), "--also takes changes of the encoder"),
    ]:
        result = call("compare", *arguments, "--output", tmp_path)
        assert result.exit_code == 3 and told in result.stderr, (arguments, result.output)
