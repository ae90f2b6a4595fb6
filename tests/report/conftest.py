"""Made-up runs for the pages, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import small_run

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
