"""Rows of labelled files, and which type of task their columns are for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from moee_topics.corpus import MISSING, CorpusSettings, Row, read_table
from moee_topics.errors import InputError

LocalType = Literal[
    "Clustering", "STS", "PairClassification", "Reranking", "Retrieval", "Classification", "Summarization"
]


def read_rows(path: Path, **reading: Any) -> list[Row]:
    """The rows of a file, by the reader of corpora: csv, tsv, jsonl, parquet or xlsx, the text formats also packed.

    Args:
        path: of the file.
        **reading: ``encoding``, ``delimiter`` and ``quoting``, as in ``CorpusSettings``.

    Raises:
        InputError: the file is missing, of another kind, empty, or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give a csv, tsv, jsonl, parquet or xlsx file with a header.")
    rows = list(read_table(path, CorpusSettings(str(path), **reading)).rows(None))
    if not rows:
        raise InputError(f"{path} has no rows.")
    return rows


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows: of JSON lines, some may begin to have one late."""
    return list(dict.fromkeys(str(column) for row in rows for column in row.values))


def is_blank(value: Any) -> bool:
    """Whether a cell is null or white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_missing(value: Any) -> bool:
    """Whether a cell holds no text: blank, or not a number, as data frames write a gap."""
    return is_blank(value) or (isinstance(value, float) and value != value)


def is_missing_label(value: Any) -> bool:
    """Whether a cell holds no label: it is missing, or a word for that. A text may well say "None"."""
    return is_missing(value) or (isinstance(value, str) and value.strip() in MISSING)


def guess_type(columns: Iterable[str]) -> LocalType:
    """The task type that a file with these columns is for.

    Raises:
        InputError: the columns fit no type.
    """
    names = set(columns)
    for needed, kind in _SIGNATURES:
        if needed <= names:
            return kind
    raise InputError(
        f"Columns {sorted(names)} fit no task type. "
        + "; ".join(f"{kind}: {', '.join(sorted(needed))}" for needed, kind in _SIGNATURES)
        + ". Say the type, and name the columns where they are called otherwise."
    )


_SIGNATURES: tuple[tuple[set[str], LocalType], ...] = (
    ({"machine_summaries", "human_summaries", "relevance"}, "Summarization"),
    ({"query", "positive", "negative"}, "Reranking"),
    ({"query", "candidate", "label"}, "Reranking"),
    ({"sentence1", "sentence2", "score"}, "STS"),
    ({"sentence1", "sentence2", "label"}, "PairClassification"),
    ({"text", "label"}, "Clustering"),
)
