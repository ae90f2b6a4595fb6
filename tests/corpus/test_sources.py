"""What a user may name as a source."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import opened, refused, written

from moee_topics.errors import InputError


def test_opening_a_corpus_reads_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", "not json")
    corpus = opened(path)
    with pytest.raises(InputError):
        next(iter(corpus))


@pytest.mark.parametrize("name", ["missing.csv", "nosuchcorpus"])
def test_a_source_that_is_not_there_is_refused_with_what_could_be(name: str) -> None:
    message = refused(name)
    assert name in message and "20newsgroups" in message and ".parquet" in message


@pytest.mark.parametrize("key", ["text", "id", "label", "timestamp"])
@pytest.mark.parametrize("source", ["-", "docstrings", "20newsgroups", "t.txt", "t.txt.gz", "folder"])
def test_a_column_of_a_source_without_columns_is_refused(tmp_path: Path, source: str, key: str) -> None:
    (tmp_path / "folder").mkdir()
    path = str(written(tmp_path, source, "x")) if "txt" in source else source
    path = str(tmp_path / "folder") if source == "folder" else path
    message = refused(path, **{key: "title"})
    assert f"has no columns, so that corpus.{key} would do nothing" in message and f"corpus.{key}=null" in message


def test_none_for_a_column_is_right_where_there_are_no_columns(tmp_path: Path) -> None:
    assert [one.text for one in opened(written(tmp_path, "t.txt", "x"), label="none", id="none")] == ["x"]


def test_a_file_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    assert ".docx" in refused(written(tmp_path, "t.docx", "x"))
    assert ".parquet.gz" in refused(written(tmp_path, "t.parquet.gz", "x"))


@pytest.mark.parametrize("source", ["", " ", "~nobody-of-this-name/a.csv", "a\0b.csv"])
def test_a_name_of_no_file_is_no_corpus_and_not_the_working_folder(source: str) -> None:
    with pytest.raises(InputError, match="There is no corpus"):
        opened(source)
