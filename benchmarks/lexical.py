"""How much the words of documents help beside a model: k-means with the true number of classes, AMI, by their weight.

    python -m benchmarks.lexical --data ../shared/data --store vectors

Each set is read as the recipes read it (mean of the hidden states, no prompt, 128 tokens), so that weights can be
chosen on some sets and looked at on others. "words" is the block alone. Encoding is kept in --store. Writes
benchmarks/results/lexical.json and prints it.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from benchmarks.labelled_sets import SETS, corpus_of
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.fuse import Fusion, Lexical, fuse_all
from moee_topics.store import write_json

OF_WORDS = ("arxiv-abstracts", "arxiv-titles", "cs-abstracts", "cs-titles", "newsgroups-subjects", "newsgroups")
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
RESULTS = Path(__file__).with_name("results") / "lexical.json"


def labelled(source: str, documents: int, **reading: Any) -> tuple[list[str], np.ndarray]:
    """Texts and their classes, a random part of the different ones."""
    read = {d.text: d.label for d in open_corpus(CorpusSettings(source, **reading)) if d.label is not None}
    order = np.random.default_rng(0).permutation(len(read))[:documents]
    texts, labels = list(read), list(read.values())
    return [texts[i] for i in order], np.unique([labels[i] for i in order], return_inverse=True)[1]


def ami(rows: np.ndarray, classes: np.ndarray, seeds: int) -> dict[str, float]:
    """Mean and deviation over the seeds, times 100."""
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    scores = [
        100
        * adjusted_mutual_info_score(classes, KMeans(classes.max() + 1, n_init=1, random_state=seed).fit_predict(rows))
        for seed in range(seeds)
    ]
    return {"ami": round(float(np.mean(scores)), 1), "sd": round(float(np.std(scores)), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--sets", nargs="*", default=OF_WORDS, choices=list(SETS))
    parser.add_argument("--documents", type=int, default=2500)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    settings = EncoderSettings(asked.model, prompt="none", pooling="mean", max_tokens=128)
    source = EncoderSource(settings, require_routers=False)
    embedder = Embedder(source, asked.store, key=source.stored_key(asked.store))
    scores: dict[str, Any] = {}
    for name in asked.sets:
        texts, classes = labelled(documents=asked.documents, **corpus_of(asked.data, SETS[name]))
        scores[name] = {"words": ami(Lexical.fit(texts).transform(texts), classes, asked.seeds)}
        for method, alpha in (("hidden_states", 0.0), ("weighted_sum", 0.25)):
            for lexical in WEIGHTS:
                fusion = Fusion(method, alpha, "both", lexical).fit(embedder.blocks(texts), texts)
                rows = fuse_all(embedder.blocks(texts), fusion, len(texts), texts)
                scores[name][fusion.label] = ami(rows, classes, asked.seeds)
        print(name, json.dumps(scores[name]), flush=True)
    versions = {name: version(name) for name in ("moee-topics", "torch", "transformers", "scikit-learn", "numpy")}
    result = {"model": asked.model, "documents": asked.documents, "seeds": asked.seeds, "tokens": 128}
    write_json(RESULTS, {**result, "versions": {**versions, "machine": platform.machine()}, "scores": scores})


if __name__ == "__main__":
    main()
