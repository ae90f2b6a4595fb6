"""What is too long for memory and of no use after the process: a file without a name, mapped."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from moee_topics.store.files import disk_errors, make_folder


class Scratch:
    """A file that nobody else sees, and that is gone when the last who looks at it lets it go, or is killed."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(tempfile.gettempdir()) if folder is None else folder
        with self.writing():
            make_folder(self.folder)
            self.file: BinaryIO = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - it outlives this call

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Tells what the disk has against it.

        Raises:
            ResourceError: the disk is full.
            StoreError: it cannot be written for another reason.
        """
        with disk_errors(self.folder / "a temporary file"):
            yield

    def write(self, parts: Iterable[bytes | memoryview]) -> None:
        """Adds some parts at its end."""
        with self.writing():
            for part in parts:
                self.file.write(part)

    def mapped(self) -> mmap.mmap | bytes:
        """All of it; the system reads the pages that are looked at, and drops them where memory is short."""
        with self.writing():
            self.file.flush()
            if not self.file.tell():
                return b""  # an empty file cannot be mapped
            return mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
