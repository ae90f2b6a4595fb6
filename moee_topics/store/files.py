"""The one writer of files: whole and on the disk, or not there at all.

Everything the package writes goes through here. A file or folder is made under a temporary name beside its own, synced,
and renamed, so a reader never sees half of it and what is said to be done survives a power cut.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from moee_topics.errors import InputError, ResourceError, StoreError
from moee_topics.messages import shortened
from moee_topics.remote import refuse_address

_TEMPORARY = re.compile(r"\.(\d+)(?:-\d+)?@(.+)\.tmp$")
_STALE_SECONDS = 3600  # of another host's files, whose processes cannot be asked
_REQUIRED: Any = object()

_numbers = itertools.count()
_unfinished: set[Path] = set()

_REASONS = {
    errno.EROFS: "the file system is read-only. Choose another place",
    errno.EACCES: "this user may not write there. Change its permissions or choose another place",
    errno.EPERM: "this user may not write there. Change its permissions or choose another place",
    errno.EIO: "the disk reports an error. Look at its health before you write there again",
}


def write_json(path: Path, value: Any, **options: Any) -> None:
    """Writes JSON, whole or not at all: indented by one space unless the options of :func:`to_json` say otherwise.

    Raises:
        ResourceError: the disk is full.
        StoreError: the file cannot be written for another reason.
    """
    text = to_json(value, **{"indent": 1, **options}) + "\n"
    # A lone surrogate becomes \udXXX, which is how JSON spells it: it reads back as it was.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def to_json(value: Any, **options: Any) -> str:
    """A value as JSON that every reader of JSON takes, by ``json.dumps`` with these options.

    Numbers of numpy are written as numbers; paths, times and whatever else JSON lacks as their text; NaN and infinity,
    for which it has no word, as null.
    """
    options = {"ensure_ascii": False, "default": _plain, **options}
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:  # where all numbers are finite, as nearly always, no copy is made
        return json.dumps(_finite(value), allow_nan=False, **options)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _finite(value: Any) -> Any:
    """The same with None in the place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float | np.floating) and not np.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 with line ends as they are, whole or not at all; what UTF-8 cannot hold becomes a question mark."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, blob: bytes) -> None:
    """Writes a file whole or not at all, and makes its folder where that is missing.

    Raises:
        ResourceError: the disk is full.
        StoreError: the file cannot be written for another reason.
    """
    with atomic_path(path, size=len(blob)) as temporary:
        temporary.write_bytes(blob)


@contextmanager
def appended_lines(path: Path) -> Iterator[Callable[[str], None]]:
    """Gives a function that adds a line to a file; it is on the disk when the function returns.

    What a kill left of a line at the end is taken away first.

    Raises:
        ResourceError: the disk is full.
        StoreError: the file cannot be written for another reason.
    """
    with disk_errors(path):
        file = path.open("a+b", buffering=0)
    with file:

        def append(line: str) -> None:
            blob = f"{line}\n".encode()
            with disk_errors(path):
                while blob:  # a disk that is nearly full takes a part
                    blob = blob[file.write(blob) :]
                os.fsync(file.fileno())

        with disk_errors(path):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            _sync(path.parent)
        yield append


@contextmanager
def atomic_path(path: Path, *, size: int | None = None) -> Iterator[Path]:
    """A name to write a file under; at the end it is synced and renamed, after an error it is deleted.

    A link at ``path`` is replaced, not followed. A device or a pipe is written as it is.

    Args:
        path: the file to be.
        size: its bytes, where they are known, for the message of a full disk.

    Raises:
        ResourceError: the disk is full.
        StoreError: the file cannot be written for another reason.
    """
    path = Path(path)
    with disk_errors(path, size):
        if path.parent == Path("/dev") or (path.exists() and not path.is_file() and not path.is_dir()):
            yield path  # a rename would put a file in the place of /dev/null
            return
        make_folder(path.parent)
        with _temporary(path) as temporary:
            yield temporary
            _sync(temporary)  # before the rename: ext4 may write the name before the bytes
            temporary.replace(path)
        _sync(path.parent)


