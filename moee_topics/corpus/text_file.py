"""Text files as lines: decoded, and never longer than a document may be."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from moee_topics.corpus.packing import open_bytes
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError

LONGEST_DOCUMENT = 50_000_000
"""Characters. A longer "document" is a whole data set in one field, and is refused by name."""

PIECE = 1 << 20  # characters
HEAD = 1 << 16  # bytes, in which the encoding and the line end show
ENDS = re.compile("\r\n|\n|\r")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

MAGIC: Mapping[bytes, str] = {
    b"\x1f\x8b": "packed by gzip; call it by .gz at the end",
    b"\x28\xb5\x2f\xfd": "packed by zstd; call it by .zst at the end",
    b"\xfd7zXZ\0": "packed by xz; call it by .xz at the end",
    **{b"BZh%d1AY&SY" % level: "packed by bzip2; call it by .bz2 at the end" for level in range(1, 10)},
    b"PK\x03\x04": "a zip archive, or a workbook or a document of an office; call it by .zip or .xlsx at the end",
    b"PAR1\x15": "of Parquet; call it by .parquet at the end",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "of an old office program; save it as .xlsx or .csv",
    b"SQLite format 3\0": "a database; name it as sqlite:///FILE",
    b"%PDF-": "a PDF; give its text",
}
"""How files begin that hold no text, whatever they are called, with what they are and what to do."""


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
            InputError: a line is too long, or holds bytes that are not in the encoding, both by line; or the file is
                not text.
        """
        with self.open() as stream:
            head = stream.read(HEAD)
        # Before the encoding: what is packed has zero bytes, as UTF-16 has.
        if what := next((what for magic, what in MAGIC.items() if head.startswith(magic)), None):
            raise InputError(f"{self.name} is not a text file. It is {what}.")
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
            InputError: it is longer than a document may be; or as :meth:`lines`.
        """
        lines, size = [], 0
        for line in self.lines():
            lines.append(line)
            size += len(line)
            if size > LONGEST_DOCUMENT:
                raise InputError(f"{self.name} has more than {LONGEST_DOCUMENT:,} characters, too many for a document.")
        return "".join(lines)

    def _bounded(self, text: io.TextIOWrapper, end: str) -> Iterator[str]:
        number = 1
        # In pieces, so that 600 MB in one line are not in memory before they are refused.
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
        if name.startswith(("utf-16", "utf-32")) and _is_utf8(head):
            raise InputError(
                f"{self.name} is UTF-8, which corpus.encoding={encoding} would read as other letters. Leave "
                "corpus.encoding out, or give corpus.encoding=utf-8."
            )
        if name in ("utf-16", "utf-32") and not head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)):
            return f"{name}-le"  # as Python reads bytes; its decoder of streams would refuse them
        marked = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), None)
        if marked and not name.startswith("utf"):
            raise InputError(
                f"{self.name} begins with the mark of {marked}, which corpus.encoding={encoding} would read as "
                "letters. Leave corpus.encoding out."
            )
        if name != "utf-8":
            return encoding
        zeros = head.count(0)
        text = head.replace(b"\0", b"").decode("utf-8", "replace")[:-1]  # the last character may be cut
        # Control characters, zero bytes aside; the high bytes of UTF-16 are none such.
        is_plain = re.search("[\x01-\x08\x0e-\x1f\x7f\ufffd]", text) is None
        # Spaces and line ends have a zero byte in UTF-16, also between letters of other scripts. A few zero bytes in
        # what else is plain text are a fault of its writer, and no reason to read all of it as something else.
        if marked is None and zeros > len(head) / 100 and (zeros > len(head) / 4 or not is_plain):
            guess = "utf-16-le" if head[1::2].count(0) >= zeros / 2 else "utf-16-be"
            raise InputError(f"{self.name} holds zero bytes, as UTF-16 does. Set corpus.encoding={guess}.")
        return marked or encoding

    def _undecodable(self, encoding: str, end: str, error: UnicodeDecodeError) -> str:
        # Read once more, with foreign bytes let through: the decoder knows only the place in a block.
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


def _is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8 and no UTF-16 or UTF-32, whose spaces and line ends have zero bytes."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # its last character may be cut
    except UnicodeDecodeError:
        return False
    return len(head) > 1 and 0 not in head
