"""``moee-topics init``: a dialogue or options, and in both ways a recipe that is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call

from moee_topics.recipe import load_recipe

DESKS = ("food", "sport")
STORY = "a story of some length with the number"
POSTS = "nr,headline,story,desk,day\n" + "".join(
    f"{number},title {number},{STORY} {number},{DESKS[number % 2]},2024-01-0{number}\n" for number in range(1, 9)
)


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    (tmp_path / "posts.csv").write_text(POSTS)
    return tmp_path / "posts.csv"


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.cli.init_commands._somebody_is_there", lambda: True)


@pytest.mark.usefixtures("somebody")
def test_a_dialogue_offers_the_columns_and_asks_again_after_a_slip(posts: Path) -> None:
    answers = [posts.with_name("none.csv"), posts, "stroy", "headline, story", "", "medium", "", "desk", "day"]
    result = call("init", posts.with_name("mine.yaml"), stdin="".join(f"{answer}\n" for answer in answers))
    assert result.exit_code == 0, result.stderr
    assert [result.stderr.count(f"{number}. ") for number in range(1, 6)] == [2, 2, 1, 1, 1]
    assert "Its columns: nr, headline, story, desk, day" in result.stderr
    assert "no column 'stroy'" in result.stderr and "There is no corpus" in result.stderr
    corpus = load_recipe(posts.with_name("mine.yaml")).corpus
    assert (corpus.text, corpus.label, corpus.timestamp) == (("headline", "story"), "desk", "day")


@pytest.mark.usefixtures("somebody")
def test_what_an_option_answers_is_not_asked_and_enter_takes_what_is_proposed(posts: Path) -> None:
    result = call("init", posts.with_name("mine.yaml"), "--source", posts, "--language", "other", stdin="\n" * 5)
    assert result.exit_code == 0, result.stderr
    assert "1." not in result.stderr and "3." not in result.stderr
    recipe = load_recipe(posts.with_name("mine.yaml"))
    assert (recipe.corpus.text, recipe.corpus.label) == ("story", "none") and recipe.topics.stop_words == "auto"


def test_without_a_terminal_the_proposals_hold_and_the_recipe_is_accepted(posts: Path) -> None:
    target = posts.with_name("mine.yaml")
    result = call("init", target, "--source", posts, "--label", "desk", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"path": str(target), "documents": 8, "labels": 2}
    assert call("recipes", "check", target).exit_code == 0
    assert load_recipe(target).encoder.model == "pocket" and "# " in target.read_text()


def test_a_file_without_columns_needs_no_more_than_its_name(tmp_path: Path) -> None:
    (tmp_path / "posts.txt").write_text("one text\nanother text\n")
    assert call("init", tmp_path / "mine.yaml", "--source", tmp_path / "posts.txt", "--yes").exit_code == 0
    corpus = load_recipe(tmp_path / "mine.yaml").corpus
    assert (corpus.text, corpus.label) == (None, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--source"),
        (["--source", "POSTS", "--language", "englisch"], "Did you mean english?"),
        (["--source", "POSTS", "--length", "tiny"], "expected one of: short, medium, long"),
        (["--source", "POSTS", "--text", "body"], "no column 'body'"),
        (["--source", "POSTS", "--label", "group"], "no column 'group'"),
        (["--source", "POSTS", "--model", " "], "The model has no name"),
        (["--source", "-"], "Standard input"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(options: list[str], said: str, posts: Path) -> None:
    target = posts.with_name("mine.yaml")
    result = call("init", target, *(str(posts) if option == "POSTS" else option for option in options))
    assert result.exit_code == 4 and said in result.stderr and not target.exists()


def test_nothing_is_overwritten_unless_it_is_said(posts: Path) -> None:
    target = posts.with_name("mine.yaml")
    target.write_text("mine")
    refused = call("init", target, "--source", posts)
    assert refused.exit_code == 4 and "--force" in refused.stderr and target.read_text() == "mine"
    assert call("init", target, "--source", posts, "--force").exit_code == 0 and target.read_text() != "mine"
