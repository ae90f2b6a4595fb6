"""Packed files: what is in them by their names, and their bytes unpacked on the way."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Any

import pyarrow as pa

from moee_topics.errors import InputError

# What readers of packed files raise at bytes that are not theirs; OSError is told apart below.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, UnicodeDecodeError)


def open_zip(path: Path) -> IO[bytes]:
    """The one file in a zip."""
    with zipfile.ZipFile(path) as archive:
        return archive.open(zip_member(path))  # keeps the file open by itself


PACKINGS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": partial(pa.input_stream, compression="zstd"),
    ".zip": open_zip,
}


def zip_member(path: Path) -> str:
    """The one file in a zip; what macOS adds, folders and hidden files do not count.

    Raises:
        InputError: there are more, or none, or it cannot be read without a password.
    """
    with zipfile.ZipFile(path) as archive:
        # A damaged zip may name a member with nothing, and is_dir asks for the name's last letter.
        members = [item for item in archive.infolist() if item.filename and not item.is_dir()]
    members = [item for item in members if not is_hidden(PurePath(item.filename))]
    if len(members) != 1:
        names = ", ".join(item.filename for item in members[:5])
        raise InputError(f"{path} holds {len(members):,} files ({names}), expected one. Unpack it, or name a folder.")
    if members[0].flag_bits & 1:
        raise InputError(f"{path} is locked by a password. Unpack it.")
    return members[0].filename


def is_hidden(path: PurePath) -> bool:
    """Whether a file or a folder on its way is hidden, or one that macOS lays beside files on foreign disks."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def kind_of(path: Path) -> tuple[str, str]:
    """The ending that says what is in a file, and the one that says how it is packed (empty if it is not)."""
    packing = path.suffix.lower() if path.suffix.lower() in PACKINGS else ""
    inside = path.with_suffix("") if packing else path
    if packing == ".zip" and not inside.suffix:  # posts.zip says nothing, the posts.csv in it does
        with readable(path):
            inside = Path(zip_member(path))
    return inside.suffix.lower(), packing


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever is wrong with the bytes of a file becomes an error that names it."""
    try:
        yield
    except (*DAMAGE, OSError, NotImplementedError) as error:
        # What unpacks a file raises an OSError too, but without the number that those of the system have.
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        raise InputError(f"{path} is damaged and cannot be unpacked: {error}") from error


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked on the way if its name says that it is packed."""
    with readable(path), PACKINGS.get(path.suffix.lower(), partial(Path.open, mode="rb"))(path) as stream:
        yield stream
