"""One writer per folder: a lock that the system frees when its process dies, and who holds it."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from moee_topics.errors import StoreError
from moee_topics.store.files import disk_errors, make_folder, remove_leftovers, write_json

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_SOFT_SECONDS = 3.0  # filelock looks at a lock file for 2 s before it takes one that a dead process left


def lock_writer(folder: Path) -> BaseFileLock:
    """Takes the one place of a writer in a folder, for all threads of this process.

    Where the file system has no locks, a file stands for one; if its process dies, the next writer on that machine
    removes it.

    Raises:
        StoreError: another process or another part of this one has it, or it cannot be written.
        ResourceError: the disk is full.
    """
    path = folder / "writer.lock"
    with disk_errors(path):
        if path.is_symlink():
            path.unlink()  # filelock before 3.20.1 empties what it points to
        try:
            # thread_local=False: a store may be closed by another thread than the one that opened it.
            lock: BaseFileLock = _acquired(FileLock(path, thread_local=False), folder, 0.0)
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
                raise
            soft = SoftFileLock(path.with_name("writer.soft.lock"), thread_local=False)
            lock = _acquired(soft, folder, _SOFT_SECONDS)
    try:
        write_json(folder / "writer.json", {"pid": os.getpid(), "host": socket.gethostname()})
    except BaseException:
        lock.release()
        raise
    return lock


def _acquired(lock: BaseFileLock, folder: Path, seconds: float) -> BaseFileLock:
    try:
        lock.acquire(timeout=seconds)
        return lock
    except Timeout as error:
        try:
            holder = json.loads((folder / "writer.json").read_text(encoding="utf-8"))
            writer = f"Process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            writer = "Another process"
        raise StoreError(
            f"{writer} is writing to {folder} (lock file {lock.lock_file}). Wait until it has finished, or stop it."
        ) from error


def unlock_writer(folder: Path, lock: BaseFileLock) -> None:
    """Gives the place of the writer back."""
    (folder / "writer.json").unlink(missing_ok=True)
    lock.release()


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Makes a folder, clears it of what killed writers left, and keeps other writers out of it while open.

    Raises:
        StoreError: another process writes there, or it cannot be written.
        ResourceError: the disk is full.
    """
    make_folder(folder)
    lock = lock_writer(folder)
    try:
        remove_leftovers(folder)
        yield
    finally:
        unlock_writer(folder, lock)
