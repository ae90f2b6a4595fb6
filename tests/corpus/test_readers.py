"""Records from files: rows, lines, folders, standard input."""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import json_lines, opened, refused, survey, written

from moee_topics.corpus import CorpusSettings, Document, open_corpus


def test_several_text_columns_are_joined_by_line(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", json_lines([{"title": "A", "abstract": "B"}, {"title": "C", "abstract": None}]))
    documents = opened(path, text=("title", "abstract"))
    assert [document.text for document in documents] == ["A\nB", "C"]


def test_each_of_several_text_columns_is_read_as_one_alone_would_be(tmp_path: Path) -> None:
    rows = [{"title": ["one two", "three"], "body": "B"}, {"title": 1984, "body": ["c", "d"]}]
    path = written(tmp_path, "t.jsonl", json_lines(rows))
    assert [document.text for document in opened(path, text=("title", "body"))] == ["one two\nthree\nB", "1984\nc d"]
    table = pa.table({"title": pa.array([b"caf\xc3\xa9"]), "body": pa.array(["B"])})
    pq.write_table(table, tmp_path / "t.parquet")
    assert [document.text for document in opened(tmp_path / "t.parquet", text=("title", "body"))] == ["café\nB"]


@pytest.mark.parametrize(("value", "kind"), [({"k": "v"}, "dict"), (True, "bool"), (["a", 1], "list")])
def test_a_cell_without_text_among_several_is_refused_by_line(tmp_path: Path, value: Any, kind: str) -> None:
    path = written(tmp_path, "t.jsonl", json_lines([{"title": "A", "body": "B"}, {"title": value, "body": "B"}]))
    assert f"line 2: the text is a {kind}, expected a string" in refused(path, text=("title", "body"))


@pytest.mark.parametrize("value", [1030, 1430, 1815, "2359", 1815.0, 905])
def test_the_hour_of_a_day_is_not_taken_for_a_year(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path, "t.jsonl", json_lines([{"text": "A", "time": value}, {"text": "B", "time": "2024-05-31"}]))
    assert [document.timestamp for document in opened(path)] == [None, None]
    assert "called as times are holds none" in " ".join(survey(opened(path)).notes)
    named = iter(opened(path, timestamp="time"))
    if len(str(value)) >= 4 and float(value) >= 1000:  # who names the column says that it holds times
        assert next(document.timestamp for document in named) == f"{int(float(value))}-01-01T00:00:00"
    path = written(tmp_path, "d.jsonl", json_lines([{"text": "A", "date": 1815}]))
    assert [document.timestamp for document in opened(path)] == ["1815-01-01T00:00:00"]


def test_a_text_file_is_one_document_per_line(tmp_path: Path) -> None:
    corpus = opened(written(tmp_path, "t.txt", "one\r\n\ntwo\nthree"))
    assert [(document.id, document.text) for document in corpus] == [
        ("line 1", "one"),
        ("line 3", "two"),
        ("line 4", "three"),
    ]
    assert corpus.counts.empty == 1


def test_a_folder_is_one_document_per_file_with_its_sub_folder_as_label(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a/1.txt", "3.txt", "a/ignored.md"):
        written(tmp_path, name, f"text of {name}")
    assert list(opened(tmp_path)) == [
        Document("3.txt", "text of 3.txt"),
        Document("a/1.txt", "text of a/1.txt", "a"),
        Document("b/2.txt", "text of b/2.txt", "b"),
    ]
    assert [d.id for d in opened(tmp_path, pattern="*/*.md")] == ["a/ignored.md"]
    assert ".md, .txt" in refused(tmp_path, pattern="*.rst")


def test_standard_input_is_read_once_and_can_be_iterated_again() -> None:
    code = (
        "from moee_topics.corpus import CorpusSettings, open_corpus\n"
        "corpus = open_corpus(CorpusSettings('-'))\n"
        "print([d.text for d in corpus] == [d.text for d in corpus] == ['one', 'zwölf'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="one\n\nzwölf\n".encode(), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"True"


def documents(path: Path, **settings: Any) -> list[Document]:
    return list(open_corpus(CorpusSettings(str(path), **settings)))


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


def test_hidden_files_of_a_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text(f"\ufefftext {i}", encoding="utf-8")
    (tmp_path / "._0.txt").write_bytes(bytes(range(128, 200)))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.txt").write_text("hidden")
    corpus = open_corpus(CorpusSettings(str(tmp_path)))
    assert [document.text for document in corpus] == [f"text {i}" for i in range(5)]
    whole = survey(corpus)
    assert whole.to_json()["left_out"] == {"hidden files": 2} and "Hidden files left out: 2." in whole.notes


def test_links_and_endings_of_a_folder_lose_nothing_in_silence(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "B.TXT", "sub/new\nline.txt"):
        (folder / name).write_text(name)
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "gone.txt").symlink_to("nowhere")
    (folder / "self.txt").symlink_to("self.txt")
    corpus = open_corpus(CorpusSettings(str(folder)))
    assert [document.id for document in corpus] == ["B.TXT", "a.txt", "sub/new\nline.txt"]
    assert corpus.counts.left_out == {"links to files that are not there": 2}


def test_a_name_that_is_no_text_and_a_file_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.txt")).write_text("bytes")
    (tmp_path / "c.txt").write_text("closed")
    assert [document.id for document in documents(tmp_path)] == ["b?.txt", "c.txt"]

    def closed(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", closed)
    assert "b" in refused(tmp_path) and "cannot be read: Permission denied" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of Unix")
def test_a_pipe_and_a_name_too_long_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "a pipe or a device" in refused(tmp_path / "pipe.csv")
    assert "There is no corpus" in refused("a" * 5000 + ".csv")


@pytest.mark.parametrize("value", [{"a": 1}, ["a"]])
def test_an_id_that_is_a_structure_is_refused_by_line(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path, "t.jsonl", json.dumps({"text": "one", "id": value}))
    assert f"line 1: the id is a {type(value).__name__}" in refused(path)
    assert [document.id for document in documents(path, id="none")] == ["line 1"]


def test_the_copy_of_standard_input_is_closed_with_its_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    gc.collect()  # what tests before this one left open is not its matter
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        corpus = open_corpus(CorpusSettings("-"))
        assert [[one.text for one in corpus] for _ in range(2)] == [["one", "two"]] * 2
        del corpus
        gc.collect()
    assert not [one for one in caught if issubclass(one.category, ResourceWarning)]
