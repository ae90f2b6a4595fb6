"""Documents that are objects of Python, columns, tables, lists or generators, as batches of rows of Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from moee_topics.corpus.columns import choose_columns
from moee_topics.corpus.corpus import class_name, plain_name, well_formed
from moee_topics.corpus.document import Document, Record
from moee_topics.corpus.readers import table_record
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError

ROWS_PER_BATCH = 10_000
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "label", "timestamp")])
_ENDED: Any = object()


def object_batches(
    documents: Any,
    ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    timestamps: Iterable[Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Documents as batches of rows, in memory that does not grow with a generator.

    Args:
        documents: texts, as a list, an array, a generator, or a column of pandas, polars, Arrow or ``datasets``; as
            many :class:`Document`; or a table of one of these, whose columns are taken as they are.
        ids, labels, timestamps: one for each text; a label or a time may be missing.

    Raises:
        InputError: a text or an id is missing or not a string, or an id stands twice, each by its position; the columns
            differ in length; or there is nothing.
    """
    columns = {"ids": ids, "labels": labels, "timestamps": timestamps}
    given = [name for name, column in columns.items() if column is not None]
    if is_table(documents):
        if given:
            raise InputError(
                f"The documents are a table of type {type(documents).__name__}, which brings its own columns, and "
                f"{' and '.join(given)} beside it. Give the column of the texts as documents, or name the table's "
                "columns in the recipe (corpus.text, corpus.id, corpus.label, corpus.timestamp)."
            )
        yield from table_batches(documents)
        return
    rows = _rows(documents, columns)
    while batch := list(islice(rows, ROWS_PER_BATCH)):
        yield pa.RecordBatch.from_pylist(batch, schema=SCHEMA)


def object_records(settings: CorpusSettings, documents: Any, **columns: Iterable[Any] | None) -> Iterator[Record]:
    """Documents as the records that a file of them would have.

    Args:
        settings: name the columns; of texts that are not a table they are those of :data:`SCHEMA`.
        documents, columns: as for :func:`object_batches`.

    Raises:
        InputError: as there, or a column that is named is not there.
    """
    number = 0
    for batch in object_batches(documents, **columns):
        chosen = choose_columns(batch.schema.names, settings, settings.source)
        for row in batch.select(chosen.all).to_pylist():
            yield table_record(f"row {number}", row, chosen)
            number += 1


def is_table(documents: Any) -> bool:
    """Whether an object is a table: it has columns, and is not a column itself."""
    # Of the class: a lazy table of polars works out its columns when it is asked for them, and warns of that.
    has_columns = any(hasattr(type(documents), name) for name in ("columns", "column_names"))
    return has_columns or isinstance(documents, pa.RecordBatchReader)


