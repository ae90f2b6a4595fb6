"""Rows of labelled files, and which type of task their columns are for."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from moee_topics.errors import InputError

LocalType = Literal[
    "Clustering", "STS", "PairClassification", "Reranking", "Retrieval", "Classification", "Summarization"
]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a csv, tsv, jsonl or parquet file, the text formats also gzipped.

    Raises:
        InputError: the file is missing, of another kind, empty, or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give a csv, tsv, jsonl or parquet file with a header.")
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    if kind not in _READERS:
        raise InputError(f"{path} is none of: {', '.join(_READERS)} (the text formats also as .gz).")
    try:
        rows = _READERS[kind](path)
    except (ValueError, OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as {kind}: {error}.") from error
    if not rows:
        raise InputError(f"{path} has no rows.")
    return rows


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")


def _read_delimited(path: Path, delimiter: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(_text_of(path)), delimiter=delimiter))


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in _text_of(path).splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("each line must be an object")
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


_READERS: Mapping[str, Callable[[Path], list[dict[str, Any]]]] = {
    "csv": partial(_read_delimited, delimiter=","),
    "tsv": partial(_read_delimited, delimiter="\t"),
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}


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
