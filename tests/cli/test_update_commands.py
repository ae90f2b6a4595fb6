from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import recipe_of, write_corpus
from typer.testing import CliRunner

from moee_topics import run as pipeline
from moee_topics.cli.app import app


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    """A folder with a run, its store and new documents; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    pipeline.run(recipe_of(write_corpus(root / "posts.jsonl"), tiny_olmoe), root / "run", root / "store")
    write_corpus(root / "new.jsonl", 20, first=1000)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def test_an_update_says_what_came_in_and_undo_goes_back(root: Path) -> None:
    done = call("update", root / "run", root / "new.jsonl", "--quiet")
    assert done.exit_code == 0 and done.stderr == ""
    assert done.stdout.startswith(
        "Version 2 (assign): 20 documents new, 0 changed, 0 removed, 20 encoded; 100 documents"
    )
    assert str(root / "run" / "versions" / "v2") in done.stdout
    again = call("update", root / "run", root / "new.jsonl", "--json")
    error = json.loads(again.stdout)["error"]
    assert again.exit_code == 4 and error["kind"] == "InputError" and "Nothing is new" in error["message"]
    undone = call("update", root / "run", "--undo", "--json", "--quiet")
    assert json.loads(undone.stdout) == {"run": str(root / "run"), "version": 1}
    assert call("update", root / "run", "--undo").exit_code == 4


def test_json_is_the_record_of_the_version(root: Path) -> None:
    done = call("update", root / "run", root / "new.jsonl", "--policy", "refit", "--json", "--quiet")
    record = json.loads(done.stdout)
    assert record["version"] == 2 and record["policy"] == "refit" and record["added"] == 20
    assert record["folder"] == str(root / "run" / "versions" / "v2") and isinstance(record["lineage"], list)


def test_words_with_a_key_say_how_new_files_are_read(root: Path) -> None:
    rows = [json.loads(line) for line in (root / "new.jsonl").read_text().splitlines()]
    body = [json.dumps({"id": row["id"], "body": row["text"]}) for row in rows]
    (root / "other.jsonl").write_text("\n".join(body))
    done = call("update", root / "run", root / "other.jsonl", "corpus.text=body", "corpus.label=none", "--json", "-q")
    assert json.loads(done.stdout)["added"] == 20


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["new.jsonl", "--policy", "keep"], 2, "keep"),
        (["new.jsonl", "--undo"], 4, "--undo takes nothing but the run"),
        (["--undo", "--policy", "assign"], 4, "--undo takes nothing but the run"),
        (["none.jsonl"], 4, "There is no corpus"),
        (["new.jsonl", "corpus.txet=body"], 3, "corpus.txet"),
        (["new.jsonl", "--remove-missing"], 4, "No document of the run would stay"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(root: Path, words: list[str], code: int, said: str) -> None:
    done = call("update", root / "run", *(root / word if word.endswith(".jsonl") else word for word in words))
    assert done.exit_code == code and said in done.stderr
    assert not (root / "run" / "versions" / "history.json").exists()


def test_diff_tells_what_became_of_topics_and_writes_a_page(root: Path) -> None:
    call("update", root / "run", root / "new.jsonl", "--policy", "refit", "--quiet")
    done = call("diff", root / "run", "v1", "2")
    page = root / "run" / "versions" / "v1-v2.html"
    assert done.exit_code == 0 and str(page) in done.stdout and "20 came" in done.stdout and page.is_file()
    data = json.loads(call("diff", root / "run", "v1", "v2", "--json", "-o", root / "page.html").stdout)
    assert data["page"] == str(root / "page.html") and data["versions"] == [1, 2] and data["added"] == 20


@pytest.mark.parametrize(
    ("version", "said"), [("v9", "no version v9"), ("last", "'last' is not a version"), ("v0", "v0")]
)
def test_diff_of_what_is_no_version_is_refused(root: Path, version: str, said: str) -> None:
    done = call("diff", root / "run", "v1", version)
    assert done.exit_code == 4 and said in done.stderr
