"""Columns: named, or known by usual names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpus_files import FILES, delimited, json_lines, opened, parquet, refused, written

from moee_topics.corpus import CorpusSettings, Document, open_corpus
from moee_topics.errors import InputError


def test_named_columns_win_over_usual_names(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "text,body,n,group\nno,yes,7,g\n")
    assert list(opened(path, text="body", id="n", label="group")) == [Document("7", "yes", "g")]


def test_none_switches_a_column_off(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", FILES["rows.csv"])
    documents = list(opened(path, id="none", label="none", timestamp="none"))
    assert [(document.id, document.label, document.timestamp) for document in documents] == [
        ("line 2", None, None),
        ("line 4", None, None),
        ("line 5", None, None),
    ]


def test_usual_names_are_found_whatever_their_case(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "\ufeffText,Category\nhello,c\n")
    assert list(opened(path)) == [Document("line 2", "hello", "c")]


@pytest.mark.parametrize("columns", [(), ("text", "text"), ("text", "label", "text")])
def test_no_column_or_one_column_twice_is_no_text(columns: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"corpus\.text is .*, expected one column or more, each once"):
        CorpusSettings("t.csv", text=columns)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_form_of_times_without_a_column_of_times_is_refused(tmp_path: Path, name: str) -> None:
    rows = [{"text": "red", "day": "31/05/2024"}]
    content = {"t.csv": delimited(rows, ","), "t.jsonl": json_lines(rows), "t.parquet": parquet(rows)}[name]
    path = written(tmp_path, name, content)
    message = refused(path, time_format="%d/%m/%Y")
    assert "corpus.time_format would do nothing" in message and "corpus.timestamp=COLUMN" in message
    assert [one.timestamp for one in opened(path, time_format="%d/%m/%Y", timestamp="day")] == ["2024-05-31T00:00:00"]
    with pytest.raises(InputError, match=r"does nothing with corpus\.timestamp=none"):
        CorpusSettings("t.csv", time_format="%d/%m/%Y", timestamp="none")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_no_text_column_names_those_there_are(tmp_path: Path, name: str) -> None:
    rows = [{"colour": "red", "size": "3"}]
    content = {"t.csv": delimited(rows, ","), "t.jsonl": json_lines(rows), "t.parquet": parquet(rows)}[name]
    message = refused(written(tmp_path, name, content))
    assert "colour, size" in message and "corpus.text=COLUMN" in message


def test_a_missing_column_is_named_with_its_role(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", FILES["rows.csv"])
    message = refused(path, label="klass")
    assert "'klass'" in message and "corpus.label" in message and "id, text, label, date" in message


def documents(path: Path, **settings: Any) -> list[Document]:
    return list(open_corpus(CorpusSettings(str(path), **settings)))


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
