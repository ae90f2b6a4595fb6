"""What a corpus can be told; the ``corpus`` section of a recipe is this class."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config

from moee_topics.errors import InputError
from moee_topics.messages import shortened

Subset = Literal["train", "test", "all"]
Removable = Literal["headers", "footers", "quotes"]
Quoting = Literal["auto", "csv", "none"]

# pandas' list without its spellings of undefined numbers, which no label has. "none" is a class in stance corpora.
MISSING = ("", "NaN", "nan", "None", "NULL", "null", "NA", "N/A", "n/a", "#N/A", "<NA>")
DELIMITERS = {"tab": "\t", "\\t": "\t"}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class CorpusSettings:
    r"""A source of documents and how to read it; every kind of source takes the options that concern it.

    Attributes:
        source: ``20newsgroups``, ``docstrings``, ``hub:NAME``, ``-`` for standard input (one document per line), a csv,
            tsv, jsonl, parquet, xlsx or txt file (one document per line; text files also packed), a folder of texts or
            of a saved data set, the address of either in an object store (``s3://``, ``gs://``, ``az://``,
            ``https://``), or a database: ``sqlite:///FILE`` or ``duckdb:///FILE``.
        text: column of the text, or several to join line by line; None looks for a usual name.
        id: column of the ids; None looks for a usual name, "none" numbers the rows.
        label: column of the known classes; None looks for a usual name, "none" reads no labels.
        timestamp: column of the times; None looks for a usual name, "none" reads no times.
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
        packages: of the docstrings: import names; none takes thirteen that come with this package.
        per_package: of the docstrings: at most so many of each package, evenly spaced; 0 takes all.
        split: of a hub or a saved data set.
        config: of a hub data set.
        query: of a database: one SELECT whose rows are documents; None reads the only table.
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
    query: str | None = None

    def __post_init__(self) -> None:
        """Refuses what would only be found out while reading; every fault is named."""
        faults = []
        try:
            "".encode(self.encoding)
            if codecs.lookup(self.encoding).name in ("idna", "punycode"):
                raise ValueError("it is for the names of hosts")
        except (LookupError, ValueError):
            faults.append(f"{self.encoding!r} is not an encoding of text that Python knows (corpus.encoding).")
        if self.delimiter is not None and (len(self.field_delimiter) != 1 or self.field_delimiter in '"\r\n'):
            faults.append(f"corpus.delimiter is {self.delimiter!r}, expected one character or tab.")
        if self.time_format is not None and not re.search(r"%[YyGcx]", self.time_format):
            faults.append(  # strptime would take 1900
                f"corpus.time_format is {self.time_format!r}, which names no year, expected such as '%d/%m/%Y'."
            )
        if self.time_format is not None and self.timestamp == "none":
            faults.append("corpus.time_format does nothing with corpus.timestamp=none. Leave one of them out.")
        if isinstance(self.text, tuple) and (not self.text or len(set(self.text)) < len(self.text)):
            faults.append(
                f"corpus.text is {shortened(list(self.text))}, expected one column or more, each once, such as "
                "[title, abstract]."
            )
        pattern = PurePath(self.pattern)
        if (
            not pattern.parts
            or pattern.is_absolute()
            or ".." in pattern.parts
            or any("**" in part != "**" for part in pattern.parts)
        ):
            faults.append(
                f"corpus.pattern is {self.pattern!r}, expected files inside the folder, such as *.md or **/*.txt."
            )
        if faults:
            raise InputError(" ".join(faults))

    @property
    def field_delimiter(self) -> str:
        """The delimiter as a character; empty if it is to be found."""
        return DELIMITERS.get(self.delimiter or "", self.delimiter or "")
