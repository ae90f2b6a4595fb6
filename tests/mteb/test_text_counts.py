"""What scoring will cost, before anything is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scored_files import local, recipe, unreachable

from moee_topics.mteb.tasks import hub_task
from moee_topics.mteb.text_counts import estimate_tasks

pytest.importorskip("mteb")


def test_estimates_come_from_shipped_statistics_and_download_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable(monkeypatch)
    sts, older, newer, summary_ = estimate_tasks(
        [
            hub_task(name)
            for name in ("STS12", "TwentyNewsgroupsClustering", "TwentyNewsgroupsClustering.v2", "SummEval")
        ],
        100,
    )
    assert sts.texts == 2 * 3108
    assert (older.texts, older.unique) == (59_545, 5_242)
    assert newer.texts == int(0.04 * 59_545)
    assert summary_.texts == 1100 + 1600
    assert sts.store_bytes == 100 * sts.unique and not sts.exact


def test_estimates_of_local_files_are_exact(files: dict[str, Path]) -> None:
    (found,) = estimate_tasks(recipe(local(files, "Clustering")).sources(), 10)
    texts = {json.loads(line)["text"] for line in files["Clustering"].read_text().splitlines()}
    assert (found.unique, found.characters, found.exact) == (len(texts), sum(map(len, texts)), True)
