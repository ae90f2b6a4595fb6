"""A small file for each of the six task types."""

from __future__ import annotations

from pathlib import Path

import pytest
from scored_files import write_files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("files"))
