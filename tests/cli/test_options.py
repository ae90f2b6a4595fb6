"""Options that commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from moee_topics.errors import StoreError


def test_offline_reaches_the_hub_libraries_before_they_load(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str | None] = {}

    def look(*args: Any, **options: Any) -> None:
        seen.update({name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")})
        raise StoreError("stop here")

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr("moee_topics.run.run", look)
    call("run", recipe, "--offline")
    assert seen == {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@pytest.mark.parametrize("name", ["../..", "/tmp/elsewhere", "store"])
def test_a_name_that_is_a_path_is_refused_before_anything_is_written(tmp_path: Path, recipe: Path, name: str) -> None:
    result = call("run", recipe, "--output", tmp_path / "runs" / "deep", "--name", name)
    assert result.exit_code == 4 and "cannot have the name" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run", "RECIPE", "--store", "s3://bucket/store"),
        ("run", "RECIPE", "--output", "gs://bucket/runs"),
        ("embed", "RECIPE", "--output", "s3://bucket/store"),
        ("estimate", "RECIPE", "--store", "S3://bucket/store"),
        ("store", "verify", "s3://bucket/store"),
        ("store", "ls", "s3://bucket/store"),
        ("store", "merge", "s3://bucket/store", "here"),
        ("topics", "ls", "s3://bucket/run"),
        ("export", "here", "csv", "--output", "az://bucket/exports"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_an_address_is_refused_where_a_folder_is_expected(
    words: tuple[str, ...], recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = call(*[recipe if word == "RECIPE" else word for word in words])
    assert result.exit_code == 4 and "nothing is written to object stores" in result.stderr
    assert not list(Path.cwd().iterdir())


def test_an_address_in_the_variable_of_the_store_is_refused_too(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOEE_TOPICS_STORE", "s3://bucket/store")
    for words in (("embed", recipe), ("run", recipe, "--output", tmp_path / "runs"), ("store", "verify")):
        result = call(*words)
        assert result.exit_code == 4 and "nothing is written to object stores" in result.stderr
    assert not (tmp_path / "runs").exists()
