"""Made-up runs for the pages, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import small_run
from tiny_runs import recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.run_folder import RunFolder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("hostile"), hostile=True)


@pytest.fixture
def folder(run: Path) -> RunFolder:
    return RunFolder.read(run)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    """A true run of a tiny model, with all of its files; not to be changed."""
    root = tmp_path_factory.mktemp("fitted")
    return pipeline.run(recipe_of(write_corpus(root / "posts.jsonl"), tiny_olmoe), root / "runs" / "posts").path
