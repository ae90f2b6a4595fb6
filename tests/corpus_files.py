"""Files of corpora that several tests read, and short ways to read them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moee_topics.corpus import Corpus, CorpusSettings, Document, Survey, Surveyor, open_corpus, read_table
from moee_topics.corpus.text_file import TextFile
from moee_topics.errors import InputError

ROWS = [
    {"id": "a", "text": "first, with a comma", "label": "x", "date": "2024-01-02"},
    {"id": "b", "text": 'second "quoted"\nin two lines', "label": "y", "date": "2024-03-04T05:06:07"},
    {"id": "c", "text": "third: Ünïcødé 🎉", "label": "x", "date": "1999"},
]


EXPECTED = [
    Document("a", ROWS[0]["text"], "x", "2024-01-02T00:00:00"),
    Document("b", ROWS[1]["text"], "y", "2024-03-04T05:06:07"),
    Document("c", ROWS[2]["text"], "x", "1999-01-01T00:00:00"),
]


TABLE = "id,text,label\n1,größer 🎉,a\n2,zweite Zeile,b\n"


def delimited(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


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


FILES = {
    "rows.csv": delimited(ROWS, ","),
    "rows.tsv": delimited(ROWS, "\t"),
    "rows.jsonl": json_lines(ROWS),
    "rows.ndjson": json_lines(ROWS),
    "rows.parquet": parquet(ROWS),
    "rows.csv.gz": gzip.compress(delimited(ROWS, ",")),
    "rows.jsonl.gz": gzip.compress(json_lines(ROWS)),
}


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".GZ": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
    ".zip": lambda content: zipped(content, "any.csv", "__MACOSX/._any.csv", ".hidden"),
}


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def opened(source: Path | str, **options: Any) -> Corpus:
    return open_corpus(CorpusSettings(str(source), **options))


def refused(source: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        list(opened(source, **options))
    return str(error.value)


def lines_of(path: Path, **settings: Any) -> list[str]:
    return list(TextFile.at(path, CorpusSettings(str(path), **settings)).lines())


def refused_lines(path: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        lines_of(path, **settings)
    return str(error.value)


def rows(path: Path, **settings: Any) -> list[dict[str, Any]]:
    return [dict(row.values) for row in read_table(path, CorpusSettings(str(path), **settings)).rows(None)]


def survey(corpus: Corpus) -> Survey:
    """A corpus counted and fingerprinted in one pass."""
    surveyor = Surveyor()
    for _ in surveyor.passing(corpus):
        pass
    return surveyor.result(corpus)


def surveyed(path: Path, **settings: Any) -> Survey:
    return survey(open_corpus(CorpusSettings(str(path), **settings)))


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
