"""Tables: what people's files look like, read as they were meant or refused by line, never fewer rows in silence."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.corpus import CorpusSettings, Document, open_corpus, read_table, tables
from moee_topics.errors import InputError


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def documents(path: Path, **settings: Any) -> list[Document]:
    return list(open_corpus(CorpusSettings(str(path), **settings)))


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        documents(path, **settings)
    return str(error.value)


def rows(path: Path, **settings: Any) -> list[dict[str, Any]]:
    return [dict(row.values) for row in read_table(path, CorpusSettings(str(path), **settings)).rows(None)]


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("id;text;label\n1;one, two;a\n", {}),
        ("id\ttext\tlabel\n1\tone, two\ta\n", {}),
        ("id|text|label\n1|one, two|a\n", {}),
        ('"id";"text";"label"\r\n"1";"one, two";"a"\r\n', {}),
        ("sep=;\r\nid;text;label\r\n1;one, two;a\r\n", {}),
        ("\ufeffsep=;\r\nid;text;label\r\n1;one, two;a\r\n", {}),
        ("id^text^label\n1^one, two^a\n", {"delimiter": "^"}),
        ("id\ttext\tlabel\n1\tone, two\ta\n", {"delimiter": "tab"}),
        ('id,text,label\r1,"one, two",a\r', {}),
    ],
)
def test_a_delimiter_is_found_or_named(tmp_path: Path, content: str, settings: dict[str, str]) -> None:
    assert documents(written(tmp_path, "t.csv", content), **settings) == [Document("1", "one, two", "a")]


@pytest.mark.parametrize("delimiter", ["", '"', ";;", "\n"])
def test_a_delimiter_that_is_none_is_refused(delimiter: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.delimiter"):
        CorpusSettings("t.csv", delimiter=delimiter)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('id,"text\n1,hello\n', "line 1, column 4"),
        ('id,text\n1,fine\n2,"open\n3,more\n', "line 3, column 3"),
        ('id,text\n1,"a ""b"" c"\n2,"x" y\n', "line 3, column 3"),
        ('id,text\n1,"fine,\nin two lines"\n2,"open\n3,"next"\n', "line 4, column 3"),
        ('sep=,\nid,text\n1,"open\n', "line 3, column 3"),
    ],
)
def test_an_open_quotation_mark_is_named_with_line_and_column(tmp_path: Path, content: str, place: str) -> None:
    message = refused(written(tmp_path, "t.csv", content))
    assert place in message and "quotation mark" in message and "corpus.quoting=none" in message


def test_a_row_over_many_lines_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST_DOCUMENT", 10_000)
    path = written(tmp_path, "t.csv", 'text\n"open\n' + "a line\n" * 100_000)
    assert "line 2, column 1" in refused(path) and "more than 10,000 characters" in refused(path)


def test_quotation_marks_of_a_tsv_are_text(tmp_path: Path) -> None:
    pairs = [(f'"one {i}' if i % 2 else f"one {i}", f'two" {i}', str(i % 6)) for i in range(60)]
    content = "sentence1\tsentence2\tscore\n" + "".join("\t".join(pair) + "\n" for pair in pairs)
    read = rows(written(tmp_path, "pairs.tsv", content))
    assert [tuple(row.values()) for row in read] == pairs
    whole = rows(written(tmp_path, "whole.tsv", 'text\tlabel\n"Who is there?"\ta\n'))
    assert whole == [{"text": '"Who is there?"', "label": "a"}]
    assert rows(tmp_path / "whole.tsv", quoting="csv") == [{"text": "Who is there?", "label": "a"}]


ANY_TEXT = st.text('ab" ,;\n\u2028é', max_size=6)


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=6), st.sampled_from(["\t", ","]), st.booleans())
def test_what_a_csv_writer_wrote_is_read_back(pairs: list[tuple[str, str]], delimiter: str, quote_all: bool) -> None:
    """With the quotation marks that Python and data frames put around what needs them.

    In a tsv only a field with a tab and a line break can be taken for two rows with a quotation mark each.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(["text", "more"])
    writer.writerows(pairs)
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "t.tsv" if delimiter == "\t" else "t.csv", out.getvalue())
        assert [tuple(row.values()) for row in rows(path)] == pairs


def test_a_tsv_row_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    assert "line 2" in refused(written(tmp_path, "t.tsv", 'id\ttext\tlabel\n1\t"open\n2\ttext\ta\n'))
    assert "line 2" in refused(written(tmp_path, "u.tsv", 'id\ttext\tlabel\n1\t"open\n2\tclosed"\ta\tb\n'))
    assert "line 2: 4 fields" in refused(written(tmp_path, "v.tsv", "id\ttext\tlabel\n1\ta\tb\tc\n"))


def test_columns_may_come_late_in_json_lines(tmp_path: Path) -> None:
    lines = [{"id": i, "text": f"text {i}"} for i in range(40)]
    lines += [{**line, "id": i + 40, "label": "ab"[i % 2], "date": "2024-05-01"} for i, line in enumerate(lines)]
    path = written(tmp_path, "t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    for settings in ({}, {"label": "label", "timestamp": "date"}):
        read = documents(path, **settings)
        assert [document.label for document in read] == [None] * 40 + ["a", "b"] * 20
        assert sum(document.timestamp is not None for document in read) == 40
    assert "no column 'lable'" in refused(path, label="lable")
    assert "no column 'lable'" in refused(path, label="lable", limit=10)
    assert "no column 'txt'" in refused(path, text="txt")


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


def test_thousands_of_columns_are_read_and_a_message_names_a_few(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(20_000)]
    wide = ",".join([*names, "text"]) + "\n" + ",".join(["1"] * 20_000 + ["hello"]) + "\n"
    assert documents(written(tmp_path, "t.csv", wide)) == [Document("line 2", "hello")]
    message = refused(written(tmp_path, "u.csv", ",".join(names) + "\n"))
    assert "19,980 more" in message and len(message) < 1000


def test_a_column_that_stands_twice_is_refused_if_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "text,x,x,text\na,b,c,d\n")
    assert "more than one column 'text'" in refused(path)
    assert [document.text for document in documents(written(tmp_path, "u.csv", "text,x,x\na,b,c\n"))] == ["a"]


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


def test_an_excel_sheet_is_a_table(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "text", None, "label"], [1, "one, two", "x", "a"], [None] * 4, [2, "three", None, 7]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert documents(tmp_path / "t.xlsx") == [Document("1", "one, two", "a"), Document("2", "three", "7")]
    assert "no column 'x'" in refused(tmp_path / "t.xlsx", text="x")
    assert "damaged" in refused(written(tmp_path, "none.xlsx", b"no zip"))


def test_packed_tables_are_read_by_their_inner_name(tmp_path: Path) -> None:
    path = written(tmp_path, "T.CSV.GZ", gzip.compress(b"text\nhello\n"))
    assert [document.text for document in documents(path)] == ["hello"]
    assert ".parquet.gz" in refused(written(tmp_path, "t.parquet.gz", b""))
