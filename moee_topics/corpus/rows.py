"""Rows of a table, whatever kind of file they come from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        place: where it stands, such as "line 7".
        values: by column; a column may be missing.
    """

    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """An opened file of rows.

    Attributes:
        columns: their names; None in JSON lines, where each row brings its own.
        rows: one pass over the rows; only these columns, or all for None.
    """

    columns: list[str] | None
    rows: Callable[[Collection[str] | None], Iterator[Row]]
