"""Packed files: the same bytes in every packing, and damage named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from corpus_files import PACKERS, TABLE, lines_of, refused, refused_lines, written, zipped

from moee_topics.corpus.packing import kind_of


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, name: str) -> None:
    whole = gzip.compress(b'{"text": "t"}\n' * 100 if "jsonl" in name else b"text\n" * 100)
    assert "is damaged" in refused(written(tmp_path, name, whole[:-20]))
    assert "is damaged" in refused(written(tmp_path, name, b"no gzip at all"))


@pytest.mark.parametrize("ending", PACKERS)
def test_every_packing_holds_the_same_lines(tmp_path: Path, ending: str) -> None:
    assert "".join(lines_of(written(tmp_path, f"t.csv{ending}", PACKERS[ending](TABLE.encode())))) == TABLE


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_packing_is_refused(tmp_path: Path, ending: str) -> None:
    whole = PACKERS[ending](bytes(range(97, 123)) * 5000)
    assert "damaged" in refused_lines(written(tmp_path, f"half.csv{ending}", whole[: len(whole) // 2]))
    assert "damaged" in refused_lines(written(tmp_path, f"none.csv{ending}", b"nothing of the kind"))


def test_a_zip_is_one_file_whose_name_says_its_kind(tmp_path: Path) -> None:
    assert kind_of(written(tmp_path, "posts.zip", zipped(b"", "posts.jsonl"))) == (".jsonl", ".zip")
    assert "2 files (a.csv, b.csv)" in refused_lines(written(tmp_path, "t.csv.zip", zipped(b"", "a.csv", "b.csv")))
    assert "0 files" in refused_lines(written(tmp_path, "t.csv.zip", zipped(b"")))
    assert "0 files" in refused_lines(
        written(tmp_path, "t.csv.zip", zipped(b"text", "x.csv").replace(b"x.csv", b"\0.csv"))
    )
