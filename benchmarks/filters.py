"""What filters and scales of the hidden states are worth, and which cosines they leave: k-means, AMI, labelled sets.

    python -m benchmarks.filters --data ../shared/data --store vectors

Read as ``benchmarks/readouts.py`` reads (no prompt, mean of the last layer); each filter learns from the documents that
are clustered. Beside AMI stand the cosines of two documents, and of two single words, at 5, 50 and 95 %: thresholds of
BERTopic take those of unlike texts to be around 0. Writes benchmarks/results/filters.json and prints the table.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from benchmarks.labelled_sets import SETS, corpus_of
from benchmarks.lexical import ami
from benchmarks.readouts import READ
from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.fuse import Fusion
from moee_topics.fuse.filters import embedded_words
from moee_topics.mteb.view_comparison import sampled
from moee_topics.recipe import parse_recipe
from moee_topics.run import Workspace
from moee_topics.store import write_json

FILTERED: dict[str, tuple[str, ...]] = {
    "raw": (),
    "center": ("center",),
    "remove_top": ("remove_top",),
    "align_words": ("align_words",),
    "align_words, remove_top": ("align_words", "remove_top"),
    "clip": ("clip",),
    "whiten": ("whiten",),
    "embed_filter": ("embed_filter",),
    "center, embed_filter": ("center", "embed_filter"),
}
BACKENDS: dict[str, Fusion] = {
    "backend: sum 0.5 raw": Fusion(standardize="none"),
    "backend: sum 0.5 align_words z": Fusion(filters=("align_words",)),
    "backend: sum 0.5 align_words z(HS)": Fusion(filters=("align_words",), standardize="hidden_states"),
    "backend: sum 0.5 align_words": Fusion(filters=("align_words",), standardize="none"),
    "backend: sum 0.25 align_words z": Fusion(alpha=0.25, filters=("align_words",)),
}
"""With the routing beside the hidden states, as ``MoEEBackend`` has it; the second is its default."""
POWERS = (0.25, 0.5, 0.75)
"""Of the deviation that a dimension is divided by: 0 is centring, 1 standardizing."""
RESULTS = Path(__file__).with_name("results") / "filters.json"

Transform = Callable[[Embeddings], np.ndarray]


def main() -> None:
    """Measures every way on every set, and writes what is there after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=READ, choices=list(SETS))
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    versions = {name: version(name) for name in ("torch", "scikit-learn", "numpy")}
    about = {"documents": asked.documents, "max_tokens": asked.max_tokens, "seeds": asked.seeds, **versions}
    scores: dict[str, Any] = {}
    for name in asked.sets:
        texts, classes = texts_of(asked.data, name, asked.documents)
        settings = EncoderSettings(prompt="none", pooling="mean", max_tokens=asked.max_tokens)
        source = EncoderSource(settings)
        documents = Embedder(source, asked.store, key=source.stored_key(asked.store)).embed(texts)
        words = Embedder(source, asked.store / "words", key=source.stored_key(asked.store))
        scores[name] = {"texts": len(texts), **measured(documents, texts, words, classes, asked.seeds)}
        write_json(asked.output, {**about, "machine": platform.machine(), "sets": scores})
        print(name, {way: found["ami"] for way, found in scores[name].items() if way != "texts"}, flush=True)


def texts_of(data: Path, name: str, most: int) -> tuple[list[str], np.ndarray]:
    """The texts of a set as ``compare views`` samples them, and their classes."""
    recipe = parse_recipe({"corpus": corpus_of(data, SETS[name])})
    documents = sampled(Workspace(recipe, data, data), most)
    return [one.text for one in documents], np.unique([str(one.label) for one in documents], return_inverse=True)[1]


def measured(
    documents: Embeddings, texts: list[str], embedder: Embedder, classes: np.ndarray, seeds: int
) -> dict[str, Any]:
    """AMI and cosines of every way; the embedder is asked for words."""
    words = embedded_words(texts, embedder)
    found = {}
    for name, transform in ways(documents, texts, embedder).items():
        rows = transform(documents)
        found[name] = {**ami(rows, classes, seeds), "documents": cosines(rows), "words": cosines(transform(words))}
    return found


def ways(documents: Embeddings, texts: list[str], embedder: Embedder) -> dict[str, Transform]:
    """Name -> what makes vectors, as it is and with every dimension standardized, and some ways between the two."""
    made: dict[str, Transform] = {}
    for name, filters in FILTERED.items():
        for standardize in ("none", "hidden_states"):
            fusion = Fusion("hidden_states", standardize=standardize, filters=filters)  # type: ignore[arg-type]
            fitted = fusion.fit([documents], texts, embedder)
            made[name if standardize == "none" else f"{name}, z"] = fitted.transform
    made |= {name: fusion.fit([documents], texts, embedder).transform for name, fusion in BACKENDS.items()}
    aligned = Fusion("hidden_states", standardize="none", filters=("align_words",)).fit([documents], texts, embedder)
    deviation = aligned.transform(documents).std(axis=0)
    for power in POWERS:
        scale = np.maximum(deviation, 1e-6) ** power
        made[f"align_words, deviation to the power of {power}"] = lambda rows, scale=scale: (
            aligned.transform(rows) / scale
        )
    return made


def cosines(rows: np.ndarray) -> list[float]:
    """At 5, 50 and 95 % of all pairs of some rows."""
    some = normalize(rows[:: -(-len(rows) // 400)].astype(np.float64))
    pairs = (some @ some.T)[np.triu_indices(len(some), 1)]
    return [round(float(value), 3) for value in np.quantile(pairs, (0.05, 0.5, 0.95))]


if __name__ == "__main__":
    main()
