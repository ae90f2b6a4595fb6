"""The ways to cluster beside each other: time, memory and agreement on one set, 20 Newsgroups by its words.

    pip install 'moee-topics[fast]' && nice -n 10 python -m benchmarks.clusterers

Each way clusters the same places (UMAP, made once) or, where it is made for them, the vectors themselves; it runs in a
process of its own, twice, and the second time counts, since numba compiles in the first. Writes
benchmarks/results/clusterers.json after each, and does none twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score

from benchmarks.samples import corpus
from benchmarks.scale import Meter, machine
from moee_topics.fuse import Lexical
from moee_topics.store import write_json
from moee_topics.topics import ClusterSettings, FitSettings
from moee_topics.topics.clusterers import build_clusterer, build_reducer

RESULTS = Path(__file__).with_name("results") / "clusterers.json"
WAYS = (
    ("hdbscan", "umap", None),
    ("sklearn_hdbscan", "umap", None),
    ("fast_hdbscan", "umap", None),
    ("evoc", "none", None),
    ("kmeans", "none", 60),
    ("kmeans", "umap", 60),
    ("hdbscan", "pca", None),
)


def places(folder: Path, reducer: str) -> tuple[np.ndarray, list[str]]:
    """What is clustered, made once, and the newsgroups."""
    texts, labels = corpus("20newsgroups")
    for name, make in (
        ("vectors", lambda: Lexical.fit(texts).transform(texts)),
        (reducer, lambda: reduced(np.load(folder / "vectors.npy"), reducer)),
    ):
        if not (folder / f"{name}.npy").exists():
            np.save(folder / f"{name}.npy", make())
    return np.load(folder / f"{reducer}.npy"), labels


def reduced(X: np.ndarray, reducer: Any) -> np.ndarray:
    settings = replace(FitSettings(), cluster=ClusterSettings(reducer=reducer))
    return np.asarray(build_reducer(settings, len(X)).fit_transform(X), dtype=np.float32)


def measure(method: Any, reducer: Any, clusters: int | None, folder: Path) -> dict[str, Any]:
    """Twice in this process; the time and the memory of the second."""
    X, labels = places(folder, reducer)
    settings = replace(FitSettings(), cluster=ClusterSettings(method, reducer, clusters))
    build_clusterer(settings).fit(X)
    meter = Meter()
    with meter.part("cluster"):
        started = time.process_time()
        found = build_clusterer(settings).fit(X)
        seconds = time.process_time() - started
    topics = np.asarray(found.labels_)
    inside = topics >= 0
    return {
        "topics": int(topics.max()) + 1,
        "outliers": round(float((~inside).mean()), 3),
        "ami_labels": round(float(adjusted_mutual_info_score(labels, topics)), 3),
        "ami_labels_inside": round(float(adjusted_mutual_info_score(np.asarray(labels)[inside], topics[inside])), 3),
        "cpu_seconds": round(seconds, 2),
        "peak_bytes": meter.parts["cluster"]["peak_bytes"],
        "labels": topics.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/clusterers"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--way", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.way is not None:
        write_json(asked.folder / f"{asked.way}.json", measure(*WAYS[asked.way], asked.folder), indent=None)
        return
    result: dict[str, Any] = {}
    for number, (method, reducer, clusters) in enumerate(WAYS):
        path = asked.folder / f"{number}.json"
        if not path.exists():
            call = [sys.executable, "-m", "benchmarks.clusterers", "--way", str(number), "--folder", str(asked.folder)]
            subprocess.run(call, check=True)
        found = json.loads(path.read_text())
        labels = found.pop("labels")
        ours = json.loads((asked.folder / "0.json").read_text())["labels"]
        found["ami_hdbscan"] = round(float(adjusted_mutual_info_score(ours, labels)), 3)
        result[f"{method} after {reducer}" + (f", {clusters} clusters" if clusters else "")] = found
        packages = {name: version(name) for name in ("hdbscan", "fast-hdbscan", "evoc", "scikit-learn")}
        write_json(asked.output, {"ways": result, "machine": {**machine(), "packages": packages}})
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
