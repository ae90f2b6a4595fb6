"""A labelled file of three groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from scored_files import write_rows


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    words = ("cat", "dog", "sun")
    rows = [{"text": f"{words[i % 3]} {i}", "body": f"more {i}", "label": words[i % 3]} for i in range(60)]
    return write_rows(tmp_path / "labelled.jsonl", rows)
