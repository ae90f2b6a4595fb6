"""A corpus: the records of a reader, made into documents one by one."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from moee_topics.corpus.document import Document, Parts, Record
from moee_topics.corpus.markup import without_markup
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.text_file import LONGEST_DOCUMENT
from moee_topics.corpus.timestamps import DATE_LIKE, iso_timestamp
from moee_topics.errors import InputError

LIKELY_YEARS = (1600, 2100)
"""Of a column that nobody named; named, it may hold those of charters too."""


@dataclass
class CorpusCounts:
    """What one pass over a corpus met.

    Attributes:
        documents: documents yielded.
        empty: records dropped because their text was missing or nothing that can be seen.
        duplicate_ids: documents whose id had been used, and was given a suffix.
        nameless: documents without an id, which are called by their place.
        left_out: other records that are not documents, by reason.
        missing_labels: documents whose label is a word for none, by that word.
        timestamps: documents with a time.
        not_times: the first value of a column that looked like one of times and is not; the column is not read then.
        text_columns: where the texts stand in a table, named or known by a usual name.
    """

    documents: int = 0
    empty: int = 0
    duplicate_ids: int = 0
    nameless: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    missing_labels: Counter[str] = field(default_factory=Counter)
    timestamps: int = 0
    not_times: str | None = None
    text_columns: tuple[str, ...] = ()


@dataclass
class Corpus:
    """Documents that can be iterated again and again, read afresh each time, so memory does not grow with them.

    Attributes:
        source: what it was opened from.
        name: a short name for people.
        read: starts one pass over the records.
        settings: what is to be made of the records.
        counts: what the last pass met; complete when the pass is.
    """

    source: str
    name: str
    read: Callable[[], Iterator[Record]]
    settings: CorpusSettings
    counts: CorpusCounts = field(default_factory=CorpusCounts)

    def __iter__(self) -> Iterator[Document]:
        counts = self.counts = CorpusCounts()
        ids = _UniqueIds()
        for record in self.read():
            if self.settings.limit is not None and counts.documents >= self.settings.limit:
                return
            if record.left_out is not None:
                counts.left_out[record.left_out] += 1
                continue
            text = self._text(record)
            if not is_visible(text):
                counts.empty += 1
                continue
            if isinstance(record.id, list | dict):
                kind = type(record.id).__name__
                raise self._refused(
                    record, f"the id is a {kind}, expected a string or number. Number the rows with corpus.id=none."
                )
            name = plain_name(plain_text(record.id, self.settings.encoding))
            unique, copies = ids.unique(record.place if self._is_missing(name) else name)
            document = Document(unique, text, self._label(record), self._timestamp(record))
            counts.documents += 1
            counts.text_columns = record.text_columns
            counts.duplicate_ids += copies > 1
            counts.nameless += self._is_missing(name)
            counts.timestamps += document.timestamp is not None
            yield document

    def _is_missing(self, name: str) -> bool:
        return not name.strip() or name.strip() in self.settings.missing

    def _text(self, record: Record) -> str:
        parts = record.text if isinstance(record.text, Parts) else Parts([record.text])
        texts = []
        for part in parts:
            try:
                text = plain_text(part, self.settings.encoding, self.settings.decoding_errors)
            except UnicodeDecodeError as error:
                raise self._refused(
                    record,
                    f"bytes that are not {error.encoding} ({error.reason} at position {error.start}). Set "
                    "corpus.encoding (for example cp1252), or corpus.decoding_errors=replace.",
                ) from error
            if text is None or text != text:  # NaN is unlike itself
                continue
            if len(parts) > 1 and isinstance(text, int | float) and not isinstance(text, bool):
                text = str(text)  # a year or a number beside the title
            if not isinstance(text, str):
                raise self._refused(record, f"the text is a {type(text).__name__}, expected a string.")
            texts.append(text)
        text = "\n".join(texts)
        if len(text) > LONGEST_DOCUMENT:
            raise self._refused(
                record,
                f"one document of {len(text):,} characters, at most {LONGEST_DOCUMENT:,} are taken. "
                "Is a quotation mark left open, or should it be split?",
            )
        if self.settings.clean == "html":
            try:
                text = without_markup(text)
            except InputError as error:
                raise self._refused(record, str(error)) from error
        return well_formed(text)

    def _label(self, record: Record) -> str | None:
        if self.settings.label == "none":  # 20 Newsgroups and the docstrings have labels and no column of them
            return None
        if isinstance(record.label, list | dict):
            kind = type(record.label).__name__
            raise self._refused(
                record,
                f"the label is a {kind}, expected one string or number. Switch labels off with corpus.label=none.",
            )
        label = class_name(plain_text(record.label, self.settings.encoding))
        if not self._is_missing(label):
            return label
        if label:
            self.counts.missing_labels[label] += 1
        return None

    def _timestamp(self, record: Record) -> str | None:
        """The time; its column is read no further if its first value shows that a usual name misled us."""
        value, settings, counts = record.timestamp, self.settings, self.counts
        guessed = settings.timestamp is None and settings.time_format is None
        if counts.not_times is not None or self._is_missing(plain_name(value)):
            return None
        if guessed and record.clock and not counts.timestamps and re.fullmatch(r"\d{1,4}(\.0)?", str(value).strip()):
            counts.not_times = str(value)  # 1430 in a column "time" is half past two, and not the year
            return None
        year = re.fullmatch(r"(\d{4})(\.0)?", str(value).strip()) if guessed and not counts.timestamps else None
        if year and not LIKELY_YEARS[0] <= int(year[1]) <= LIKELY_YEARS[1]:
            counts.not_times = str(value)  # 1200 in a column "timestamp" is twenty minutes
            return None
        try:
            return iso_timestamp(value, settings.time_format)
        except (ValueError, OverflowError, OSError) as error:
            if guessed and not counts.timestamps and not DATE_LIKE.search(str(value)):
                counts.not_times = str(value)
                return None
            expected = settings.time_format or (
                "ISO 8601 (2024-05-31 or 2024-05-31T12:00:00), a year, or seconds since 1970"
            )
            raise self._refused(
                record,
                f"{value!r} is not a time. Expected {expected}. Say how times are written with corpus.time_format, "
                "such as '%d/%m/%Y' for 31/05/2024, or switch the column off with corpus.timestamp=none.",
            ) from error

    def _refused(self, record: Record, why: str) -> InputError:
        return InputError(f"{self.source}, {record.place}: {why}")


def document_of(record: Record, settings: CorpusSettings) -> Document | None:
    """What a corpus makes of one record alone, whose id no other has taken then; None where there is no text to see.

    Raises:
        InputError: the text is too long or of another type, or cannot be cleaned.
    """
    return next(iter(Corpus(settings.source, settings.source, lambda: iter([record]), settings)), None)


@dataclass
class DocumentList(Corpus):
    """A corpus of documents that are in memory, given as they are.

    Attributes:
        documents: with ids that differ.
    """

    documents: Sequence[Document] = ()

    def __iter__(self) -> Iterator[Document]:
        self.counts = CorpusCounts(len(self.documents))
        return iter(self.documents)

    @classmethod
    def of(cls, documents: Sequence[Document], source: str) -> DocumentList:
        """The corpus of some documents, called by where they come from."""
        return cls(source, source, lambda: iter(()), CorpusSettings(source), documents=documents)


class _UniqueIds:
    """Gives repeated ids a suffix, in memory and time that grow with the ids and not with their repeats."""

    def __init__(self) -> None:
        self._used: set[bytes] = set()
        self._copies: dict[bytes, int] = {}

    def unique(self, name: str) -> tuple[str, int]:
        """An id that has not been used, and which copy of its name it is."""
        digest = base = hashlib.blake2b(name.encode(), digest_size=8).digest()
        unique, copies = name, self._copies.get(base, 1)
        while digest in self._used:
            copies += 1
            unique = f"{name}#{copies}"
            digest = hashlib.blake2b(unique.encode(), digest_size=8).digest()
        self._used.add(digest)
        if copies > 1:
            self._copies[base] = copies
        return unique, copies


def is_visible(text: str) -> bool:
    """Whether a text holds more than white space, marks of byte order, joiners and control characters."""
    return any(character.isprintable() and character != " " for character in text)


def plain_name(value: object) -> str:
    """An id or a label as text; empty where it is missing.

    A column of whole numbers with gaps comes as 1.0, 2.0, NaN from a data frame; they are called 1 and 2.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return well_formed(str(value))


def class_name(label: object) -> str:
    """A label as text, without white space around it and composed (NFC), so that what reads the same is one class."""
    return unicodedata.normalize("NFC", plain_name(label)).strip()


def plain_text(value: object, encoding: str = "utf-8", errors: str = "replace") -> object:
    """The text of a cell that holds one in another form, bytes or a list of words; any other value as it is.

    Raises:
        UnicodeDecodeError: bytes are not in the encoding, and ``errors`` is "strict".
    """
    if isinstance(value, bytes):  # parquet files of older writers do not say that their bytes are text
        value = value.decode(encoding, errors)
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        # Words stand beside each other, sentences and paragraphs on lines of their own.
        value = ("\n" if any(" " in part for part in value) else " ").join(value)
    return value


def well_formed(text: str) -> str:
    """The text with lone surrogates, which no file can hold, replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
