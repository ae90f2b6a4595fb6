"""Lines: the same text in every encoding and packing, and no line that fills the memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from moee_topics.corpus import CorpusSettings, lines
from moee_topics.corpus.lines import TextFile
from moee_topics.errors import InputError

TABLE = "id,text,label\n1,größer 🎉,a\n2,zweite Zeile,b\n"


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(path: Path, **settings: Any) -> list[str]:
    return list(TextFile.at(path, CorpusSettings(str(path), **settings)).lines())


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        read(path, **settings)
    return str(error.value)


def zipped(content: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".GZ": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
    ".zip": lambda content: zipped(content, "any.csv", "__MACOSX/._any.csv", ".hidden"),
}


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
    assert "".join(read(written(tmp_path, "t.csv", content), **settings)) == TABLE


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [TABLE, "文本,标签\n我们昨天买了面包和面粉。,一\n小提琴和钢琴。,二\n" * 20])
def test_utf16_without_a_mark_is_suggested(tmp_path: Path, encoding: str, text: str) -> None:
    assert f"corpus.encoding={encoding}" in refused(written(tmp_path, "t.csv", text.encode(encoding)))


@pytest.mark.parametrize("ending", PACKERS)
def test_every_packing_holds_the_same_lines(tmp_path: Path, ending: str) -> None:
    assert "".join(read(written(tmp_path, f"t.csv{ending}", PACKERS[ending](TABLE.encode())))) == TABLE


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_packing_is_refused(tmp_path: Path, ending: str) -> None:
    whole = PACKERS[ending](bytes(range(97, 123)) * 5000)
    assert "damaged" in refused(written(tmp_path, f"half.csv{ending}", whole[: len(whole) // 2]))
    assert "damaged" in refused(written(tmp_path, f"none.csv{ending}", b"nothing of the kind"))


def test_a_zip_is_one_file_whose_name_says_its_kind(tmp_path: Path) -> None:
    assert lines.kind_of(written(tmp_path, "posts.zip", zipped(b"", "posts.jsonl"))) == (".jsonl", ".zip")
    assert "2 files (a.csv, b.csv)" in refused(written(tmp_path, "t.csv.zip", zipped(b"", "a.csv", "b.csv")))
    assert "0 files" in refused(written(tmp_path, "t.csv.zip", zipped(b"")))
    assert "0 files" in refused(written(tmp_path, "t.csv.zip", zipped(b"text", "x.csv").replace(b"x.csv", b"\0.csv")))


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    odd = "a\u2028b\x0bc\x0cd\x85e\u2029f"
    assert read(written(tmp_path, "t.txt", f"{odd}\n{odd}\r\n{odd}".encode())) == [f"{odd}\n", f"{odd}\r\n", odd]
    assert read(written(tmp_path, "mac.txt", b"one\rtwo\rthree")) == ["one\r", "two\r", "three"]
    assert read(written(tmp_path, "cr_inside.txt", b"one\ntw\ro\n")) == ["one\n", "tw\ro\n"]


def test_a_foreign_byte_is_named_with_its_line_far_into_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "t.txt", b"fine\n" * 5000 + b"caf\xe9\n")
    message = refused(path)
    assert "line 5001" in message and "0xe9 at position 3" in message and "corpus.encoding" in message
    assert read(path, encoding="cp1252")[-1] == "café\n"


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz", "t.txt.gz", "t.csv.bz2"])
def test_a_line_of_hundreds_of_megabytes_is_refused_before_it_is_in_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with (gzip.open if name.endswith("gz") else bz2.open)(path, "wb") as file:
        file.write(b"text\n")
        for _ in range(80):
            file.write(b"a" * (1 << 20))
    tracemalloc.start()
    message = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "line 2" in message and "50,000,000 characters" in message
    assert peak < 150_000_000


@pytest.mark.parametrize("encoding", ["klingon", "base64", "a\0b"])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.encoding"):
        CorpusSettings("t.csv", encoding=encoding)
