"""Columns, tables and generators as documents: taken as they are, or refused by the place of what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from moee_topics.corpus import CorpusSettings, Document, object_batches, object_records
from moee_topics.errors import InputError

TEXTS, IDS = ["one", "zwei 🎉", "three"], [3, 1, 2]


def read(*args: Any, **columns: Any) -> list[dict[str, Any]]:
    return [row for batch in object_batches(*args, **columns) for row in batch.to_pylist()]


def columns_of(values: list[Any]) -> Iterator[Any]:
    yield from (
        values,
        tuple(values),
        np.array(values),
        pd.Series(values),
        pa.array(values),
        pa.chunked_array([values]),
    )
    yield (value for value in values)
    yield pytest.importorskip("polars").Series(values)
    yield pytest.importorskip("datasets").Dataset.from_dict({"column": values})["column"]


def test_a_column_of_any_library_is_the_same_documents() -> None:
    expected = [
        {"id": str(number), "text": text, "label": "x", "timestamp": None}
        for number, text in zip(IDS, TEXTS, strict=True)
    ]
    for texts, ids in zip(columns_of(TEXTS), columns_of(IDS), strict=True):
        assert read(texts, ids, ["x"] * 3) == expected


def test_a_label_or_a_time_may_be_missing_and_numbers_are_called_as_they_look() -> None:
    labels = pd.Series([1.0, None, 2.0])
    times = pd.to_datetime(pd.Series(["2024-05-31", None, "2024-06-01 12:00"]), format="ISO8601")
    rows = read(TEXTS, labels=labels, timestamps=times)
    assert [row["label"] for row in rows] == ["1", None, "2"]
    assert [row["timestamp"] for row in rows] == ["2024-05-31 00:00:00", None, "2024-06-01 12:00:00"]
    assert [row["id"] for row in rows] == [None] * 3
    (row,) = read(["text"], labels=[pd.NA], timestamps=[datetime(2024, 5, 31)])
    assert row["label"] is None and row["timestamp"] == "2024-05-31 00:00:00"


def test_a_table_of_any_library_keeps_its_columns() -> None:
    polars, frame = pytest.importorskip("polars"), pd.DataFrame({"body": TEXTS, "number": [1.0, None, 3.0]})
    for table in (frame, polars.DataFrame(frame), pa.Table.from_pandas(frame), pa.table(frame).to_reader()):
        rows = read(table)
        assert [row["body"] for row in rows] == TEXTS and [row["number"] for row in rows] == [1.0, None, 3.0]


def test_categories_of_polars_are_the_texts_that_they_stand_for() -> None:
    polars = pytest.importorskip("polars")
    categories = polars.Series(["x", None, "x"], dtype=polars.Categorical)
    (batch,) = object_batches(polars.DataFrame({"text": TEXTS, "label": categories}))
    assert batch.schema.field("label").type == pa.string() and batch.column("label").to_pylist() == ["x", None, "x"]


def test_a_lazy_table_is_refused_without_being_looked_at(recwarn: pytest.WarningsRecorder) -> None:
    lazy = pytest.importorskip("polars").DataFrame({"text": TEXTS}).lazy()
    with pytest.raises(InputError, match=r"LazyFrame cannot be read.* what it collects"):
        read(lazy)
    assert not recwarn.list


def test_a_data_set_gives_the_names_of_its_classes_in_the_order_that_it_was_put_in() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, -1, 0]}, features=features)
    assert read(data.select([2, 1, 0])) == [
        {"text": "three", "label": "no"}, {"text": "zwei 🎉", "label": None}, {"text": "one", "label": "yes"},
    ]  # fmt: skip


def test_documents_bring_what_they_know() -> None:
    given = [Document("a", "one", "x", "2024"), Document("b", "two")]
    assert read(iter(given))[0] == {"id": "a", "text": "one", "label": "x", "timestamp": "2024"}
    with pytest.raises(InputError, match="leave out labels"):
        read(given, labels=["x", "y"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"documents": TEXTS, "ids": IDS[:2]}, "one entry, got 3 documents, 2 ids"),
        ({"documents": iter(TEXTS), "ids": IDS[:2]}, "ids end after 2, documents go on"),
        ({"documents": iter(TEXTS[:1]), "labels": iter("xy")}, "documents end after 1, labels go on"),
        ({"documents": ["one", None]}, r"Document 1 is missing \(None\)"),
        ({"documents": pd.Series(["one", None])}, r"Document 1 is missing \(nan\)"),
        ({"documents": pd.Series(["one", None], dtype="string")}, r"Document 1 is missing"),
        ({"documents": pa.array(["one", None])}, r"Document 1 is missing"),
        ({"documents": ["one", 2]}, r"Document 1 is of type int \(2\), expected a string"),
        ({"documents": [b"one"]}, r"Document 0 is of type bytes"),
        ({"documents": [["a", "b"]]}, r"Document 0 is of type list"),
        ({"documents": TEXTS, "ids": [1, 2, 1]}, "Documents 0 and 2 have the same id '1'"),
        ({"documents": TEXTS, "ids": ["1", 1.0, 2]}, "Documents 0 and 1 have the same id '1'"),
        ({"documents": TEXTS, "ids": [1, None, 2]}, "id of document 1 is missing"),
        ({"documents": TEXTS, "ids": ["a", " ", "b"]}, "id of document 1 is missing"),
        ({"documents": "one text"}, "documents must be a list, a generator or a column, .* got one str"),
        ({"documents": {"a": "one"}}, "got one dict"),
        ({"documents": {"one", "two"}}, "got one set"),
        ({"documents": 3}, "got one int"),
        ({"documents": TEXTS, "labels": pd.DataFrame({"x": IDS})}, "The labels must be .* got one DataFrame"),
        ({"documents": pd.DataFrame({"text": TEXTS}), "ids": IDS}, "brings its own columns, and ids beside it"),
        ({"documents": pd.DataFrame({"text": ["one", 2]})}, "cannot be read: .*text.*one type"),
        ({"documents": Document("a", "one")}, "got one Document"),
        ({"documents": pd.DataFrame([["a", "b"]], columns=["text", "text"])}, "Duplicate column names.*of its own"),
        ({"documents": pa.table([["a"], ["b"]], names=["text", "text"])}, "more than one column 'text'"),
    ],
)  # fmt: skip
def test_what_is_no_column_of_texts_is_refused_by_its_place(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**given)


def test_a_table_that_gives_no_rows_is_told_what_to_give() -> None:
    class Lazy:
        columns = ("text",)

    with pytest.raises(InputError, match=r"of a lazy one what it collects"):
        read(Lazy())


def test_a_generator_is_read_in_parts() -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for number in range(25_000):
            taken += 1
            yield f"text {number}"

    batches = object_batches(texts())
    assert next(batches).num_rows == 10_000 and taken == 10_000
    assert sum(batch.num_rows for batch in batches) == 15_000


def test_objects_are_the_records_of_a_file_with_their_columns() -> None:
    settings = CorpusSettings("here", text=("title", "body"), id="nr")
    table = pa.table(
        {"body": ["rye bread", None], "nr": [7, 8], "title": ["Baking", None], "day": ["2024-01-02", None]}
    )
    first, second = object_records(settings, table)
    assert (first.place, first.text, first.id) == ("row 0", ("Baking", "rye bread"), 7)
    assert (second.place, second.text, second.text_columns) == ("row 1", (None, None), ("title", "body"))
    (bare,) = object_records(CorpusSettings("here"), ["rye bread"], labels=["food"])
    assert (bare.text, bare.id, bare.label) == ("rye bread", None, "food")
    with pytest.raises(InputError, match=r"here has no column 'title' \(corpus\.text\)"):
        list(object_records(settings, table.drop(["title"])))
