from __future__ import annotations

from pathlib import Path

import pytest
from small_run import small_run
from tiny_runs import recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_run(tmp_path / "runs" / "small")


@pytest.fixture
def rewritten(run: Path) -> RunFolder:
    """A run whose files were each written again by their attributes, so that all have digests."""
    opened = RunFolder(run)
    for name in ("manifest", "scores", "hierarchy", "over_time", "per_class", "stability", "experts", "result"):
        file = getattr(RunFolder, name)
        if file.exists(opened):
            file.write(opened, file.read(opened))
    return opened


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> RunFolder:
    """A true run of a tiny model; not to be changed."""
    root = tmp_path_factory.mktemp("searched")
    return pipeline.run(recipe_of(write_corpus(root / "posts.jsonl"), tiny_olmoe), root / "runs" / "posts")
