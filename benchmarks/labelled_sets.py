"""The labelled sets that benchmarks cluster: their files in the folder ``--data``, and how each is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ARCHIVES, SUBFIELDS = "arxiv_clustering/archives.jsonl.gz", "arxiv_clustering/cs_subfields.jsonl.gz"
TITLES, ABSTRACTS = ({"text": text, "label": "label_name"} for text in ("text", ("text", "abstract")))
REMOVED = ("headers", "footers", "quotes")

SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "newsgroups": ("20newsgroups", {"subset": "test", "remove": REMOVED}),
    "newsgroups-subjects": ("20newsgroups/subjects_s2s.jsonl.gz", TITLES),
    "arxiv-abstracts": (ARCHIVES, ABSTRACTS),
    "arxiv-titles": (ARCHIVES, TITLES),
    "cs-abstracts": (SUBFIELDS, ABSTRACTS),
    "cs-titles": (SUBFIELDS, TITLES),
    "emotion": ("emotion/test.jsonl.gz", TITLES),
    "tweets": ("tweet_sentiment_extraction/test.jsonl.gz", TITLES),
}
"""The test split of each set where it has splits: a file, or a name, and the keys of a corpus."""

WHOLE_SETS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "20newsgroups": [("20newsgroups", {"subset": "all", "remove": REMOVED})],
    **{name: [SETS[name]] for name in ("arxiv-abstracts", "arxiv-titles", "cs-abstracts", "cs-titles")},
    "newsgroups-subjects": [SETS["newsgroups-subjects"]],
    "emotion": [(f"emotion/{part}.jsonl.gz", TITLES) for part in ("train", "validation", "test")],
    "tweets": [(f"tweet_sentiment_extraction/{part}.jsonl.gz", TITLES) for part in ("train", "test")],
}
"""All parts of each set."""


def corpus_of(data: Path, part: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A part of a set as the section ``corpus`` of a recipe."""
    file, reading = part
    return {"source": file if file == "20newsgroups" else str(data / file), **reading}
