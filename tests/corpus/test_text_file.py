"""Text files: the same lines in every encoding, and no line that fills the memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from corpus_files import TABLE, lines_of, opened, parquet, refused, refused_lines, written, zipped


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.txt"])
def test_bytes_in_another_encoding_are_refused_by_line(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, b'text\n"fine"\n"caf\xe9"\n'.replace(b"text\n", b'"text"\n'))
    if name == "t.jsonl":
        path = written(tmp_path, name, b'{"text": "fine"}\n{"text": "ok"}\n{"text": "caf\xe9"}\n')
    message = refused(path)
    assert "line 3" in message and "0xe9" in message and "corpus.encoding" in message


def test_another_encoding_can_be_named_or_bytes_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"text\ncaf\xe9\n")
    assert [d.text for d in opened(path, encoding="latin-1")] == ["café"]
    assert [d.text for d in opened(path, decoding_errors="replace")] == ["caf\ufffd"]
    assert "klingon" in refused(path, encoding="klingon")


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (TABLE.encode(), {}),
        (codecs.BOM_UTF8 + TABLE.encode(), {}),
        (TABLE.encode("utf-16"), {}),
        (TABLE.encode("utf-16"), {"encoding": "utf-16"}),
        (codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"), {}),
        (codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (TABLE.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (TABLE.encode("utf-16-be"), {"encoding": "utf-16-be"}),
        (TABLE.encode("utf-16-le"), {"encoding": "utf-16"}),
        (TABLE.encode("utf-32"), {}),
    ],
)
def test_an_encoding_is_seen_or_named(tmp_path: Path, content: bytes, settings: dict[str, str]) -> None:
    assert "".join(lines_of(written(tmp_path, "t.csv", content), **settings)) == TABLE


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["one\ntwo\n", "\ufeffone\ntwo\n", "naïve café\n" * 20_000, "面包和面粉\n"])
def test_utf8_is_not_read_as_the_utf16_that_was_named(tmp_path: Path, encoding: str, text: str) -> None:
    assert "is UTF-8" in refused_lines(written(tmp_path, "t.txt", text.encode()), encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [TABLE, "文本,标签\n我们昨天买了面包和面粉。,一\n小提琴和钢琴。,二\n" * 20])
def test_utf16_without_a_mark_is_suggested(tmp_path: Path, encoding: str, text: str) -> None:
    assert f"corpus.encoding={encoding}" in refused_lines(written(tmp_path, "t.csv", text.encode(encoding)))


@pytest.mark.parametrize("text", ["नमस्ते दुनिया,क\nरोटी,ख\n", "Привет, мир\nеще\n", "שלום עולם\nעוד\n", "สวัสดี ชาว โลก\n"])
def test_utf16_of_other_scripts_is_seen_without_a_mark(tmp_path: Path, text: str) -> None:
    assert "corpus.encoding=utf-16-le" in refused_lines(written(tmp_path, "t.csv", (text * 9).encode("utf-16-le")))


@pytest.mark.parametrize("zeros", [1, 3])
def test_a_few_zero_bytes_are_not_utf16(tmp_path: Path, zeros: int) -> None:
    content = TABLE.replace("zweite", "zwe" + "\0" * zeros + "ite")
    assert "".join(lines_of(written(tmp_path, "t.csv", content))) == content
    message = refused(written(tmp_path, "t.jsonl", '{"text": "fine"}\n{"text": "a\0b"}\n'))
    assert "line 2: not JSON" in message and "UTF-16" not in message


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    odd = "a\u2028b\x0bc\x0cd\x85e\u2029f"
    assert lines_of(written(tmp_path, "t.txt", f"{odd}\n{odd}\r\n{odd}".encode())) == [f"{odd}\n", f"{odd}\r\n", odd]
    assert lines_of(written(tmp_path, "mac.txt", b"one\rtwo\rthree")) == ["one\r", "two\r", "three"]
    assert lines_of(written(tmp_path, "cr_inside.txt", b"one\ntw\ro\n")) == ["one\n", "tw\ro\n"]


def test_a_foreign_byte_is_named_with_its_line_far_into_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "t.txt", b"fine\n" * 5000 + b"caf\xe9\n")
    message = refused_lines(path)
    assert "line 5001" in message and "0xe9 at position 3" in message and "corpus.encoding" in message
    assert lines_of(path, encoding="cp1252")[-1] == "café\n"


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz", "t.txt.gz", "t.csv.bz2"])
def test_a_line_of_hundreds_of_megabytes_is_refused_before_it_is_in_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with (gzip.open if name.endswith("gz") else bz2.open)(path, "wb") as file:
        file.write(b"text\n")
        for _ in range(80):
            file.write(b"a" * (1 << 20))
    tracemalloc.start()
    message = refused_lines(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "line 2" in message and "50,000,000 characters" in message
    assert peak < 150_000_000


NO_TEXT = {
    "gzip": (gzip.compress(b"text"), r"packed by gzip; call it by \.gz"),
    "bzip2": (bz2.compress(b"text"), r"packed by bzip2; call it by \.bz2"),
    "xz": (lzma.compress(b"text"), r"packed by xz; call it by \.xz"),
    "zstd": (pa.compress(b"text", "zstd", asbytes=True), r"packed by zstd; call it by \.zst"),
    "zip": (zipped(b"text", "t.csv"), r"a zip archive, .* call it by \.zip or \.xlsx"),
    "parquet": (parquet([{"text": "one"}]), r"of Parquet; call it by \.parquet"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), r"save it as \.xlsx or \.csv"),
    "sqlite": (b"SQLite format 3\0" + bytes(500), "a database"),
    "pdf": (b"%PDF-1.7\n1 0 obj", "a PDF; give its text"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.txt", "t.csv.gz"])
@pytest.mark.parametrize("kind", NO_TEXT)
def test_a_file_of_another_kind_than_its_name_says_is_called_what_it_is(
    tmp_path: Path, kind: str, name: str, encoding: str
) -> None:
    content, message = NO_TEXT[kind]
    content = gzip.compress(content) if name.endswith("gz") else content
    refusal = refused(written(tmp_path, name, content), encoding=encoding)
    assert re.search(rf"{name} is not a text file\. It is .*{message}", refusal)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_a_byte_order_mark_is_not_read_as_letters(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("one\ntwo".encode(encoding))
    assert "Leave corpus.encoding out" in refused_lines(tmp_path / "a.txt", encoding="latin-1")
    assert len(lines_of(tmp_path / "a.txt")) == 2
