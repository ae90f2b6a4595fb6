"""A document, and the corpus that yields documents from whatever a reader found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

from moee_topics.errors import InputError

LONGEST_DOCUMENT = 50_000_000
"""Characters. A longer "document" is a whole data set in one field, and is refused by name."""


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
        content_hash: of the text, made once here so that nobody on the way to the store makes it again.
    """

    id: str
    text: str
    label: str | None = None
    timestamp: str | None = None
    content_hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content_hash", content_hash(self.text))


@dataclass(frozen=True, slots=True)
class Record:
    """What a reader found at one place of its source, not yet checked."""

    place: str
    text: object
    id: object = None
    label: object = None
    timestamp: object = None


@dataclass(frozen=True)
class CorpusCounts:
    """What one pass over a corpus met.

    Attributes:
        documents: documents yielded.
        empty: records dropped because their text was missing or only white space.
        duplicate_ids: documents whose id had been used, and was given a suffix.
    """

    documents: int = 0
    empty: int = 0
    duplicate_ids: int = 0


@dataclass
class Corpus:
    """Documents that can be iterated again and again, read afresh each time, so memory does not grow with them.

    Attributes:
        source: what it was opened from.
        name: a short name for people.
        read: starts one pass over the records.
        limit: stop after so many documents.
        counts: what the last pass met; complete when the pass is.
    """

    source: str
    name: str
    read: Callable[[], Iterator[Record]]
    limit: int | None = None
    counts: CorpusCounts = field(default_factory=CorpusCounts)

    def __iter__(self) -> Iterator[Document]:
        self.counts = CorpusCounts()
        used: set[bytes] = set()
        for record in self.read():
            if self.limit is not None and self.counts.documents >= self.limit:
                return
            document = self._document(record, used)
            if document is not None:
                yield document

    def _document(self, record: Record, used: set[bytes]) -> Document | None:
        text = self._text(record)
        if not text.strip():
            self.counts = replace(self.counts, empty=self.counts.empty + 1)
            return None
        self.counts = replace(self.counts, documents=self.counts.documents + 1)
        return Document(
            id=self._unique(record, used),
            text=text,
            label=self._label(record),
            timestamp=self._timestamp(record),
        )

    def _text(self, record: Record) -> str:
        if record.text is None:
            return ""
        if not isinstance(record.text, str):
            kind = type(record.text).__name__
            raise InputError(f"{self.source}, {record.place}: the text is a {kind}, expected a string.")
        if len(record.text) > LONGEST_DOCUMENT:
            raise InputError(
                f"{self.source}, {record.place}: one document of {len(record.text):,} characters, at most "
                f"{LONGEST_DOCUMENT:,} are taken. Is a quotation mark left open, or should it be split?"
            )
        return well_formed(record.text)

    def _unique(self, record: Record, used: set[bytes]) -> str:
        given = record.place if record.id is None else well_formed(str(record.id))
        unique, copies = given, 1
        while (digest := hashlib.blake2b(unique.encode(), digest_size=8).digest()) in used:
            copies += 1
            unique = f"{given}#{copies}"
        used.add(digest)
        if copies > 1:
            self.counts = replace(self.counts, duplicate_ids=self.counts.duplicate_ids + 1)
        return unique

    def _label(self, record: Record) -> str | None:
        label = record.label
        if label is None or label == "" or label != label:  # the last is NaN, a missing value in a numeric column
            return None
        if isinstance(label, (list, dict)):
            kind = type(label).__name__
            raise InputError(f"{self.source}, {record.place}: the label is a {kind}, expected one string or number.")
        return well_formed(str(label))

    def _timestamp(self, record: Record) -> str | None:
        try:
            return iso_timestamp(record.timestamp)
        except (ValueError, OverflowError, OSError) as error:
            raise InputError(
                f"{self.source}, {record.place}: {record.timestamp!r} is not a time. Expected ISO 8601 "
                "(2024-05-31 or 2024-05-31T12:00:00), a year, or seconds since 1970. "
                "Switch the column off with corpus.timestamp=none."
            ) from error


def well_formed(text: str) -> str:
    """The text with lone surrogates, which no file can hold, replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def iso_timestamp(value: object) -> str | None:
    """A time in any of the usual spellings as ISO 8601, None where it is missing.

    Raises:
        ValueError: it is not a time.
    """
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (int, float)):
        return _number_as_time(float(value))
    text = str(value).strip()
    if text.replace(".", "", 1).isdigit() and len(text) != 8:
        return _number_as_time(float(text))
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return parsedate_to_datetime(text).isoformat()


def _number_as_time(number: float) -> str:
    if 1000 <= number <= 9999 and number.is_integer():
        return f"{int(number)}-01-01T00:00:00"
    seconds = number / 1000 if number > 1e11 else number
    return datetime.fromtimestamp(seconds, UTC).isoformat()