def table_batches(table: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a table of pandas, polars, Arrow, DuckDB or ``datasets``.

    Raises:
        InputError: it is none of these, a column holds values of several types, or two have one name.
    """
    if hasattr(table, "features") and hasattr(table, "with_format"):
        yield from _dataset_batches(table)
    elif hasattr(table, "__arrow_c_stream__"):
        try:
            batches = pa.RecordBatchReader.from_stream(table)
            names = batches.schema.names
            if twice := [name for name in names if names.count(name) > 1]:
                raise InputError(
                    f"The table of documents has more than one column {twice[0]!r}. Give each a name of its own."
                )
            yield from map(_without_views, batches)
        except (pa.ArrowException, ValueError) as error:  # the latter of pandas, at a name that stands twice
            why = "; ".join(map(str, error.args))
            raise InputError(
                f"The table of documents cannot be read: {why}. Give each column one type and a name of its own, or "
                "the columns alone: documents=df.body, ids=df.id."
            ) from error
    else:
        raise InputError(
            f"Documents of type {type(table).__module__}.{type(table).__name__} cannot be read. Give a table of "
            "pandas, polars or Arrow (of a lazy one what it collects), or a column of one."
        )


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The categories of polars as texts: neither Parquet nor a cast of pyarrow 26 takes a dictionary of views."""
    for place, field in enumerate(batch.schema):
        if pa.types.is_dictionary(field.type) and pa.types.is_string_view(field.type.value_type):
            column = batch.column(place)
            texts = column.dictionary.cast(pa.string()).take(column.indices)
            batch = batch.set_column(place, field.name, texts)
    return batch


def _dataset_batches(data: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a data set of the package ``datasets``, with the names of its classes for their numbers."""
    names = {column: feature.names for column, feature in data.features.items() if hasattr(feature, "names")}
    for part in data.with_format("arrow").iter(ROWS_PER_BATCH):
        for column, classes in names.items():
            numbers = part[column].combine_chunks()
            known = pc.if_else(pc.less(numbers, 0), None, numbers)  # -1 is a row without a label
            part = part.set_column(part.column_names.index(column), column, pa.array(classes).take(known))
        yield from part.to_batches()


def _rows(documents: Any, columns: Mapping[str, Iterable[Any] | None]) -> Iterator[dict[str, str | None]]:
    given = {"documents": documents, **{name: column for name, column in columns.items() if column is not None}}
    lengths = {name: len(column) for name, column in given.items() if isinstance(column, Sequence | pa.ChunkedArray)}
    if len(set(lengths.values())) > 1:
        raise InputError(f"Each document needs one entry, got {_counted(lengths)}.")
    used: dict[str, int] = {}
    for position, values in enumerate(zip_longest(*(_entries(*one) for one in given.items()), fillvalue=_ENDED)):
        row = dict(zip(given, (value.as_py() if hasattr(value, "as_py") else value for value in values), strict=True))
        if ended := [name for name, value in row.items() if value is _ENDED]:
            longer = next(name for name in row if name not in ended)
            raise InputError(f"Each document needs one entry: {ended[0]} end after {position:,}, {longer} go on.")
        document = _document(row, position)
        if document.id and used.setdefault(document.id, position) != position:
            raise InputError(
                f"Documents {used[document.id]} and {position} have the same id {document.id[:80]!r}. Each needs one "
                "of its own; without ids they are numbered."
            )
        yield {
            "id": document.id or None,
            "text": document.text,
            "label": document.label,
            "timestamp": document.timestamp,
        }


def _entries(name: str, column: Any) -> Iterator[Any]:
    # Iterated, a string gives letters, a mapping its keys, and a set another order in every process.
    if isinstance(column, (str, bytes, Mapping, Set)) or not isinstance(column, Iterable) or is_table(column):
        raise InputError(
            f"The {name} must be a list, a generator or a column, one entry for each document, got one "
            f"{type(column).__name__}."
        )
    return iter(column)


def _document(row: Mapping[str, Any], position: int) -> Document:
    """The entries of one row as a document; without an id of its own it has an empty one."""
    text = row["documents"]
    if isinstance(text, Document):
        if len(row) > 1:
            raise InputError(f"The documents bring their own ids, labels and times; leave out {list(row)[1]}.")
        return text
    if is_none(text):
        raise InputError(f"Document {position} is missing ({text}). Leave it out, and its id and label with it.")
    if not isinstance(text, str):
        raise InputError(
            f"Document {position} is of type {type(text).__name__} ({text!r:.40}), expected a string. Put one in its "
            "place, or leave it out, and its id and label with it."
        )
    name = row.get("ids", "")
    if "ids" in row and (is_none(name) or not str(name).strip()):
        raise InputError(f"The id of document {position} is missing ({name!r}). Give each one, or none any.")
    label, time = row.get("labels"), row.get("timestamps")
    return Document(
        plain_name(name),
        well_formed(text),
        None if is_none(label) else class_name(label),
        None if is_none(time) else str(time),
    )


def is_none(value: Any) -> bool:
    """Whether a value stands for none: None, or what numpy and pandas call so (NA refuses to be compared)."""
    return value is None or (not isinstance(value, str) and str(value) in ("nan", "NaT", "<NA>"))


def has_label(label: Any) -> bool:
    """Whether a label names a class; None, NaN and the empty string do not."""
    return not is_none(label) and label != ""


def _counted(lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in lengths.items())
