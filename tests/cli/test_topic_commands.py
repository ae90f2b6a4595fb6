"""The topics of a run on the command line: listed, shown, decided on and taken back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_servers import chat_server, saying
from tiny_runs import recipe_of, write_corpus
from typer.testing import CliRunner

from moee_topics import run as pipeline
from moee_topics.cli.app import app
from moee_topics.run_folder import RunFolder, read_decisions


def call(*arguments: str | int | Path) -> Any:
    return CliRunner().invoke(app, ["topics", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    """A folder with a run and its store; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    pipeline.run(recipe_of(write_corpus(root / "posts.jsonl"), tiny_olmoe), root / "run", root / "store")
    return root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs")) / "run"


def test_every_command_is_a_version_that_undo_takes_back(run: Path) -> None:
    first, second, third = (topic.topic for topic in RunFolder(run).ranked_topics[:3])
    document = RunFolder(run).result.ids[0]
    commands: list[list[str | int]] = [
        ["name", first, "Space flight"],
        ["note", first, "Two readers agree"],
        ["seed", "orbit", "moon"],
        ["merge", first, second],
        ["pin", first, document],
        ["split", first, "--parts", 2],
        ["drop", third],
    ]
    for number, (verb, *words) in enumerate(commands, start=2):
        done = call(verb, run, *words, "--quiet")
        assert done.exit_code == 0 and done.stderr == "" and done.stdout.startswith(f"Version {number}: {verb}")
    listed = call("ls", run, "--json")
    states = {row["decision"].split()[0]: row["state"] for row in json.loads(listed.stdout)["decisions"]}
    assert states == {verb: "settled" if verb in ("name", "note", "seed", "pin", "merge", "split") else "applied"
                      for verb, *_ in commands}  # fmt: skip
    assert third not in [row["topic"] for row in json.loads(listed.stdout)["topics"]]
    for number in range(len(commands), 0, -1):
        undone = call("undo", run, "--json", "--quiet")
        assert json.loads(undone.stdout)["version"] == number and undone.exit_code == 0
    assert call("undo", run).exit_code == 4 and read_decisions(run / "decisions.yaml") == []


def test_a_topic_is_shown_with_what_was_decided(run: Path) -> None:
    call("name", run, 0, "<b>Space</b>", "--quiet")
    call("note", run, 0, "Two readers agree", "--quiet")
    shown = call("show", run, 0)
    assert "Topic 0: <b>Space</b>" in shown.stdout and "Note: Two readers agree" in shown.stdout
    assert "Decided: name 0: <b>Space</b>" in shown.stdout and "[d" in shown.stdout
    listed = call("ls", run)
    assert "&lt;b&gt;Space&lt;/b&gt;" in listed.stdout and "| name 0: " in listed.stdout
    with (run / "decisions.yaml").open("a") as file:
        file.write("- drop: 99\n")
    assert "| drop 99 | waiting |" in call("ls", run).stdout
    applied = call("apply", run)
    assert "Not applied: drop 99. Topic 99 is not there." in applied.stderr
    assert "Version 4: nothing new could be applied, 1 in conflict" in applied.stdout
    assert "| drop 99 | conflict | topic 99 is not there |" in call("ls", run).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["name", 99, "Nobody"], 4, "There is no topic 99"),
        (["merge", 0, 0], 3, "not two topics"),
        (["split", 0, "--parts", 1], 3, "parts is 1"),
        (["pin", 0, "gone"], 4, "There is no document 'gone'"),
        (["show", 99], 4, "There is no topic 99"),
        (["undo"], 4, "made by the run itself"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(run: Path, words: list[str | int], code: int, said: str) -> None:
    done = call(words[0], run, *words[1:])
    assert done.exit_code == code and said in done.stderr
    assert not (run / "versions" / "history.json").exists() and not (run / "decisions.yaml").exists()


def test_where_nothing_is_to_apply_no_version_is_made_and_that_is_said(run: Path) -> None:
    done = call("apply", run)
    assert done.exit_code == 0 and done.stdout.startswith(f"Nothing to apply: the version that holds, {run}, was made")
    assert not (run / "versions" / "history.json").exists()
    assert call("name", run, 0, "Space").stdout.startswith("Version 2: name 0: Space")
    again = call("name", run, 0, "Space", "--json", "--quiet")
    assert again.exit_code == 0 and json.loads(again.stdout)["version"] is None
    (run / "decisions.yaml").write_text("[]\n")
    assert call("apply", run).stdout.startswith("Version 3: without what was taken out")
    assert "Nothing to apply" in call("apply", run).stdout


def test_undo_of_an_update_is_the_update_s(run: Path) -> None:
    pipeline.update(run, [str(write_corpus(run.parent / "new.jsonl", 5, first=1000))])
    done = call("undo", run)
    assert done.exit_code == 4 and f"update {run} --undo" in done.stderr


def test_a_language_model_names_topics_after_it_was_said_what_that_takes(run: Path) -> None:
    with chat_server(lambda number, _: saying(f"Subject {'abcdefghij'[number]}")) as server:
        options = ["--provider", "openai", "--model", "m", "--base-url", server.base_url, "--quiet"]
        plan = json.loads(call("label", run, *options, "--dry-run", "--json").stdout)
        topics = RunFolder(run).ranked_topics
        assert plan["topics"] == plan["open"] == len(topics) and plan["tokens"] > 0 and not server.asked
        done = call("label", run, *options)
        assert (
            done.exit_code == 0 and f"Topic {topics[0].topic}: Subject a" in done.stdout and "Version 2" in done.stdout
        )
        assert f"New names: {len(topics)}. Answers that were not taken: 0." in done.stdout
    assert "Subject a" in call("ls", run).stdout
    assert call("undo", run, "--quiet").exit_code == 0 and "Subject a" not in call("ls", run).stdout


def test_labels_are_judged_after_it_was_said_by_how_many_documents(run: Path) -> None:
    plan = json.loads(call("check", run, "--documents", 3, "--dry-run", "--json").stdout)
    assert plan["documents"] == 3 * plan["topics"] and "tokens" not in plan and not (run / "label_check.json").exists()
    done = call("check", run, "--documents", 3, "--quiet")
    assert done.exit_code == 0 and done.stderr == "" and "### Labels, the worst first" in done.stdout
    assert f"of {plan['documents']} documents" in done.stdout and "say nothing get 20%" in done.stdout
    kept = json.loads((run / "label_check.json").read_text())
    facts = json.loads(call("check", run, "--documents", 3, "--words", "--json", "--quiet").stdout)
    assert {**facts, "settings": kept["settings"]}.items() >= kept.items(), "their names are their words"
    with chat_server(lambda *_: saying("A")) as server:
        options = ["--provider", "openai", "--model", "m", "--base-url", server.base_url, "--documents", 2, "--quiet"]
        asked = call("check", run, *options, "--dry-run")
        assert f"{2 * plan['topics']} of {2 * plan['topics']} questions to ask" in asked.stdout and not server.asked
        assert "by the judge (openai m)" in call("check", run, *options).stdout and server.asked


def test_a_provider_that_lacks_something_is_one_line(run: Path) -> None:
    done = call("label", run, "--provider", "openai")
    assert done.exit_code == 4 and "needs a model and a base_url" in done.stderr
    assert not (run / "labels.jsonl").exists()
    done = call("check", run, "--model", "m")
    assert done.exit_code == 4 and "give the provider local with it" in done.stderr
