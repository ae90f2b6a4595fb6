"""Tables: what people's files look like, read as they were meant, never fewer rows in silence."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import EXPECTED, FILES, delimited, json_lines, opened, parquet, refused, written

from moee_topics.corpus import CorpusSettings, Document, open_corpus


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_table_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    assert list(opened(written(tmp_path, name, FILES[name]))) == EXPECTED


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{broken", "not JSON"),
        ('["a"]', "a JSON list"),
        ('{"text": 3}', "the text is a int"),
        ('{"text": "t", "label": [1]}', "the label is a list"),
        ('{"text": "t", "date": "yesterday"}', "'yesterday' is not a time"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    message = refused(written(tmp_path, "t.jsonl", f'{{"text": "t", "label": "l", "date": "2024"}}\n{line}\n'))
    assert "line 2" in message and expected in message


def test_an_array_of_json_is_refused_with_the_way_to_lines(tmp_path: Path) -> None:
    way = "jq -c '.[]' posts.json > posts.jsonl"
    for name in ("posts.json", "posts.JSON.gz", "posts.jsonl"):
        assert way in refused(written(tmp_path, name, '[{"text": "t"}]'))
    assert way not in refused(written(tmp_path, "posts.xml", "<a/>"))


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as parquet" in refused(written(tmp_path, "t.parquet", b"PAR1 nothing"))


def test_an_empty_file_is_refused_or_has_no_documents(tmp_path: Path) -> None:
    assert "header line" in refused(written(tmp_path, "t.csv", ""))
    assert list(opened(written(tmp_path, "t.jsonl", ""))) == []


def test_a_document_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    long = "word " * 2_000_000
    rows = [{"text": "short"}, {"text": long}]
    for name, content in (("t.csv", delimited(rows, ",")), ("t.jsonl", json_lines(rows)), ("t.parquet", parquet(rows))):
        assert [len(document.text) for document in opened(written(tmp_path, name, content))] == [5, len(long)]


def documents(path: Path, **settings: Any) -> list[Document]:
    return list(open_corpus(CorpusSettings(str(path), **settings)))


def test_separators_in_json_strings_split_no_line(tmp_path: Path) -> None:
    texts = [f"one\u2028two\u2029three\x85four {i}" for i in range(9)]
    content = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    assert [document.text for document in documents(written(tmp_path, "t.jsonl", content))] == texts


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"id": ' + "9" * 5000 + ', "text": "one"}', "4300 digits"),
        ('{"text": "one", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"text": "one", "x": [' + "{}," * 2_100_000 + "{}]}", "more than 2,000,000 values"),
    ],
)
def test_hostile_json_is_refused_by_line(tmp_path: Path, line: str, expected: str) -> None:
    path = written(tmp_path, "t.jsonl", f'{{"text": "fine"}}\n{line}\n')
    tracemalloc.start()
    message = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "line 2" in message and expected in message and peak < 100_000_000


def test_every_type_of_parquet_column_is_text(tmp_path: Path) -> None:
    texts = ["one two", "three", "one two"]
    types: list[Any] = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
    for i, kind in enumerate(types):
        values = [text.encode() for text in texts] if kind == pa.binary() else texts
        table = pa.table({"text": pa.array(values, kind), "vector": pa.array([[1.0, 2.0]] * 3)})
        pq.write_table(table, tmp_path / f"{i}.parquet")
        assert [document.text for document in documents(tmp_path / f"{i}.parquet")] == texts
    words = pa.table({"text": [["one", "two"], ["three"], ["one two", "three four"]]})
    pq.write_table(words, tmp_path / "lists.parquet")
    read = [document.text for document in documents(tmp_path / "lists.parquet")]
    assert read == ["one two", "three", "one two\nthree four"]


def test_one_long_value_in_a_million_rows_of_parquet_is_in_memory_once(tmp_path: Path) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"text": long}), tmp_path / "t.parquet")
    before = pa.total_allocated_bytes()
    first = next(iter(open_corpus(CorpusSettings(str(tmp_path / "t.parquet"), limit=1))))
    assert len(first.text) == 1_000_000 and pa.total_allocated_bytes() - before < 50_000_000


def test_a_key_that_stands_twice_in_a_line_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '{"text": "one"}\n{"text": "two", "x": {"a": 1, "a": 2}}\n')
    assert "line 2" in refused(path) and "the key 'a' stands twice" in refused(path)


def test_a_byte_order_mark_in_the_middle_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '\ufeff{"text": "one"}\n\ufeff{"text": "two"}\n')
    assert [document.text for document in documents(path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([{"a": "x"}]), "dict"),
        (pa.array([[["a"]]]), "list"),
        (pa.array([["a", None]]), "list"),
        (pa.array([[{"a": "x"}]]), "list"),
        (pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())), "list"),
        (pa.array([1]), "int"),
    ],
)
def test_nested_columns_of_parquet_are_no_texts(tmp_path: Path, column: Any, kind: str) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "t.parquet")
    assert f"row 0: the text is a {kind}, expected a string" in refused(tmp_path / "t.parquet")
