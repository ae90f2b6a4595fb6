"""What commands write to stdout: JSON for programs, lines for people, tables as Markdown outside a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from house_map import PACKAGE, imports

from moee_topics.cli.stdout import fact_lines, show, show_tables
from moee_topics.report import TextTable

TABLE = TextTable("Scores", ["task", "score"], [["STS12", "0.5"]], [1])


def test_one_thing_is_lines_or_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    show({"path": Path("a")}, ["a is here."], as_json=False)
    assert capsys.readouterr().out == "a is here.\n"
    show({"path": Path("a"), "text": "ü"}, ["a is here."], as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out) == {"path": "a", "text": "ü"} and "ü" in out


def test_json_has_null_where_python_has_a_number_that_json_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"a": float("nan"), "b": [np.float32("inf"), np.float32(0.5)], "c": ({"d": np.float64("-inf")}, 1)}
    show(scores, [], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 0.5], "c": [{"d": None}, 1]}


def test_no_command_writes_json_in_another_way() -> None:
    """Whatever ``--json`` prints is then strict; what ``score`` writes is a value of its recipe."""
    commands = [path for path in (PACKAGE / "cli").glob("*.py") if path.name != "score_arguments.py"]
    assert not [path.name for path in commands if {"json", "orjson"} & set(imports(path))]


def test_tables_are_markdown_outside_a_terminal_and_the_page_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    show_tables({"scores": [0.5]}, [TABLE], Path("page.html"), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "| task | score |" in lines and lines[-1] == "Page: page.html"
    show_tables({"scores": [0.5]}, [TABLE], Path("page.html"), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"scores": [0.5]}


def test_a_fact_without_a_value_has_no_line() -> None:
    facts = {"hidden_size": 2048, "note": "", "revision": None, "memory": {"nf4": 5_000_000}, "supported": True}
    lines = [" ".join(line.split()) for line in fact_lines(facts)]
    assert lines == ["hidden size 2,048", "memory nf4 5,000,000", "supported True"]
