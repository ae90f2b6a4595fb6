"""What a corpus can be told (the ``corpus`` section of a recipe is this class), and the columns of a table it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config

from moee_topics.errors import InputError

Subset = Literal["train", "test", "all"]
Removable = Literal["headers", "footers", "quotes"]
Quoting = Literal["auto", "csv", "none"]

TEXT_NAMES = ("text", "document", "content", "body", "abstract", "sentence", "sentences", "post", "message", "review")
ID_NAMES = ("id", "doc_id", "document_id", "uid", "key")
LABEL_NAMES = ("label", "labels", "category", "class", "target")
TIMESTAMP_NAMES = ("timestamp", "datetime", "date", "time", "created_at", "published")

# pandas' list without its spellings of undefined numbers, which no label has. "none" is a class in stance corpora.
MISSING = ("", "NaN", "nan", "None", "NULL", "null", "NA", "N/A", "n/a", "#N/A", "<NA>")
DELIMITERS = {"tab": "\t", "\\t": "\t"}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class CorpusSettings:
    r"""A source of documents and how to read it; every kind of source takes the options that concern it.

    Attributes:
        source: ``20newsgroups``, ``docstrings``, ``hub:NAME``, ``-`` for standard input (one document per line), a csv,
            tsv, jsonl, parquet, xlsx or txt file (one document per line; text files also packed), or a folder of texts.
        text: column of the text, or several to join line by line; None looks for a usual name.
        id: column of the ids; None looks for a usual name, "none" numbers the rows.
        label: column of the known classes; None looks for a usual name, "none" reads no labels.
        timestamp: column of the times; the same.
        time_format: how times are written where it is not ISO 8601, as for ``strptime``: "%d/%m/%Y".
        missing: how a missing label, id or time is written.
        clean: "html" takes markup away and reads character references.
        encoding: of text files; a byte order mark wins over the default.
        decoding_errors: "strict" refuses bytes that are not in this encoding, "replace" puts U+FFFD there.
        delimiter: between the fields of a csv or tsv file, one character or "tab"; None finds it in the header.
        quoting: "csv" reads quotation marks as spreadsheets write them, "none" as text; "auto" is "csv" except in tab
            separated files, where they are text unless a row makes sense only with them.
        pattern: which files of a folder.
        limit: stop after so many documents.
        subset, remove, data_home: of 20 Newsgroups, as in scikit-learn.
        packages, per_package: of the docstrings: import names, and at most so many of each (0: all).
        split, config: of a hub data set.
    """

    source: str
    text: str | tuple[str, ...] | None = None
    id: str | None = None
    label: str | None = None
    timestamp: str | None = None
    time_format: str | None = None
    missing: tuple[str, ...] = MISSING
    clean: Literal["none", "html"] = "none"
    encoding: str = "utf-8"
    decoding_errors: Literal["strict", "replace"] = "strict"
    delimiter: str | None = None
    quoting: Quoting = "auto"
    pattern: str = "**/*.txt"
    limit: Annotated[int, Field(ge=1)] | None = None
    subset: Subset = "all"
    remove: tuple[Removable, ...] = ("headers", "footers", "quotes")
    data_home: Path | None = None
    packages: tuple[str, ...] = ()
    per_package: Annotated[int, Field(ge=0)] = 400
    split: str = "train"
    config: str | None = None

    def __post_init__(self) -> None:
        """Refuses what would only be found out while reading."""
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise InputError(
                f"{self.encoding!r} is not an encoding of text that Python knows (corpus.encoding)."
            ) from error
        if self.delimiter is not None and (len(self.field_delimiter) != 1 or self.field_delimiter in '"\r\n'):
            raise InputError(f"corpus.delimiter is {self.delimiter!r}, expected one character or tab.")

    @property
    def field_delimiter(self) -> str:
        """The delimiter as a character; empty if it is to be found."""
        return DELIMITERS.get(self.delimiter or "", self.delimiter or "")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold texts, ids, labels and times."""

    text: tuple[str, ...] = ()
    id: str | None = None
    label: str | None = None
    timestamp: str | None = None

    @property
    def all(self) -> list[str]:
        """Every column that is read, each once."""
        optional = [column for column in (self.id, self.label, self.timestamp) if column is not None]
        return list(dict.fromkeys([*self.text, *optional]))

    @property
    def complete(self) -> bool:
        """Whether no column can be added by names that come later."""
        return bool(self.text) and None not in (self.id, self.label, self.timestamp)


def choose_columns(names: Sequence[str], settings: CorpusSettings, source: str) -> Columns:
    """The columns the settings name, or those with a usual name.

    Raises:
        InputError: a named column is missing or stands twice, or no column looks like the text.
    """
    columns = grow_columns(Columns(), names, settings)
    asked = (settings.text,) if isinstance(settings.text, str) else settings.text or ()
    roles = [("text", name) for name in asked]
    roles += [(role, getattr(settings, role) or "none") for role in ("id", "label", "timestamp")]
    for role, name in roles:
        if name != "none" and name not in names:
            raise InputError(f"{source} has no column {name!r} (corpus.{role}). Its columns are: {listed(names)}.")
    if not columns.text:
        raise InputError(
            f"{source} has no column with a usual name for the text ({', '.join(TEXT_NAMES)}). "
            f"Its columns are: {listed(names)}. Name one with corpus.text=COLUMN."
        )
    twice = [name for name in columns.all if list(names).count(name) > 1]
    if twice:
        raise InputError(f"{source} has more than one column {twice[0]!r}. Give each a name of its own.")
    return columns


def grow_columns(columns: Columns, names: Sequence[str], settings: CorpusSettings) -> Columns:
    """Columns with those added that no name had come for yet; a column once chosen stays.

    A line of JSON brings its own names, so that labels may begin after a million lines.
    """
    first_of_usual = {str(name).lower().strip(): name for name in reversed(names)}

    def column(role: str, usual: Sequence[str]) -> str | None:
        asked = getattr(settings, role)
        if asked is not None:
            return asked if asked in names else None
        return next((first_of_usual[name] for name in usual if name in first_of_usual), None)

    text = columns.text
    if settings.text is not None:
        text = (settings.text,) if isinstance(settings.text, str) else settings.text
    elif not text:
        text = tuple(filter(None, [column("text", TEXT_NAMES)]))
    return Columns(
        text=text,
        id=columns.id or column("id", ID_NAMES),
        label=columns.label or column("label", LABEL_NAMES),
        timestamp=columns.timestamp or column("timestamp", TIMESTAMP_NAMES),
    )


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message, of thousands the first few."""
    rest = f", … ({len(names) - most:,} more)" if len(names) > most else ""
    return ", ".join(str(name)[:80] for name in names[:most]) + rest
