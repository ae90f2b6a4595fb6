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

TEXT_NAMES = ("text", "document", "content", "body", "abstract", "sentence", "sentences", "post", "message", "review")
ID_NAMES = ("id", "doc_id", "document_id", "uid", "key")
LABEL_NAMES = ("label", "labels", "category", "class", "target")
TIMESTAMP_NAMES = ("timestamp", "datetime", "date", "time", "created_at", "published")


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class CorpusSettings:
    """A source of documents and how to read it; every kind of source takes the options that concern it.

    Attributes:
        source: ``20newsgroups``, ``docstrings``, ``hub:NAME``, ``-`` for standard input (one document per line), a csv,
            tsv, jsonl, parquet or txt file (one document per line), or a folder of text files.
        text: column of the text, or several to join line by line; None looks for a usual name.
        id: column of the ids; None looks for a usual name, "none" numbers the rows.
        label: column of the known classes; None looks for a usual name, "none" reads no labels.
        timestamp: column of the times; the same.
        encoding: of text files.
        decoding_errors: "strict" refuses bytes that are not in this encoding, "replace" puts U+FFFD there.
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
    encoding: str = "utf-8"
    decoding_errors: Literal["strict", "replace"] = "strict"
    pattern: str = "**/*.txt"
    limit: Annotated[int, Field(ge=1)] | None = None
    subset: Subset = "all"
    remove: tuple[Removable, ...] = ("headers", "footers", "quotes")
    data_home: Path | None = None
    packages: tuple[str, ...] = ()
    per_package: Annotated[int, Field(ge=0)] = 400
    split: str = "train"
    config: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold texts, ids, labels and times."""

    text: tuple[str, ...]
    id: str | None
    label: str | None
    timestamp: str | None

    @property
    def all(self) -> list[str]:
        """Every column that is read, each once."""
        optional = [column for column in (self.id, self.label, self.timestamp) if column is not None]
        return list(dict.fromkeys([*self.text, *optional]))


def choose_columns(found: Sequence[str], settings: CorpusSettings, source: str) -> Columns:
    """The columns the options name, or those with a usual name.

    Raises:
        InputError: a named column is missing, or no column looks like the text.
    """
    return Columns(
        text=_text_columns(found, settings.text, source),
        id=_column(found, settings.id, ID_NAMES, ("id", source)),
        label=_column(found, settings.label, LABEL_NAMES, ("label", source)),
        timestamp=_column(found, settings.timestamp, TIMESTAMP_NAMES, ("timestamp", source)),
    )


def _text_columns(found: Sequence[str], asked: str | tuple[str, ...] | None, source: str) -> tuple[str, ...]:
    if asked is not None:
        names = (asked,) if isinstance(asked, str) else asked
        return tuple(_named(found, name, ("text", source)) for name in names)
    guess = _usual(found, TEXT_NAMES)
    if guess is None:
        raise InputError(
            f"{source} has no column with a usual name for the text ({', '.join(TEXT_NAMES)}). "
            f"Its columns are: {', '.join(found)}. Name one with corpus.text=COLUMN."
        )
    return (guess,)


def _column(found: Sequence[str], asked: str | None, usual: Sequence[str], what: tuple[str, str]) -> str | None:
    if asked == "none":
        return None
    return _usual(found, usual) if asked is None else _named(found, asked, what)


def _named(found: Sequence[str], name: str, what: tuple[str, str]) -> str:
    if name not in found:
        role, source = what
        raise InputError(
            f"{source} has no column {name!r} (corpus.{role}). Its columns are: {', '.join(map(str, found))}."
        )
    return name


def _usual(found: Sequence[str], usual: Sequence[str]) -> str | None:
    by_lower = {str(name).lower().strip(): name for name in reversed(found)}
    return next((by_lower[name] for name in usual if name in by_lower), None)
