"""``digests.json``: the digest of every file of a run, so that a damaged one is never shown as a result."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from moee_topics.errors import InputError
from moee_topics.run_folder.names import is_inside, run_command
from moee_topics.store import read_json, write_json

PIECE = 2**20


class Digests:
    """The xxh3 digest of every file of a run folder, in ``digests.json``; that file holds one of itself too."""

    # xxh3 reads memory at 10 GB/s and more, so a check costs what reading the file costs. It is no proof of forgery.

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "digests.json"

    def read(self) -> dict[str, str]:
        """Digests by the name of the file; none where a run of 0.1.0 left none.

        Raises:
            InputError: the file is damaged, or is gone from a run that had one.
        """
        mend = f"Make it again with: {run_command(self.folder)}"
        content = read_json(self.path, kind=dict, default={}, mend=mend)
        if not content and self._had_digests():
            raise InputError(f"{self.path} is missing, so nobody can say which other files are whole. {mend}")
        digests = content.get("files", {})
        if content and (not isinstance(digests, dict) or content.get("digest") != _seal(digests)):
            raise InputError(f"{self.path} is damaged: its content is not what was written. {mend}")
        return {name: str(digest) for name, digest in digests.items()}

    def _had_digests(self) -> bool:
        """Whether the run is of a version that writes digests: before its first file, and so before its manifest."""
        try:
            manifest = read_json(self.folder / "run.json", kind=dict[str, Any], default={})
        except InputError:  # whoever reads it is told
            return False
        versions = manifest.get("versions")
        return isinstance(versions, dict) and versions.get("moee_topics") not in (None, "0.1.0")

    def damaged(self, path: Path) -> list[Path]:
        """The files at or below a path that are gone or not what was written.

        Raises:
            InputError: the digests are damaged themselves.
        """
        # A name is data too: one that leads out of the folder is not followed.
        recorded = {self.folder / name: digest for name, digest in self.read().items() if is_inside(name)}
        damaged = []
        for file, digest in recorded.items():
            if file == path or path in file.parents:
                try:
                    whole = digest_of(file) == digest
                except OSError:  # gone, a folder, not readable, or on a disk that fails: nobody can say
                    whole = False
                damaged += [] if whole else [file]
        return damaged

    @contextmanager
    def changing(self, *paths: Path) -> Iterator[None]:
        """Forgets the digests of files and folders while they are written, and takes the new ones afterwards.

        One process at a time may write, see :func:`moee_topics.store.writing_alone`.
        """
        try:
            before = self.read()
        except InputError:  # what is written now is known again; a run makes the rest anew
            before = {}
        others = {
            name: digest
            for name, digest in before.items()
            if not any(path in (self.folder / name, *(self.folder / name).parents) for path in paths)
        }
        # A kill in between leaves whole files without a digest, which is no damage: all is written atomically.
        if others != before:
            self._write(others)
        yield
        new = {file.relative_to(self.folder).as_posix(): digest_of(file) for path in paths for file in _files(path)}
        self._write({**others, **new})

    def _write(self, digests: Mapping[str, str]) -> None:
        write_json(self.path, {"files": dict(sorted(digests.items())), "digest": _seal(digests)})


def digest_of(file: Path) -> str:
    """The xxh3 digest of a file, 32 hexadecimal digits."""
    digest = xxhash.xxh3_128()  # streamed: voters and documents of a large run are gigabytes
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _seal(digests: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(digests, sort_keys=True).encode())


def _files(path: Path) -> Iterator[Path]:
    """A file, or those below a folder, through no link."""
    if path.is_file() and not path.is_symlink():
        yield path
    elif not path.is_symlink():
        for parent, _, names in os.walk(path):
            yield from (file for name in names if not (file := Path(parent, name)).is_symlink())
