"""The help of every command: quick, narrow, whole sentences, and examples that work."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from moee_topics.cli.app import app
from moee_topics.cli.score_arguments import read_arguments
from moee_topics.cli.update_commands import PolicyName
from moee_topics.recipe import Recipe, is_scoring, load_recipe, read_recipe
from moee_topics.report.exports import EXPORTS
from moee_topics.run.policies import Policy
from moee_topics.schema import build


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, as the words that call it."""
    group = group or get_command(app)
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def all_commands(group: Any = None) -> Iterator[Any]:
    """The commands and groups themselves."""
    group = group or get_command(app)
    yield group
    for command in getattr(group, "commands", {}).values():
        yield from all_commands(command)


def page(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}, prog_name="moee-topics")
    assert result.exit_code == 0
    return result.stdout


every_page = pytest.mark.parametrize("path", list(commands()), ids=lambda path: " ".join(path) or "moee-topics")


def test_no_help_loads_anything_heavy() -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from moee_topics.cli.app import app
for path in {list(commands())!r}:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0 and "Usage" in result.stdout, path
heavy = {{"torch", "numba", "bertopic", "transformers", "umap", "sklearn", "pandas", "numpy", "pyarrow"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@every_page
def test_help_fits_80_columns_and_nothing_is_cut(path: tuple[str, ...]) -> None:
    lines = page(path).splitlines()
    assert max(map(len, lines)) <= 80
    cut = [line for line in lines if line.endswith("...") and not line.startswith("Usage:")]
    assert not cut, "the first sentence of a command is to fit its line"


@every_page
def test_help_speaks_of_no_type_of_python(path: tuple[str, ...]) -> None:
    assert not re.search(r"<?\b(list\[|str\b|int\b|float\b|bool\b|x>)|<(path|Path)>| range>", page(path))


@every_page
def test_no_option_is_broken_over_two_lines(path: tuple[str, ...]) -> None:
    text, every = page(path), {name for command in all_commands() for param in command.params for name in param.opts}
    assert not [line for line in text.splitlines() if line.rstrip().endswith("-")]
    named = set(re.findall(r"(?<![\w-])--[\w-]+", text.partition("Examples:")[0]))
    assert named <= every | {"--help", "--no-trial"}, named - every


@every_page
def test_help_begins_with_one_sentence(path: tuple[str, ...]) -> None:
    paragraphs = [" ".join(part.split()) for part in page(path).split("\n\n")]
    assert paragraphs[0].startswith("Usage: moee-topics") and paragraphs[1].endswith(".")


def examples() -> list[str]:
    shown = [page(path).partition("Examples:")[2].replace("\\\n", " ") for path in commands()]
    return [line.strip() for text in shown for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("line", examples())
def test_an_example_is_a_command_with_keys_that_exist(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0].partition(" < ")[0], comments=True)
    assert words[0] == "moee-topics"
    path = max((path for path in commands() if tuple(words[1:])[: len(path)] == path), key=len)
    assert path, line
    if path[0] in ("score", "compare"):
        from moee_topics.mteb import load_score_recipe, parse_score_recipe

        recipe, overrides = read_arguments(
            [word for word in words[2:] if not word.startswith("runs/") and word != "views"]
        )
        if recipe and not is_scoring(read_recipe(recipe)):
            load_recipe(recipe)
        elif recipe:
            load_score_recipe(recipe, overrides)
        else:
            parse_score_recipe({"score": {}}, overrides)
    elif overrides := [word for word in words if "=" in word and not word.startswith("-")]:
        build(Recipe, {"corpus": {"source": "docstrings"}}, overrides)


def test_there_are_examples_for_the_main_road() -> None:
    for name in ("run", "estimate", "embed", "fit", "report", "predict", "compare", "score"):
        assert any(line.startswith(f"moee-topics {name} ") for line in examples())


@every_page
def test_a_command_has_an_example_and_its_arguments_are_in_capitals(path: tuple[str, ...]) -> None:
    text = page(path)
    usage = text.split("\n\n")[0]
    arguments = re.findall(r"[{[]+([^]}]+)[]}]+", usage)
    assert all(argument == argument.upper() for argument in arguments) and "[[" not in usage, usage
    groups = {path[:-1] for path in commands()}
    assert path in groups or text.partition("Examples:")[2].strip().startswith(f"moee-topics {' '.join(path)}")


@every_page
def test_help_has_no_wall_of_text(path: tuple[str, ...]) -> None:
    assert all(len(part.splitlines()) <= 7 for part in page(path).partition("Arguments:")[0].split("\n\n")[:3])


def test_policies_and_exports_are_those_there_are() -> None:
    """They are written out in the commands, since importing them would take seconds from every help page."""
    commands: Any = get_command(app)
    choices, _ = get_args(get_args(PolicyName)[0])
    assert set(get_args(choices)) == set(get_args(Policy))
    also = next(option for option in commands.commands["report"].params if option.name == "also")
    assert set(also.help.partition(": ")[2].rstrip(".").split(", ")) == set(EXPORTS)
