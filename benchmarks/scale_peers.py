"""What others take for the corpora of benchmarks/scale.py, from the same vectors: BERTopic as it is, and topica.

    python benchmarks/scale_peers.py bertopic /tmp/scale/10000
    python benchmarks/scale_peers.py topica /tmp/scale/10000    # in an environment with topica and pyarrow

The folder is one that scale.py has made, with the vectors of 100 numbers that its stage reduce left. Each takes UMAP,
HDBSCAN and c-TF-IDF with its own defaults but for 15 documents to a topic, its seed, and English stop words. Writes
``peer_NAME.json`` into the folder, with the topic of every document beside its known one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq


def bertopic(texts: Sequence[str], X: np.ndarray) -> Sequence[int]:
    """BERTopic with a seeded UMAP, which is one thread."""
    from bertopic import BERTopic
    from sklearn.feature_extraction.text import CountVectorizer
    from umap import UMAP

    reducer = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=42)
    model = BERTopic(umap_model=reducer, vectorizer_model=CountVectorizer(stop_words="english"), min_topic_size=15)
    topics, _ = model.fit_transform(list(texts), X)
    return topics


def topica(texts: Sequence[str], X: np.ndarray) -> Sequence[int]:
    """The BERTopic of topica, which takes words."""
    import topica

    stops = set(topica.data.ENGLISH_STOPWORDS)
    words = [[word for word in re.findall(r"\w\w+", text.lower()) if word not in stops] for text in texts]
    model = topica.BERTopic(min_cluster_size=15, seed=42)
    model.fit(words, X.astype(np.float64))
    return model.labels


PEERS = {"bertopic": bertopic, "topica": topica}


def peak_bytes() -> int:
    """The most memory of this process so far (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    texts = pq.read_table(asked.folder / "corpus.parquet", columns=["text"])["text"].to_pylist()
    labels = pq.read_table(asked.folder / "corpus.parquet", columns=["label"])["label"].to_pylist()
    X = np.asarray(np.load(asked.folder / "run" / "vectors.npy"), dtype=np.float32)
    started, worked = time.perf_counter(), time.process_time()
    topics = [int(topic) for topic in PEERS[asked.peer](texts, X)]
    found: dict[str, Any] = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_bytes": peak_bytes(),
        "version": version(asked.peer),
        "topics": len(set(topics) - {-1}),
        "outliers": round(float(np.mean(np.array(topics) == -1)), 4),
    }
    try:
        from sklearn.metrics import adjusted_mutual_info_score

        found["ami"] = round(float(adjusted_mutual_info_score(labels, topics)), 4)
    except ImportError:  # not in the environment of topica
        np.save(asked.folder / f"peer_{asked.peer}.npy", np.array(topics))
    (asked.folder / f"peer_{asked.peer}.json").write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
