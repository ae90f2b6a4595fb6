"""A file without a name: read as it was written, seen by nobody, and gone."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from moee_topics.errors import ResourceError
from moee_topics.store import Scratch


def test_what_is_written_is_mapped_and_leaves_nothing(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "new")
    scratch.write([b"one ", memoryview(b"two")])
    assert bytes(scratch.mapped()) == b"one two" and not list((tmp_path / "new").iterdir())
    assert bytes(Scratch(tmp_path).mapped()) == b""


def test_a_full_disk_is_told_by_the_folder(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)

    class Full:
        def write(self, part: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    scratch.file = Full()  # type: ignore[assignment]
    with pytest.raises(ResourceError, match=f"The disk is full: {tmp_path}"):
        scratch.write([b"x"])
