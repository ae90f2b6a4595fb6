"""Files that are whole or not there: atomic writes, one writer, leftovers of killed processes."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from moee_topics.errors import ResourceError, StoreError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = re.compile(r"\.(\d+)@(.+)\.tmp$")
_STALE_SECONDS = 3600


def write_json(path: Path, value: Any) -> None:
    """Writes JSON with sorted keys, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))


def write_atomically(path: Path, blob: bytes) -> None:
    """Writes a file so that it is there in full or not at all: a temporary name, a sync, a rename.

    Raises:
        ResourceError: the disk is full.
        StoreError: the file cannot be written for another reason.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}@{socket.gethostname()}.tmp")
    with disk_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns the system's errors while writing ``path`` into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise ResourceError(
                f"The disk is full: {path} could not be written ({error.strerror}). Everything before it is kept; "
                "make room and run again."
            ) from error
        raise StoreError(f"{path} could not be written: {error.strerror}.") from error


def lock_writer(folder: Path) -> FileLock:
    """Takes the one place of a writer in a folder; the system frees it if the process dies.

    Raises:
        StoreError: another process has it.
    """
    lock = FileLock(folder / "writer.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{_writer(folder)} is writing to {folder} (lock file {folder / 'writer.lock'}). Wait until it "
            "has finished, or stop it."
        ) from error
    holder = {"pid": os.getpid(), "host": socket.gethostname()}
    (folder / "writer.json").write_text(json.dumps(holder), encoding="utf-8")
    return lock


def unlock_writer(folder: Path, lock: FileLock) -> None:
    """Gives the place of the writer back."""
    (folder / "writer.json").unlink(missing_ok=True)
    lock.release()


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Makes a folder and keeps other writers out of it while open.

    Raises:
        StoreError: another process writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_writer(folder)
    try:
        yield
    finally:
        unlock_writer(folder, lock)


def _writer(folder: Path) -> str:
    try:
        holder = json.loads((folder / "writer.json").read_text(encoding="utf-8"))
        return f"Process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another process"


def remove_leftovers(folder: Path) -> None:
    """Deletes the temporary files of writers that were killed."""
    for path in folder.glob("*.tmp"):
        if _is_stale(path):
            path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    """Whether nobody is writing a temporary file: its process is gone, or it was left an hour ago."""
    match = _TEMPORARY.search(path.name)
    if match and match[2] == socket.gethostname():
        pid = int(match[1])
        return pid == os.getpid() or not psutil.pid_exists(pid)
    return time.time() - path.stat().st_mtime > _STALE_SECONDS
