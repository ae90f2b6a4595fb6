"""A document, and the record of a reader that it is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

HASH_BYTES = 16


def content_hash(text: str) -> bytes:
    """The 16 bytes by which the store and a fit know a text: blake2b of it in UTF-8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus.

    Attributes:
        id: unique in its corpus.
        text: never empty.
        label: its known class, where the corpus has classes.
        timestamp: ISO 8601, where the corpus has times.
    """

    id: str
    text: str
    label: str | None = None
    timestamp: str | None = None
    _content_hash: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def content_hash(self) -> bytes:
        """Of the text; made when it is first asked for, and once."""
        digest = self._content_hash
        if digest is None:
            digest = content_hash(self.text)
            object.__setattr__(self, "_content_hash", digest)
        return digest


@dataclass(frozen=True, slots=True)
class Record:
    """What a reader found at one place of its source, not yet checked.

    Attributes:
        place: for messages.
        text: the text, or the :class:`Parts` of it.
        id, label, timestamp: as they stand there.
        left_out: why it is not a document.
        clock: whether the times' column is only called "time", as hours of a day are too.
        text_columns: where the text stands in a table.
    """

    place: str
    text: object
    id: object = None
    label: object = None
    timestamp: object = None
    left_out: str | None = None
    clock: bool = False
    text_columns: tuple[str, ...] = ()


class Parts(tuple[object, ...]):
    """The cells of several columns that make one text."""
