"""Whole runs of a tiny random model on documents of four themes, and a progress that remembers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bag_of_words import FILLER, THEMES

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe, parse_recipe

DOCUMENTS = 80


def write_corpus(path: Path, documents: int = DOCUMENTS, first: int = 0) -> Path:
    """Short documents of four themes, with label and date."""
    rows = []
    for number in range(first, first + documents):
        rng = random.Random(number)
        theme, words = list(THEMES.items())[number % 4]
        text = " ".join(rng.choices(words.split(), k=12) + rng.choices(FILLER, k=3))
        rows.append({"id": f"d{number}", "text": text, "label": theme, "date": f"2024-01-{number % 28 + 1:02d}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_of(corpus: Path, model: Path, *overrides: str) -> Recipe:
    data = {
        "corpus": {"source": str(corpus)},
        "encoder": {"model": str(model), "prompt": "none", "pooling": "mean", "max_tokens": 32, "dtype": "float32"},
        "umap": {"n_neighbors": 5, "n_components": 2, "n_epochs": 20},
        "hdbscan": {"min_cluster_size": 4},
        "topics": {"representation": "ctfidf"},
        "report": {"html": False},
    }
    return parse_recipe(data, overrides)


def as_0_1_0_left_it(run: Path) -> None:
    """Takes the digests of a run away; of a run of this version that would be damage."""
    (run / "digests.json").unlink()
    manifest = json.loads((run / "run.json").read_text())
    manifest["versions"]["moee_topics"] = "0.1.0"
    (run / "run.json").write_text(json.dumps(manifest))


class Heard(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.ended: dict[str, str] = {}
        self.notes: list[str] = []
        self.most = 0
        self.fits: list[int] = []

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        self.fits += [done] if unit == "fits" else []
        self.most = max(self.most, done)

    def end(self, stage: str, seconds: float, outcome: str) -> None:
        self.ended[stage] = outcome

    def skip(self, stage: str, why: str) -> None:
        self.skipped.append(stage)

    def note(self, message: str) -> None:
        self.notes.append(message)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of the shards and the index of a store, or of the data files of a run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"run.json", "stages.json", "digests.json"}
        if not path.name.startswith("writer")
    }


STABILITY = ("stability.seeds=2", "stability.bootstraps=1", "report.html=true")


def copied(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "measured"))


def stopped_after(documents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the encoder stop as Ctrl-C would, once so many documents went through."""
    whole = MoEEncoder.encode_calls

    def encode_calls(self: MoEEncoder, *given: Any) -> Iterator[Any]:
        for part in whole(self, *given):
            if self.report.documents > documents:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(MoEEncoder, "encode_calls", encode_calls)
