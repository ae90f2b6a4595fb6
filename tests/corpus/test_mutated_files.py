"""Files with bytes changed, added, removed and repeated: read, or refused in words, never a traceback."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import random
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import survey

from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.errors import MoEETopicsError

ROWS = [
    {"id": i, "text": f'the "bread" {i}, and ü', "label": "ab"[i % 2], "date": f"2024-05-{i + 1:02d}"}
    for i in range(12)
]
ODD = (
    *(
        b"\0",
        b"\xff\xfe",
        b'"',
        b"\n",
        b"\r",
        b"\xef\xbb\xbf",
        b"9" * 5000,
        b"1e999",
        b"NaN",
        b"[[[[",
        b"{",
        b",",
        b"\t",
    ),
    *(b"-1", b"\xed\xa0\x80", b"null", b"true", b"\\ud800", b"inf", b"\xff\xfe", b"0000-00-00", b"9" * 20),
)
SETTINGS: tuple[dict[str, Any], ...] = (
    *({}, {}, {"encoding": "latin-1"}, {"encoding": "utf-16"}, {"decoding_errors": "replace"}, {"quoting": "none"}),
    *({"quoting": "csv"}, {"clean": "html"}, {"text": ("text", "label")}, {"time_format": "%Y-%m-%d"}, {"limit": 3}),
    {"delimiter": ";"},
)


def whole_files() -> dict[str, bytes]:
    lines = [f'{row["id"]},"the ""bread"", ü {row["id"]}",{row["label"]},{row["date"]}' for row in ROWS]
    table = ("id,text,label,date\n" + "\n".join(lines)).encode()
    parquet, zipped, sheet = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", table)
    files = {
        "a.csv": table,
        "b.csv": table.decode().encode("utf-16"),
        "a.tsv": table.replace(b",", b"\t"),
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "a.txt": table,
        "a.parquet": parquet.getvalue(),
        "a.csv.gz": gzip.compress(table),
        "a.csv.bz2": bz2.compress(table),
        "a.csv.zip": zipped.getvalue(),
    }
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for values in (list(ROWS[0]), *(list(row.values()) for row in ROWS)):
        book.active.append(values)
    book.save(sheet)
    return {**files, "a.xlsx": sheet.getvalue()}


def mutated(content: bytes, chance: random.Random) -> bytes:
    raw = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at, other = (chance.randrange(len(raw) + 1) for _ in range(2))
        kind = chance.randrange(4)
        if kind == 0 and raw:
            raw[min(at, len(raw) - 1)] = chance.randrange(256)
        elif kind == 1:
            raw[at:at] = chance.choice(ODD)
        elif kind == 2:
            del raw[at : at + chance.randint(1, 30)]
        else:
            raw[at:at] = raw[other : other + 20]
    return bytes(raw[: chance.randrange(len(raw) + 1)] if chance.random() < 0.1 else raw)


@pytest.mark.parametrize("files", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_file_is_read_or_refused(tmp_path: Path, files: int) -> None:
    chance, whole = random.Random(20261125), whole_files()
    outcomes: Counter[str] = Counter()
    for _ in range(files):
        name = chance.choice(list(whole))
        path = tmp_path / name
        path.write_bytes(mutated(whole[name], chance))
        try:
            survey(open_corpus(CorpusSettings(str(path), **chance.choice(SETTINGS))))
            outcomes["read"] += 1
        except MoEETopicsError:
            outcomes["refused"] += 1
    assert outcomes["read"] and outcomes["refused"]
