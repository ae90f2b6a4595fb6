"""A disk that is full, or read-only, from a given write of this process on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from moee_topics.errors import MoEETopicsError, ResourceError, StoreError

FAULTS: dict[int, tuple[type[MoEETopicsError], str]] = {
    errno.ENOSPC: (ResourceError, "disk is full: .*bytes are free in"),
    errno.EROFS: (StoreError, "could not be written: the file system is read-only"),
}


def fail_from(monkeypatch: pytest.MonkeyPatch, call: int, number: int) -> None:
    """The sync of that file, counted from 1, and all later ones fail as the system would."""
    from moee_topics.store import files

    sync, calls = files._sync, 0

    def failing(path: Path) -> None:
        nonlocal calls
        calls += not path.is_dir()
        if calls >= call:
            raise OSError(number, os.strerror(number))
        sync(path)

    monkeypatch.setattr(files, "_sync", failing)
