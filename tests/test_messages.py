"""Values and names in messages: cut to a length, and the nearest name where one is near."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import moee_topics
from moee_topics.cli.app import app
from moee_topics.messages import counted, did_you_mean, first_lines, shortened

ROOM = Path(moee_topics.__file__).parent


def test_a_value_is_as_python_writes_it_and_at_most_80_characters_long() -> None:
    assert shortened("a\nb") == r"'a\nb'"
    assert shortened("x" * 78) == repr("x" * 78)
    assert len(shortened("x" * 79)) == 78 and shortened("x" * 79).endswith("…")


def test_one_thing_is_said_in_the_singular() -> None:
    assert [counted(number, "document") for number in (0, 1, 2000)] == ["0 documents", "1 document", "2,000 documents"]
    assert [counted(number, "copy", "copies") for number in (1, 2)] == ["1 copy", "2 copies"]


@pytest.mark.parametrize(
    ("text", "first"),
    [("\n no file.\nat line 3", "no file"), ("one:\n  two\nthree", "one"), ("", "ValueError"), (" \n", "ValueError")],
)
def test_an_error_is_told_by_its_first_line_or_its_class(text: str, first: str) -> None:
    assert first_lines(ValueError(text)) == first
    assert first_lines(ValueError("one\n\n  two.\nthree"), 2) == "one two"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("fusion.alpa", " Did you mean fusion.alpha?"),
        ("alpha", " Did you mean fusion.alpha?"),
        ("topics.alpha", " Did you mean fusion.alpha?"),
        ("umap.sead", " Did you mean umap.seed?"),
        ("qqq", ""),
    ],
)
def test_the_nearest_key_of_its_own_section_comes_first(key: str, nearest: str) -> None:
    assert did_you_mean(key, ["fusion.alpha", "fusion.method", "umap.seed", "seed", "topics.words"]) == nearest


def said(node: Any) -> str:
    """A text of the code, with VALUE for what is put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(said, node.values))
    return "VALUE" if isinstance(node, ast.FormattedValue) else str(node.value)


def told_commands() -> Iterator[tuple[str, str, str]]:
    """What stands before a command in every text of the code, the command and what follows, and where that is."""
    for file in sorted(ROOM.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        texts = [node for node in nodes if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in parts]
        for text in (said(node) for node in texts if isinstance(getattr(node, "value", ""), str)):
            for found in re.finditer(r"(\S+ +|`+|^)(?<!version of )moee-topics ([a-z][^`\n]*)", text):
                yield found[1], found[2], f"{file.name}: {found[0]}"


TOLD = list(told_commands())


def test_the_commands_of_messages_are_found() -> None:
    assert len(TOLD) > 60 and any(text.startswith("topics label VALUE") for _, text, _ in TOLD)


@pytest.mark.parametrize(("before", "text", "place"), TOLD, ids=[place for _, _, place in TOLD])
def test_a_command_that_a_message_names_is_one_and_can_be_typed_as_it_stands(
    before: str, text: str, place: str
) -> None:
    # What is to be typed stands behind a colon, and ends with its sentence; elsewhere a name is enough.
    command, is_typed = get_command(app), before.endswith(": ")
    words: list[Any] = re.split(r", |\. |\.$|\)| – | says |  #|$", text, maxsplit=1)[0].split()
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, place
        command = command.commands[words.pop(0)]
    if is_typed:
        command.make_context(command.name, [*words, "--policy", "grow"] if "--policy" in words else words)
