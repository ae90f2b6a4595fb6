"""Cosines of texts that have nothing in common, raw and as ``MoEEBackend`` gives them where nothing is said.

    python -m benchmarks.cosines --data ../shared/data --store vectors pocket path/to/a/dense/decoder

A threshold of BERTopic means something only where unlike texts have a cosine around 0. Documents are posts of 20
Newsgroups and titles of arXiv at 128 tokens; words are single ones of the posts, most of which the backend never saw.
Writes benchmarks/results/cosines.json with histograms, and prints the 5th, 50th and 95th percentile.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.labelled_sets import SETS, corpus_of
from benchmarks.lexical import labelled
from moee_topics.corpus import words_of
from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.fuse import Fusion
from moee_topics.store import write_json
from moee_topics.topics.backend import ISOTROPIC, MoEEBackend

RESULTS = Path(__file__).with_name("results") / "cosines.json"
BINS = np.linspace(-1, 1, 21)


def spread(rows: np.ndarray, others: np.ndarray | None = None) -> dict[str, Any]:
    """Percentiles and histogram of the cosines of all pairs."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if others is None:
        cosines = (unit @ unit.T)[np.triu_indices(len(rows), 1)]
    else:
        cosines = (unit @ (others / np.linalg.norm(others, axis=1, keepdims=True)).T).ravel()
    shares = np.histogram(np.clip(cosines, -1, 1), BINS)[0] / len(cosines)
    return {
        "percentiles": np.percentile(cosines, [5, 50, 95]).round(2).tolist(),
        "histogram": shares.round(3).tolist(),
    }


def measure(model: str, data: Path, store: Path, documents: int) -> dict[str, Any]:
    settings = EncoderSettings(model, prompt="none", pooling="mean", max_tokens=128)
    source = EncoderSource(settings, require_routers=False)
    embedder = Embedder(source, store, key=source.stored_key(store))
    newsgroups = {**corpus_of(data, SETS["newsgroups"]), "data_home": data / "scikit_learn_data"}
    posts, _ = labelled(documents=documents, **newsgroups)
    titles, _ = labelled(documents=documents, **corpus_of(data, SETS["arxiv-titles"]))
    words = sorted({word for post in posts for word in words_of(post.lower())})[:: max(1, documents // 20)][:400]
    method = "weighted_sum" if embedder.embed(words[:1]).router_logits.size else "hidden_states"
    found = {}
    fusions = {
        "raw": Fusion(method, standardize="none"),
        "isotropic": Fusion(method, filters=ISOTROPIC.filters),
    }
    for name, fusion in fusions.items():
        backend = MoEEBackend(embedder, fusion)
        if fusion.needs_fit:
            backend.fit_fusion(posts)
        vectors = {
            kind: backend.embed(texts) for kind, texts in (("posts", posts), ("titles", titles), ("words", words))
        }
        found[name] = {kind: spread(rows) for kind, rows in vectors.items()}
        found[name]["words and posts"] = spread(vectors["words"], vectors["posts"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=600)
    asked = parser.parse_args()
    found = {Path(model).name: measure(model, asked.data, asked.store, asked.documents) for model in asked.models}
    write_json(RESULTS, {"documents": asked.documents, "bins": BINS.round(1).tolist(), "models": found})
    for model, ways in found.items():
        for way, kinds in ways.items():
            for kind, numbers in kinds.items():
                print(f"{model:12} {way:10} {kind:16}", numbers["percentiles"])


if __name__ == "__main__":
    main()