@contextmanager
def atomic_folder(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """A new folder to fill; at the end it is synced and takes the place of ``path``, after an error it is deleted.

    Whoever looks at ``path`` sees the old folder or the new one. A link at ``path`` is replaced, not followed.

    Args:
        path: the folder to be.
        keep: what else is in a folder that is there stays in it, and only what was written takes its place.

    Raises:
        ResourceError: the disk is full.
        StoreError: the folder cannot be written for another reason.
    """
    path = Path(path)
    with disk_errors(path):
        make_folder(path.parent)
        with _temporary(path) as temporary:
            temporary.mkdir()
            yield temporary
            for folder, _, names in os.walk(temporary, topdown=False):
                for name in [*names, "."]:
                    _sync(Path(folder, name))
            if keep and path.is_dir():
                for entry in temporary.iterdir():
                    _put_in_place(entry, path / entry.name)
                _sync(path)
            else:
                _put_in_place(temporary, path)
            _sync(path.parent)  # before the old folder goes, which now has the temporary name


def refuse_existing(folder: Path) -> None:
    """Asked before the work whose result is to become a new folder.

    Raises:
        InputError: the folder exists.
    """
    if folder.exists():
        raise InputError(f"The folder {folder} exists already. Name a new one, or delete it first.")


def refuse_too_small(path: Path, size: int) -> None:
    """Asked before the hours whose result, of ``size`` bytes, is to be written at ``path``.

    Raises:
        ResourceError: the disk has less room.
    """
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ResourceError(
            f"The disk is too full for {path}: about {size:,} bytes are needed, {free:,} are free in {folder}. Make "
            "room, or name another disk."
        )


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, each known to the disk as part of the one above.

    Raises:
        InputError: it is an address of an object store.
        ResourceError: the disk is full.
        StoreError: it cannot be made for another reason.
    """
    refuse_address(path)
    with disk_errors(path):
        # A file that is synced is lost all the same if the folder's own name is not on the disk.
        missing = list(itertools.takewhile(lambda folder: not folder.exists(), [path, *path.parents]))
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _sync(folder.parent)


def read_json(path: Path, *, kind: Any = Any, default: Any = _REQUIRED, mend: str = "") -> Any:
    """What a JSON file holds, of a form that is checked, so that no reader meets a word where a number should be.

    Args:
        path: the file.
        kind: the type that it must have throughout, such as ``dict[str, float]``, a dataclass or a TypedDict.
        default: what is given where there is no file; without it that is an error.
        mend: the sentence of the message that says how the file is made again.

    Returns:
        Plain data, also for a dataclass, with the keys that its form does not name.

    Raises:
        InputError: the file is missing, cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        # From text, since only there a list may stand for a tuple and a mapping for a dataclass in strict mode; and
        # without the halves of characters that documents may hold, which pydantic does not read.
        if kind is not Any:
            _form(kind).validate_json(json.dumps(value, ensure_ascii=False).encode(errors="replace"), strict=True)
    except FileNotFoundError as error:
        if default is not _REQUIRED:
            return default
        raise InputError(f"{path} is missing. {mend}".rstrip()) from error
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "its content"
        raise InputError(f"{path} is damaged ({place}: {fault['msg']}). {mend}".rstrip()) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}). {mend}".rstrip()) from error
    return value  # and not what pydantic made of it, which lacks the keys that a later version adds


@cache
def _form(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # made at the first reading: it takes milliseconds, and no import should


@contextmanager
def disk_errors(path: Path, size: int | None = None) -> Iterator[None]:
    """Turns the system's errors while writing ``path``, of ``size`` bytes, into ours."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number, reason = getattr(error, "errno", None) or 0, getattr(error, "strerror", None) or str(error)
        if isinstance(error, SafetensorError) and (match := re.search(r"\(os error (\d+)\)", str(error))):
            number, reason = int(match[1]), os.strerror(int(match[1]))  # safetensors 0.8 has it in its message alone
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            facts = reason if size is None else f"{reason}, it needs {size:,} bytes"
            with suppress(OSError, StopIteration):  # the disk that failed may not say how full it is
                folder = next(folder for folder in path.absolute().parents if folder.is_dir())
                facts += f", {shutil.disk_usage(folder).free:,} bytes are free in {folder}"
            raise ResourceError(
                f"The disk is full: {path} could not be written ({facts}). Everything before it is kept; make room "
                "and run again."
            ) from error
        if number == errno.ENAMETOOLONG:
            longest = max(path.parts, key=len)
            raise InputError(f"{shortened(longest)} is too long for the name of a file.") from error
        raise StoreError(f"{path} could not be written: {_REASONS.get(number, reason)}.") from error


def link_files(source: Path, target: Path) -> None:
    """Gives a file, or those of a folder, another name in a new place; a copy where the file system has no links.

    Nothing is ever written into a file that has its name, so that none changes under the other.

    Raises:
        ResourceError: the disk is full.
        StoreError: the place cannot be written for another reason.
    """
    with disk_errors(target):
        for file in [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]:
            place = target / file.relative_to(source) if file != source else target
            make_folder(place.parent)
            try:
                os.link(file, place)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(file, place)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside ``path`` that no other thread or process writes under; whatever is left there goes."""
    # 40 characters of the name are enough to know it, and leave room for a host's 64: a file name holds 255 bytes.
    temporary = path.with_name(f"{path.name[:40]}.{os.getpid()}-{next(_numbers)}@{socket.gethostname()}.tmp")
    temporary = temporary.absolute()
    _unfinished.add(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _unfinished.discard(temporary)


def _remove(path: Path) -> None:
    """Deletes a file, a link or a folder, and nothing that a link points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # Windows syncs only what can be written
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_folder or error.errno != errno.EINVAL:  # some network file systems have no sync of a folder
            raise
    finally:
        os.close(descriptor)


def _put_in_place(new: Path, path: Path) -> None:
    """Gives a file or folder its name; a folder that had the name before has ``new``'s from then on."""
    if new.is_file():
        new.replace(path)
        return
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        new.rename(path)
        return
    # Both names swapped in one step (2, RENAME_EXCHANGE) where the system can: Linux since 3.15, on most file systems.
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None or rename(-100, os.fsencode(new), -100, os.fsencode(path), 2) != 0:
        # Without an exchange a crash between the two renames leaves no folder of this name; a run then fits again.
        aside = new.with_name(f"old-{new.name}")
        path.rename(aside)
        new.rename(path)
        aside.rename(new)


def remove_leftovers(folder: Path) -> None:
    """Deletes the temporary files and folders of writers that were killed, at any depth, through no link."""
    for parent, folders, names in os.walk(folder.absolute()):
        for name in [*folders, *names]:
            if match := _TEMPORARY.search(name):
                path, pid, host = Path(parent, name), int(match[1]), match[2]
                if host != socket.gethostname():
                    is_stale = time.time() - path.lstat().st_mtime > _STALE_SECONDS
                elif pid == os.getpid():
                    is_stale = path not in _unfinished
                else:
                    is_stale = not psutil.pid_exists(pid)
                if is_stale:
                    _remove(path)
