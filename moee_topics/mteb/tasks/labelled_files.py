"""Labelled files: what a recipe says of one, its rows, and which type of task its columns are for."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from moee_topics.corpus import (
    MISSING,
    CorpusSettings,
    Quoting,
    Row,
    class_name,
    is_visible,
    plain_text,
    read_table,
    well_formed,
)
from moee_topics.errors import InputError
from moee_topics.messages import shortened

LocalType = Literal[
    "Clustering", "STS", "PairClassification", "Reranking", "Retrieval", "Classification", "Summarization"
]


COLUMN_ROLES = (
    *("label", "sentence1", "sentence2", "score", "query", "positive", "negative", "candidate"),
    *("text", "machine_summaries", "human_summaries", "relevance"),
)
"""What ``LocalTask.columns`` can name."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class LocalTask:
    """A labelled file that is to be a task; the entries of ``score.local`` in a recipe are this class.

    Attributes:
        type: the task type, or None to tell it from the columns.
        file: csv, tsv, jsonl, parquet or xlsx; the text formats also packed.
        name: its name in results; made from the file's name if empty.
        train: the file with the training rows of a classification task.
        text: the columns whose texts, joined by a space, are the document of a clustering or classification task. One
            title column makes a sentence-to-sentence task, title and abstract a paragraph-to-paragraph one.
        columns: names of other columns where they differ from the usual ones: label, sentence1, sentence2, score,
            query, positive, negative, candidate, machine_summaries, human_summaries, relevance.
        sample: rows to keep, drawn with the seed (queries, where rows are grouped by query), and of training rows four
            times as many; None keeps all.
        samples_per_label: rows per label that a classifier is trained on, ten times over; 8 is mteb's default.
        seed: of the sample and of the task; in a recipe that of the recipe unless it is said here.
        encoding, delimiter, quoting: of the file and of the training rows, as a corpus has them.

    Raises:
        InputError: ``columns`` names a role that no task type has.
    """

    type: LocalType | None
    file: Path
    name: str = ""
    train: Path | None = None
    text: tuple[str, ...] = ("text",)
    columns: Mapping[str, str] = field(default_factory=dict)
    sample: Annotated[int, Field(ge=2)] | None = None
    samples_per_label: Annotated[int, Field(ge=1)] = 8
    seed: int | None = None
    encoding: str = CorpusSettings.encoding
    delimiter: str | None = CorpusSettings.delimiter
    quoting: Quoting = CorpusSettings.quoting

    def __post_init__(self) -> None:
        """Refuses a column that nothing would read, most often a misspelt key, and one that would be read twice."""
        if not self.text or len(set(self.text)) < len(self.text):
            raise InputError(f"{self.file}: text is {list(self.text)}, expected one column or more, each once.")
        if unknown := sorted(set(self.columns) - set(COLUMN_ROLES)):
            raise InputError(
                f"{self.file}: {', '.join(unknown)} is neither a key of a labelled file nor a column of a task; "
                f"the columns are {', '.join(sorted(COLUMN_ROLES))}."
            )

    def rows(self, path: Path) -> list[Row]:
        """The rows of the file or of the training file."""
        try:
            return read_rows(path, encoding=self.encoding, delimiter=self.delimiter, quoting=self.quoting)
        except InputError as error:
            if "corpus." not in str(error):
                raise  # else the reader names keys of a corpus, which a scoring recipe does not have
            raise InputError(f"{error} A labelled file has these keys without corpus: FILE,encoding=cp1252.") from error

    def column(self, role: str) -> str:
        """The name of the column that has a role."""
        return self.columns.get(role, role)


