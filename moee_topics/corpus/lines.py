"""Lines of text files: unpacked, decoded, and never longer than a document may be."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Any

import pyarrow as pa

from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError

LONGEST_DOCUMENT = 50_000_000
"""Characters. A longer "document" is a whole data set in one field, and is refused by name."""

PIECE = 1 << 20
HEAD = 1 << 16
ENDS = re.compile("\r\n|\n|\r")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, UnicodeDecodeError)


def _open_zip(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        return archive.open(zip_member(path))  # keeps the file open by itself


PACKINGS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": partial(pa.input_stream, compression="zstd"),
    ".zip": _open_zip,
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
    if packing == ".zip" and not inside.suffix:
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


@dataclass(frozen=True)
class TextFile:
    """Text that can be read again and again.

    Attributes:
        name: for messages.
        open: its bytes, from the beginning.
        settings: encoding, and what to do with other bytes.
    """

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    settings: CorpusSettings

    @classmethod
    def at(cls, path: Path, settings: CorpusSettings) -> TextFile:
        """A file, packed or not."""
        return cls(str(path), partial(open_bytes, path), settings)

    def lines(self) -> Generator[str, None, None]:
        """Its lines with their ends, of which only that of the first line counts: LF (also in CR LF) or CR.

        So a form feed, a U+2028 or, in most files, a single CR stays inside its line.

        Raises:
            InputError: a line is too long, or holds bytes that are not in the encoding; both by line.
        """
        with self.open() as stream:
            head = stream.read(HEAD)
        encoding = self._encoding(head)
        first_end = ENDS.search(head.decode(encoding, "ignore"))
        end = "\r" if first_end and first_end[0] == "\r" else "\n"
        with self.open() as stream:
            text = io.TextIOWrapper(stream, encoding, self.settings.decoding_errors, newline=end)
            try:
                for number, line in enumerate(self._bounded(text, end), start=1):
                    yield line.removeprefix("\ufeff") if number == 1 else line
            except UnicodeDecodeError as error:
                raise InputError(self._undecodable(encoding, end, error)) from error
            finally:
                text.detach()  # would close what it was given

    def whole(self) -> str:
        """All of it as one text.

        Raises:
            InputError: as :meth:`lines`.
        """
        return "".join(bounded(self.lines(), self.name))

    def _bounded(self, text: io.TextIOWrapper, end: str) -> Iterator[str]:
        """Lines, read in pieces, so that 600 MB in one line are not in memory before they are refused."""
        number = 1
        while line := text.readline(PIECE):
            pieces, size = [line], len(line)
            while len(line) == PIECE and not line.endswith(end):
                line = text.readline(PIECE)
                pieces.append(line)
                size += len(line)
                if size > LONGEST_DOCUMENT:
                    raise InputError(
                        f"{self.name}, line {number} has more than {LONGEST_DOCUMENT:,} characters, which is no line "
                        "of documents. Is it of this kind, and are its lines not all in one?"
                    )
            yield "".join(pieces) if len(pieces) > 1 else line
            number += 1

    def _encoding(self, head: bytes) -> str:
        encoding = self.settings.encoding
        name = codecs.lookup(encoding).name
        if name in ("utf-16", "utf-32") and not head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)):
            return f"{name}-le"  # as Python reads bytes; its decoder of streams would refuse them
        if name != "utf-8":
            return encoding
        marked = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), None)
        zeros = head.count(0)
        if marked is None and zeros > len(head) / 100:
            # Spaces and line ends have a zero byte in UTF-16, also between letters of other scripts.
            guess = "utf-16-le" if head[1::2].count(0) >= zeros / 2 else "utf-16-be"
            raise InputError(f"{self.name} holds zero bytes, as UTF-16 does. Set corpus.encoding={guess}.")
        return marked or encoding

    def _undecodable(self, encoding: str, end: str, error: UnicodeDecodeError) -> str:
        """Where the first foreign byte is: the decoder knows only its place in a block."""
        place, seen = self.name, f"bytes that are not {encoding} ({error.reason})"
        with self.open() as stream:
            text = io.TextIOWrapper(stream, encoding, "surrogateescape", newline=end)
            try:
                for number, line in enumerate(self._bounded(text, end), start=1):
                    if bad := re.search("[\udc80-\udcff]", line):
                        place = f"{self.name}, line {number}"
                        seen = f"byte 0x{ord(bad[0]) - 0xDC00:02x} at position {bad.start()} is not {encoding}"
                        break
            except UnicodeDecodeError:  # UTF-16 has no escape for an odd byte
                pass
            finally:
                text.detach()
        return f"{place}: {seen}. Set corpus.encoding (for example cp1252), or corpus.decoding_errors=replace."


def bounded(lines: Iterator[str], name: str) -> Iterator[str]:
    """Lines that together are no longer than a document may be.

    Raises:
        InputError: they are longer.
    """
    size = 0
    for line in lines:
        size += len(line)
        if size > LONGEST_DOCUMENT:
            raise InputError(f"{name} has more than {LONGEST_DOCUMENT:,} characters, too many for one document.")
        yield line


def standard_input(kept: IO[bytes], settings: CorpusSettings) -> TextFile:
    """What was piped in, kept in a file that stays open."""

    @contextmanager
    def rewound() -> Iterator[IO[bytes]]:
        kept.seek(0)
        yield kept

    return TextFile("standard input", rewound, settings)
