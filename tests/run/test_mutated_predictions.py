"""New files, options and run folders with bytes changed: each document has its row, or our error says why.

PREDICT_TRIES=10000 asks for as many as the reliability chapter counts, PREDICT_FIRST for those from one on.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from mutations import mutated, mutated_json
from tiny_runs import as_0_1_0_left_it

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.run import corpus_like
from moee_topics.run_folder import RunFolder

SEED = 20261126
SLOW_TRIES, FIRST = int(os.environ.get("PREDICT_TRIES", "2500")), int(os.environ.get("PREDICT_FIRST", "0"))
KINDS = ("new documents", "folder", "folder without digests", "options")
ENCODE = MoEEncoder.encode_calls
OPTIONS = (
    (),
    (),
    (),
    ("corpus.quoting=csv",),
    ("corpus.encoding=latin-1",),
    ("corpus.text=body",),
    ("corpus.limit=2",),
)
READINGS = (
    *("corpus.text=text", "corpus.text=[id, text]", "corpus.id=none", "corpus.quoting=csv", "corpus.delimiter=tab"),
    *("corpus.encoding=cp1252", "corpus.clean=html", "corpus.limit=2", "corpus.missing=[x]", "corpus.pattern=*.txt"),
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


def predictions(run: Path, file: Path, options: Sequence[str] = ()) -> list[dict[str, Any]] | None:
    """All rows that the command gives for a file, each document of which has one; None where it refuses."""
    result = call("predict", run, file, *options, "--json")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    answer = json.loads(result.stdout)
    if result.exit_code:
        assert set(answer) == {"error"} and answer["error"]["exit_code"] == result.exit_code in (3, 4, 5, 6)
        return None
    rows: list[dict[str, Any]] = answer["predictions"]
    documents = corpus_like(run, str(file), options)
    assert [row["id"] for row in rows] == [document.id for document in documents]
    assert sum(answer["left_out"].values()) == documents.counts.empty + documents.counts.left_out.total()
    names = {topic.topic: topic.name for topic in RunFolder.read(run).result.topic_info}
    assert all(row["topic"] == -1 or row["name"] == names[row["topic"]] for row in rows)
    return rows


def load_and_encode_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model for all calls, and each list of texts through it once: the files of the model itself are tried in
    tests/encode/models/test_mutated_checkpoints.py, and the forward would be two thirds of a call."""
    monkeypatch.setattr(MoEEncoder, "from_settings", cache(MoEEncoder.from_settings))
    encode = cache(lambda encoder, texts, entries: next(ENCODE(encoder, [texts], entries)))

    def encode_calls(self: MoEEncoder, calls: Any, entries: Any) -> Any:
        return (encode(self, tuple(texts), tuple(entries)) for texts in calls)

    monkeypatch.setattr(MoEEncoder, "encode_calls", encode_calls)


@pytest.mark.parametrize("tries", [30, pytest.param(SLOW_TRIES, marks=pytest.mark.slow)])
def test_mutated_calls_of_predict_give_all_rows_or_are_refused(
    root: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    load_and_encode_once(monkeypatch)
    outcomes, files, run = Counter[tuple[str, str]](), new_files(corpus, tmp_path), root / "run"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    clean = {name: predictions(run, tmp_path / name) for name in files}
    digests, manifest = (run / "digests.json").read_bytes(), (run / "run.json").read_bytes()
    parts = sorted(path for path in run.rglob("*") if path.is_file())
    for attempt in range(FIRST, FIRST + tries):
        # Each try has a seed of its own, so that one that fails is repeated alone.
        rng, kind, options = random.Random(f"{SEED} {attempt}"), KINDS[attempt % len(KINDS)], list[str]()
        name, part = rng.choice(list(files)), rng.choice(parts)
        before = part.read_bytes()
        if kind == "new documents":
            (tmp_path / name).write_bytes(mutated(files[name], rng))
            options = [*rng.choice(OPTIONS)]
        elif kind == "options":
            options = [mutated(rng.choice(READINGS).encode(), rng).decode("utf-8", "replace").replace("\0", "")]
            options = [option for option in options if option and not option.startswith("-")]
        else:
            part.write_bytes(mutated_json(before, rng) if part.suffix == ".json" else mutated(before, rng))
        if kind == "folder without digests" and part.name not in ("run.json", "digests.json"):
            as_0_1_0_left_it(run)
        if attempt % 500 == 0:
            print(f"call {attempt:,} of predict: {dict(outcomes)}", flush=True)
        rows = predictions(run, tmp_path / name, options)
        outcomes[kind, "refused" if rows is None else "read"] += 1
        assert kind != "folder" or rows in (None, clean[name]), (attempt, part)
        (tmp_path / name).write_bytes(files[name])
        (run / "digests.json").write_bytes(digests)
        (run / "run.json").write_bytes(manifest)
        part.write_bytes(before)
    assert {kind for kind, _ in outcomes} == set(KINDS) and {outcome for _, outcome in outcomes} == {"read", "refused"}
    assert outcomes.total() == tries
    print(f"{tries:,} calls of predict: {dict(outcomes)}")
