"""One writer per folder, or one for each part of it: locks that the system frees when a process dies, and who holds
them.
"""

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
_SOFT = ".soft.lock"
_SOFT_SECONDS = 3.0  # filelock looks at a lock file for 2 s before it takes one that a dead process left


def lock_writer(folder: Path, part: str = "", *, seconds: float = 0.0) -> BaseFileLock:
    """Takes the one place of a writer in a folder, for all threads of this process.

    Where the file system has no locks, a file stands for one; if its process dies, the next writer on that machine
    removes it.

    Args:
        folder: that is written to.
        part: name of a writer beside others, such as "share-3-of-16": the one of its name, and none of them together
            with a writer without a name.
        seconds: to wait for it.

    Raises:
        StoreError: another process or another part of this one has it, or it cannot be written.
        ResourceError: the disk is full.
    """
    path = folder / (f"writer-{part}.lock" if part else "writer.lock")
    lock = _locked(path, seconds)
    try:
        write_json(path.with_suffix(".json"), {"pid": os.getpid(), "host": socket.gethostname()})
        # Each writes its name before it looks for others: if two begin at once, at least one of them sees the other.
        for other in [folder / "writer.json"] if part else sorted(folder.glob("writer-*.json")):
            if other.exists():
                unlock_writer(folder, _locked(other.with_suffix(".lock"), seconds))  # of a process that was killed
    except BaseException:
        unlock_writer(folder, lock)
        raise
    return lock


def _locked(path: Path, seconds: float) -> BaseFileLock:
    with disk_errors(path):
        if path.is_symlink():
            path.unlink()  # filelock before 3.20.1 empties what it points to
        try:
            # thread_local=False: a store may be closed by another thread than the one that opened it.
            return _acquired(FileLock(path, thread_local=False), path, seconds)
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
                raise
            soft = SoftFileLock(path.with_suffix(_SOFT), thread_local=False)
            return _acquired(soft, path, max(seconds, _SOFT_SECONDS))


def _acquired(lock: BaseFileLock, path: Path, seconds: float) -> BaseFileLock:
    try:
        lock.acquire(timeout=seconds)
        return lock
    except Timeout as error:
        try:
            holder = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            writer = f"Process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            writer = "Another process"
        # Of a dead process on another machine nobody here can know.
        end = f" If there is no such process any more, delete {lock.lock_file}." if _SOFT in lock.lock_file else ""
        raise StoreError(
            f"{writer} is writing to {path.parent} (lock file {lock.lock_file}). Wait until it has finished, or stop "
            f"it.{end}"
        ) from error


def unlock_writer(folder: Path, lock: BaseFileLock) -> None:
    """Gives the place of the writer back."""
    name = Path(lock.lock_file).name.partition(".")[0]
    (folder / f"{name}.json").unlink(missing_ok=True)
    lock.release()
    # A folder filled in a thousand parts would keep a thousand empty files. That of the index stays, for which others
    # wait: one that has it open already would then hold a lock on a file that nobody else sees.
    if name not in ("writer", "writer-index"):
        for suffix in (".lock", _SOFT):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)


@contextmanager
def writing_alone(folder: Path, *, seconds: float = 0.0) -> Iterator[None]:
    """Makes a folder, clears it of what killed writers left, and keeps other writers out of it while open.

    Args:
        folder: that is written to.
        seconds: to wait for another writer.

    Raises:
        StoreError: another process writes there, or it cannot be written.
        ResourceError: the disk is full.
    """
    make_folder(folder)
    lock = lock_writer(folder, seconds=seconds)
    try:
        remove_leftovers(folder)
        yield
    finally:
        unlock_writer(folder, lock)
