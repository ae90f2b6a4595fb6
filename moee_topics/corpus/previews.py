"""The beginning of a source: which columns are there, and how long its texts are, before anybody has named one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from moee_topics.corpus.columns import Columns, choose_columns, grow_columns
from moee_topics.corpus.databases import database_kind, database_rows
from moee_topics.corpus.rows import Row
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.sources import has_columns, open_corpus
from moee_topics.corpus.tables import is_table, read_table
from moee_topics.errors import InputError

ROWS = 200
TEXT = "text"


@dataclass(frozen=True)
class Preview:
    """The first rows of a source.

    Attributes:
        settings: how it was read.
        columns: the names of its columns; empty where it has none, or where they are not known before it is read.
        rows: the first ones, by column; of a source without columns the text alone.
    """

    settings: CorpusSettings
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def usual(self) -> Columns:
        """The columns to propose: those with a usual name, and for the text else the one with the longest texts."""
        columns = grow_columns(Columns(), self.columns, self.settings)
        if columns.text or not self.columns:
            return columns
        return replace(columns, text=(max(self.columns, key=lambda name: self.characters((name,))),))

    def characters(self, text: Sequence[str]) -> int:
        """The median length of the texts in some columns, joined; of a source without columns of its texts."""
        texts = [[row[name] for name in text or [TEXT] if isinstance(row.get(name), str)] for row in self.rows]
        return int(statistics.median(sum(map(len, parts)) for parts in texts)) if texts else 0

    def check(self, settings: CorpusSettings) -> None:
        """Looks whether the columns that settings name are there.

        Raises:
            InputError: one is not, with the names of those that are.
        """
        if self.columns:
            choose_columns(self.columns, settings, settings.source)


def preview(settings: CorpusSettings) -> Preview:
    """Reads the first rows of a source.

    Raises:
        InputError: there is no such source, it is standard input, or it cannot be read.
    """
    source = settings.source
    if source == "-":  # it can be read once, and answers may come by it
        raise InputError("Standard input cannot be looked at beforehand. Give a file, a folder or a database.")
    corpus = open_corpus(settings)  # whatever is wrong with the name of the source is told by it
    if database_kind(source):
        rows = database_rows(source, settings, ROWS)
    elif has_columns(source) and is_table(path := Path(source).expanduser()):
        table = read_table(path, settings)
        rows = list(islice(table.rows(None), ROWS))
        if table.columns is not None:  # a header is there where no row is
            return Preview(settings, tuple(table.columns), _values(rows))
    else:
        texts = ({TEXT: document.text} for document in islice(corpus, ROWS))
        return Preview(settings, (), tuple(texts))
    return Preview(settings, tuple(dict.fromkeys(name for row in rows for name in row.values)), _values(rows))


def _values(rows: Sequence[Row]) -> tuple[Mapping[str, Any], ...]:
    return tuple(row.values for row in rows)