def read_rows(path: Path, **reading: Any) -> list[Row]:
    """The rows of a file, by the reader of corpora: csv, tsv, jsonl, parquet or xlsx, the text formats also packed.

    Args:
        path: of the file.
        **reading: ``encoding``, ``delimiter`` and ``quoting``, as in ``CorpusSettings``.

    Raises:
        InputError: the file is missing, of another kind, empty, or cannot be read.
    """
    if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises where a name is too long)
        shown = shortened(str(path))
        raise InputError(f"There is no file {shown}. Give a csv, tsv, jsonl, parquet or xlsx file with a header.")
    table = read_table(path, CorpusSettings(str(path), **reading))
    names = Counter(name for name in table.columns or () if name.strip())
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError(f"{path} has more than one column {twice[0]!r}. Give each a name of its own.")
    rows = list(table.rows(None))
    if not rows:
        raise InputError(f"{path} has no rows.")
    return rows


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows: of JSON lines, some may begin to have one late."""
    return list(dict.fromkeys(str(column) for row in rows for column in row.values))


def is_blank(value: Any) -> bool:
    """Whether a cell is null, or nothing of it can be seen."""
    return value is None or (isinstance(value, str) and not is_visible(value))


def is_missing(value: Any) -> bool:
    """Whether a cell holds no text: blank, a list of nothing, or not a number, as data frames write a gap."""
    value = plain_text(value)
    return is_blank(value) or (isinstance(value, float) and value != value)


def is_missing_label(value: Any) -> bool:
    """Whether a cell holds no label: it is missing, or a word for that. A text may well say "None"."""
    return is_missing(value) or (isinstance(value, str) and value.strip() in MISSING)


def text_of(value: Any, place: str) -> str:
    """A cell as text, as the reader of corpora takes it; numbers too, since a csv file has no others.

    Raises:
        InputError: it is a truth value or a structure, whose spelling in Python would be scored as a text; or bytes
            that are not UTF-8.
    """
    try:
        text = plain_text(value, errors="strict")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: bytes that are not UTF-8 ({error.reason}). Save the column as text.") from error
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise InputError(f"{place}: the text is a {type(text).__name__}, expected a string.")
    return well_formed(str(text))


def label_of(value: Any, place: str) -> str:
    """A label as text, as a corpus has it; 1.0, as a column of numbers with gaps gives it, is 1.

    Raises:
        InputError: it is a list or a mapping.
    """
    if isinstance(value, list | dict):
        raise InputError(f"{place}: the label is a {type(value).__name__}, expected one string or number.")
    return class_name(plain_text(value))


def number_of(value: Any) -> float:
    """A cell as a number; NaN where it is not one."""
    try:
        # float() takes 1_000, of which no other reader of such files makes a thousand.
        return math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def sample_rows(rows: Sequence[Row], task: LocalTask) -> list[Row]:
    """The rows to keep, in their order; where rows are grouped by query, all rows of the queries to keep.

    Raises:
        InputError: the sample is smaller than two.
    """
    if task.sample is None:
        return list(rows)
    if task.sample < 2:
        raise InputError(f"A sample of {task.sample} rows of {task.file} is too small; take 2 or more.")
    query, columns = task.column("query"), columns_of(rows)
    if query not in columns or task.column("positive") in columns:
        return draw(rows, task.seed, task.sample)
    queries = list(dict.fromkeys(str(row.values.get(query)) for row in rows))
    chosen = set(draw(queries, task.seed, task.sample))
    return [row for row in rows if str(row.values.get(query)) in chosen]


def draw(items: Sequence[Item], seed: int | None, count: int | None) -> list[Item]:
    """``count`` of the items in their order, drawn by the seed; all of them if there are no more, or for None."""
    if count is None or count >= len(items):
        return list(items)
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), count))]


def whole_rows(rows: Sequence[Row], columns: Sequence[str], task: LocalTask) -> list[Row]:
    """The rows whose columns all hold something.

    Raises:
        InputError: a column is in no row, or no row has all of them.
    """
    present = columns_of(rows)
    if absent := [column for column in columns if column not in present]:
        raise InputError(f"{task.file} has no column {', '.join(absent)}; it has {', '.join(sorted(present))}.")
    # A score that is not a number is no gap but a fault, which is refused later, by line.
    of_role = {task.column("label"): is_missing_label, task.column("score"): is_blank}
    # A query may have no negative ones, [], in one row and some in the next.
    of_role |= {task.column(role): is_blank for role in ("positive", "negative")}
    tests = {column: of_role.get(column, is_missing) for column in columns}
    whole = [row for row in rows if not any(test(row.values.get(column)) for column, test in tests.items())]
    if not whole:
        raise InputError(f"No row of {task.file} has all of {', '.join(columns)}.")
    return whole


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
