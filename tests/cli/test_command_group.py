"""Errors of commands: one message, one exit code, no traceback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from moee_topics.errors import Interrupted, ResourceError, StoreError


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "message"),
    [
        (["run"], 2, "UsageError", "Missing argument 'RECIPE'"),
        (["run", "quickstart", "--nonsense"], 2, "UsageError", "No such option"),
        (["run", "quickstrt"], 3, "RecipeError", "Did you mean quickstart?"),
        (["run", "quickstart", "fusion.alfa=1"], 3, "RecipeError", "Did you mean fusion.alpha?"),
        (["recipes", "check", "quickstart", "umap.n_neighbour=3"], 3, "RecipeError", "n_neighbors"),
        (["run", "quickstart", "corpus.source=missing.csv"], 4, "InputError", "missing.csv"),
        (["report", "no/such/run"], 4, "InputError", "no finished run"),
        (["predict", "no/such/run", "-"], 4, "InputError", "no finished run"),
        (["store", "ls", "no/such/store"], 4, "InputError", "no embeddings"),
    ],
)
def test_an_error_is_one_message_with_its_exit_code(
    arguments: Sequence[str], code: int, kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = call(*arguments)
    assert (plain.exit_code, plain.stdout) == (code, "") and message in plain.stderr
    assert "Traceback" not in plain.stderr
    as_json = call(*arguments, "--json")
    error = json.loads(as_json.stdout)["error"]
    assert as_json.exit_code == code and (error["exit_code"], error["kind"]) == (code, kind)
    assert message in error["message"]


def test_a_model_that_is_not_there_is_code_4(recipe: Path, tmp_path: Path) -> None:
    result = call("run", recipe, "encoder.model=no/such-model", "--offline", "--output", tmp_path)
    assert result.exit_code == 4 and "no/such-model" in result.stderr


@pytest.mark.parametrize(("error", "code"), [(ResourceError("full"), 5), (StoreError("locked"), 4)])
def test_errors_of_the_machine_have_their_code(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("moee_topics.run.run", fail)
    result = call("run", recipe)
    assert result.exit_code == code and result.stderr == f"error: {error}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("Interrupted. Run the same command again.")])
def test_an_interruption_is_code_6_and_says_how_to_go_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("moee_topics.run.run", stop)
    result = call("run", recipe)
    assert result.exit_code == 6 and "same command again" in result.stderr


@pytest.mark.parametrize(
    "command", [("report",), ("predict", "x" * 300), ("store", "verify"), ("run", "quickstart", "-o")]
)
def test_a_name_too_long_for_a_file_is_an_error_in_words(command: tuple[str, ...]) -> None:
    result = call(*command, "x" * 300)
    assert result.exit_code == 4 and "is too long for the name of a file" in result.stderr
