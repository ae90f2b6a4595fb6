"""New files and run folders with bytes changed: each document has its row, or our error says why; never a traceback."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from mutations import mutated, mutated_json
from tiny_runs import as_0_1_0_left_it

from moee_topics import run as pipeline
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import MoEETopicsError
from moee_topics.run import PredictedTopic, corpus_like
from moee_topics.run_folder import RunFolder

SEED = 20261125
OPTIONS = (
    (),
    (),
    (),
    ("corpus.quoting=csv",),
    ("corpus.encoding=latin-1",),
    ("corpus.text=body",),
    ("corpus.limit=2",),
)


def new_files(corpus: Path, folder: Path) -> dict[str, bytes]:
    """New documents in three kinds of file: two that were fitted, three that were not."""
    lines = corpus.read_bytes().splitlines(keepends=True)[:2]
    lines += [f'{{"id": "new{i}", "text": "orbit and puck {i}"}}\n'.encode() for i in range(3)]
    table = 'id,text\n7,"the ""bread"", ü"\n8,orbit moon rocket\n9,\n'
    return {
        "a.jsonl": b"".join(lines),
        "a.csv": table.encode(),
        "b.csv": table.encode("utf-16"),
        "a.txt": b"one\n\ntwo",
    }


def predictions(run: Path, file: Path, options: tuple[str, ...] = ()) -> list[PredictedTopic]:
    """All rows of a file, each document of which has one."""
    documents = corpus_like(run, str(file), options)
    rows = list(pipeline.predict(run, documents))
    assert [row.id for row in rows] == [document.id for document in documents]
    names = {topic.topic: topic.name for topic in RunFolder.read(run).result.topic_info}
    assert all(row.topic == -1 or row.name == names[row.topic] for row in rows)
    return rows


@pytest.mark.parametrize("tries", [30, pytest.param(3_000, marks=pytest.mark.slow)])
def test_mutated_calls_of_predict_give_all_rows_or_are_refused(
    root: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    # The model's own files are tried in tests/encode/models/test_mutated_checkpoints.py; here it is loaded once.
    monkeypatch.setattr(MoEEncoder, "from_settings", cache(MoEEncoder.from_settings))
    rng, outcomes, files, run = random.Random(SEED), Counter[str](), new_files(corpus, tmp_path), root / "run"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    clean = {name: predictions(run, tmp_path / name) for name in files}
    digests = (run / "digests.json").read_bytes()
    manifest = (run / "run.json").read_bytes()
    parts = sorted(path for path in run.rglob("*") if path.is_file())
    for attempt in range(tries):
        name, part = rng.choice(list(files)), rng.choice(parts)
        before = part.read_bytes()
        # Every third time the new documents, every third the run's folder, every third a folder without digests.
        if attempt % 3 == 0:
            (tmp_path / name).write_bytes(mutated(files[name], rng))
        else:
            part.write_bytes(mutated_json(before, rng) if part.suffix == ".json" else mutated(before, rng))
        if attempt % 3 == 2 and part.name not in ("run.json", "digests.json"):
            as_0_1_0_left_it(run)
        try:
            rows = predictions(run, tmp_path / name, rng.choice(OPTIONS) if attempt % 3 == 0 else ())
            outcomes["read"] += 1
            assert attempt % 3 != 1 or rows == clean[name], part
        except MoEETopicsError:
            outcomes["refused"] += 1
        (tmp_path / name).write_bytes(files[name])
        (run / "digests.json").write_bytes(digests)
        (run / "run.json").write_bytes(manifest)
        part.write_bytes(before)
    assert outcomes["read"] and outcomes["refused"]
