"""Documents from Python end as a run like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import call
from tiny_runs import Heard, contents, recipe_of

import moee_topics
from moee_topics import run as pipeline
from moee_topics.errors import InputError
from moee_topics.recipe import Recipe
from moee_topics.run_folder import RunFolder


@pytest.fixture
def frame(corpus: Path) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in corpus.read_text().splitlines()])


@pytest.fixture
def recipe(tiny_olmoe: Path, tmp_path: Path) -> Recipe:
    return recipe_of(tmp_path / "nowhere.csv", tiny_olmoe)


def given(frame: pd.DataFrame) -> dict[str, Any]:
    return {"documents": frame.text, "ids": frame.id, "labels": frame.label, "timestamps": frame.date}


def test_columns_give_the_topics_of_the_same_file(root: Path, frame: pd.DataFrame, recipe: Recipe) -> None:
    run = moee_topics.run(recipe, root / "given", **given(frame))
    assert isinstance(run, RunFolder) and run.path == root / "given"
    ours = {name: data for name, data in contents(root / "given").items() if name != "corpus.parquet"}
    assert ours == contents(root / "run")
    again = Heard()
    moee_topics.run(recipe, root / "given", **given(frame), progress=again)
    assert again.skipped == ["embed", "fit"]


def test_a_table_is_read_by_the_columns_that_the_recipe_names(
    root: Path, frame: pd.DataFrame, tiny_olmoe: Path, no_model: None
) -> None:
    renamed = frame.rename(columns={"text": "body", "id": "nr"})
    recipe = recipe_of(root / "nowhere.csv", tiny_olmoe, "corpus.text=body", "corpus.id=nr")
    run = moee_topics.run(recipe, str(root / "given"), documents=renamed)
    assert list(run.documents["topic"]) == list(RunFolder(root / "run").documents["topic"])


def test_the_run_goes_on_from_the_command_line(
    root: Path, frame: pd.DataFrame, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    run = moee_topics.run(recipe, Path("given"), Path("store"), **given(frame))
    assert run.manifest["recipe"]["corpus"]["source"] == str(Path("given/corpus.parquet"))
    (root / "recipe.yaml").write_text(json.dumps(run.manifest["recipe"]))
    result = call("run", "recipe.yaml", "--name", "given", "-o", ".")
    assert not result.exit_code and RunFolder("given").stages["fit"]["skipped"]
    (root / "new.csv").write_text("id,text\nnew,orbit moon rocket\n")
    assert json.loads(call("predict", "given", "new.csv").stdout)["id"] == "new"
    version = pipeline.update(Path("given"), ["new.csv"])
    assert version.record["added"] == 1 and version.record["documents"] == len(frame) + 1
    with pytest.raises(InputError, match="Nothing is new"):
        pipeline.update(Path("given"))


def test_the_same_call_gives_the_version_that_holds(root: Path, frame: pd.DataFrame, recipe: Recipe) -> None:
    first = moee_topics.run(recipe, root / "given", **given(frame))
    assert first.number == 1 and first.decide({"name": "Space flight", "topic": 0}).number == 2
    again = moee_topics.run(recipe, root / "given", **given(frame))
    assert again.number == 2 and again.result.topic(0).name == "Space flight"


def test_without_a_folder_no_run_of_other_documents_is_replaced(
    root: Path, frame: pd.DataFrame, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    run = moee_topics.run(recipe, store=root / "store", **given(frame))
    assert run.path == Path("runs/documents")
    before = contents(run.path)
    assert moee_topics.run(recipe, store=root / "store", **given(frame)).path == run.path
    with pytest.raises(InputError, match=r"holds a run of other documents.*folder="):
        moee_topics.run(recipe, store=root / "store", **given(frame[1:]))
    assert contents(run.path) == before
    changed = moee_topics.run(recipe, run.path, root / "store", **given(frame[4:]))
    assert len(changed.documents) == len(frame) - 4


def test_without_a_recipe_it_is_that_of_the_quickstart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame
) -> None:
    taken: list[Recipe] = []

    def stop(stages: Any, work: Any) -> RunFolder:
        taken.append(work.recipe)
        return RunFolder(work.folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moee_topics.run.whole_run._run_stages", stop)
    moee_topics.run(documents=frame.text)
    quickstart = moee_topics.load_recipe("quickstart")
    assert taken[0].model_copy(update={"corpus": quickstart.corpus}) == quickstart
    assert taken[0].corpus.packages == () and taken[0].corpus.per_package == moee_topics.CorpusSettings("").per_package


def test_what_cannot_be_read_leaves_nothing_behind(tmp_path: Path, recipe: Recipe) -> None:
    def broken() -> Iterator[str]:
        yield "one"
        raise ValueError("the generator's own fault")

    for documents in (["one", None], [], iter(()), pd.DataFrame({"text": []})):
        with pytest.raises(InputError):
            moee_topics.run(recipe, tmp_path / "given", documents=documents)
    with pytest.raises(ValueError, match="own fault"):
        moee_topics.run(recipe, tmp_path / "given", documents=broken())
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_documents_and_recipe_says_what_it_needs(tmp_path: Path, recipe: Recipe) -> None:
    for arguments in (
        {},
        {"recipe": recipe},
        {"folder": tmp_path},
        {"recipe": recipe, "folder": tmp_path, "ids": pd.Series([1, 2])},
    ):
        with pytest.raises(InputError, match="needs a recipe and a folder, or documents"):
            moee_topics.run(**arguments)


def test_a_table_that_changes_while_it_is_read_is_told(
    root: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.setattr("moee_topics.run.workspace.MOST_CHARACTERS_KEPT", 0)
    database = sqlite3.connect(root / "posts.db")
    database.execute("CREATE TABLE posts (text TEXT)")
    database.executemany("INSERT INTO posts VALUES (?)", [(f"orbit moon rocket {n}",) for n in range(40)])
    database.commit()
    recipe = recipe_of(root / "x", tiny_olmoe, f"corpus.source=sqlite:///{root / 'posts.db'}",
                       "corpus.query=SELECT text FROM posts ORDER BY random()")  # fmt: skip
    with pytest.raises(InputError, match=r"posts\.db changed while it was worked on"):
        pipeline.run(recipe, root / "changing", root / "store")
