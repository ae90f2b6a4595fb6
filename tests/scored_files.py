"""A small file for each of the six task types, and recipes that score them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scoring_doubles import HashEncoder

from moee_topics.embed import Embedder
from moee_topics.mteb.board import Board
from moee_topics.mteb.score_page import write
from moee_topics.mteb.score_recipe import ScoreRecipe, parse_score_recipe
from moee_topics.mteb.scoring_run import score
from moee_topics.mteb.tasks import hub_task

WORDS = ("cat", "dog", "sun", "car")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def write_files(folder: Path) -> dict[str, Path]:
    """A small file for each of the six task types."""
    rng = np.random.default_rng(0)

    def text(word: str) -> str:
        return f"{word} {rng.integers(10**6)}"

    labelled = [{"text": text(WORDS[i % 4]), "label": WORDS[i % 4]} for i in range(40)]
    train = [{"text": text(WORDS[i % 4]), "label": WORDS[i % 4]} for i in range(60)]
    pairs = [{"sentence1": text("cat"), "sentence2": text("dog")} for _ in range(24)]
    summaries = {
        "text": "story",
        "human_summaries": [text("cat"), text("dog")],
        "machine_summaries": [text("sun") for _ in range(6)],
        "relevance": [1.0, 2.0, 3.0, 4.0, 5.0, 4.5],
    }
    return {
        "Clustering": write_rows(folder / "groups.jsonl", labelled),
        "train": write_rows(folder / "train.jsonl", train),
        "STS": write_rows(folder / "sts.jsonl", [{**pair, "score": i % 6} for i, pair in enumerate(pairs)]),
        "PairClassification": write_rows(
            folder / "p.jsonl", [{**pair, "label": i % 2} for i, pair in enumerate(pairs)]
        ),
        "Reranking": write_rows(
            folder / "r.jsonl",
            [
                {"query": text("cat"), "positive": [text("cat")], "negative": [text("dog"), text("sun")]}
                for _ in range(5)
            ],
        ),
        "Summarization": write_rows(folder / "s.jsonl", [summaries, {**summaries, "human_summaries": [text("car")]}]),
    }


def local(files: dict[str, Path], *kinds: str) -> list[dict[str, Any]]:
    sections = [{"file": str(files[kind]), "type": kind, "name": f"My{kind}"} for kind in kinds if kind in files]
    if "Classification" in kinds:
        both = {"file": str(files["Clustering"]), "train": str(files["train"])}
        sections.append({**both, "type": "Classification", "name": "MyClassification"})
    return sections


def recipe(sections: list[dict[str, Any]], **options: Any) -> ScoreRecipe:
    return parse_score_recipe({"score": {"local": sections, **options}})


def run(made: ScoreRecipe, output: Path, double: Any = None) -> Board:
    double = double or HashEncoder()
    board = score(made, output, embedder=Embedder.of(double, output / "store"))
    write(board, made, output)
    return board


ALL_TYPES = ("Clustering", "STS", "PairClassification", "Reranking", "Classification", "Summarization")


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(self: Any, **kwargs: Any) -> None:
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(type(hub_task("STS12").make()), "load_data", no_network)
