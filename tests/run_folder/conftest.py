from __future__ import annotations

from pathlib import Path

import pytest
from small_run import small_run

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
