"""Labelled files with bytes and values changed: every row is scored or counted, or our error says why."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutations import mutated, mutated_json

from moee_topics.errors import MoEETopicsError
from moee_topics.mteb.tasks import LocalTask, load, local_task, read_rows

pytest.importorskip("mteb")

TEXTS = [f'{("cat", "dog", "sun")[i % 3]} "q" {i}, ü' for i in range(20)]
ROWS: Mapping[str, list[dict[str, Any]]] = {
    "Clustering": [{"text": TEXTS[i], "label": "abc"[i % 3]} for i in range(12)],
    "Classification": [{"text": TEXTS[i], "label": "abc"[i % 3]} for i in range(12)],
    "STS": [{"sentence1": TEXTS[i], "sentence2": TEXTS[i + 1], "score": i % 6} for i in range(12)],
    "PairClassification": [{"sentence1": TEXTS[i], "sentence2": TEXTS[i + 1], "label": i % 2} for i in range(12)],
    "Reranking": [{"query": TEXTS[i // 3], "candidate": TEXTS[i + 5], "label": int(i % 3 == 0)} for i in range(12)],
    "Retrieval": [{"query": TEXTS[i], "positive": [TEXTS[i + 1]], "negative": TEXTS[i + 2 : i + 4]} for i in range(6)],
    "Summarization": [
        {
            "text": TEXTS[i],
            "machine_summaries": TEXTS[i + 1 : i + 4],
            "human_summaries": [TEXTS[i]],
            "relevance": [1.0, 2.5, 4],
        }
        for i in range(4)
    ],
}
DOCUMENTS = ("Clustering", "Classification", "STS", "PairClassification")
"""Types of which each row is a row of mteb's data too; the others are grouped by query or hold lists."""


def written(rows: list[dict[str, Any]], ending: str, rng: random.Random) -> bytes:
    """Rows as a file of that kind, with values or bytes changed."""
    if ending == ".jsonl" and rng.random() < 0.7:
        changed = [mutated_json(json.dumps(row).encode(), rng, ("label", "text", "score")) for row in rows[:3]]
        return b"\n".join([*changed, *(json.dumps(row).encode() for row in rows[3:])])
    if ending == ".jsonl":
        return mutated("\n".join(json.dumps(row) for row in rows).encode(), rng)
    if ending == ".parquet":
        packed = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), packed)
        return mutated(packed.getvalue(), rng)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter="," if ending == ".csv" else "\t")
    writer.writeheader()
    writer.writerows(
        {name: cell if isinstance(cell, str | int) else json.dumps(cell) for name, cell in row.items()} for row in rows
    )
    return mutated(text.getvalue().encode(), rng)


@pytest.mark.parametrize("tries", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_labelled_file_loses_no_row_in_silence(tmp_path: Path, tries: int) -> None:
    rng, outcomes = random.Random(20261125), Counter[str]()
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(json.dumps(row) for row in ROWS["Classification"]), encoding="utf-8")
    for _ in range(tries):
        kind, ending = rng.choice(list(ROWS)), rng.choice((".jsonl", ".jsonl", ".csv", ".tsv", ".parquet"))
        path = tmp_path / f"rows{ending}"
        path.write_bytes(written(ROWS[kind], ending, rng))
        files = [path, other] if rng.random() < 0.5 else [other, path]
        file, train = files if kind == "Classification" else (path, None)
        try:
            source = local_task(LocalTask(kind, file, train=train))  # type: ignore[arg-type]
            data = load(source).dataset
        except MoEETopicsError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        if kind in DOCUMENTS:
            rows = sum(len(read_rows(part)) for part in (file, train) if part)
            assert sum(len(data[split]) for split in data) + source.left_out == rows
        elif kind == "Reranking":
            ranked = data["default"]["test"]["top_ranked"]
            pairs = {repr((row.values.get("query"), row.values.get("candidate"))) for row in read_rows(file)}
            assert sum(map(len, ranked.values())) + source.left_out >= len(pairs)
    assert outcomes["read"] and outcomes["refused"]
