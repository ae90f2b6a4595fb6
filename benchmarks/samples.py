"""How far topics of a sample are those of the whole, where the whole still fits.

    nice -n 10 python benchmarks/samples.py                     # 20 Newsgroups and arXiv abstracts

Vectors are TF-IDF and a singular value decomposition (``fusion.lexical``), since only UMAP and HDBSCAN matter here.
Two fits of the whole differ by the seed alone; two fits of a sample differ by seed and sample, and each is compared
with both wholes. Writes benchmarks/results/samples.json after every share, and does no fit twice.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score

from moee_topics.fuse import Lexical
from moee_topics.store import write_json
from moee_topics.topics import FitSettings, LargeSettings
from moee_topics.topics.clustering import build_hdbscan, build_umap
from moee_topics.topics.sampled_clusters import SampledClusters

RESULTS = Path(__file__).with_name("results") / "samples.json"
DATA = Path(__file__).parents[2] / "shared" / "data"
SEEDS, SHARES = (42, 43), (2, 4)
CORPORA = ("20newsgroups", "arxiv")


def corpus(name: str) -> tuple[list[str], list[str]]:
    """Different texts of more than five words, and their classes."""
    if name == "20newsgroups":
        from sklearn.datasets import fetch_20newsgroups

        remove = ("headers", "footers", "quotes")
        news = fetch_20newsgroups(data_home=str(DATA / "scikit_learn_data"), subset="all", remove=remove)
        rows = list(zip(news.data, map(str, news.target), strict=True))
    else:
        with gzip.open(DATA / "arxiv_clustering" / "archives.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [(row["abstract"], row["label"]) for row in map(json.loads, lines)]
    different = {text: label for text, label in rows if len(text.split()) > 5}
    return list(different), list(different.values())


def labels_of(X: np.ndarray, settings: FitSettings) -> dict[str, Any]:
    """The clusters of all vectors at once, or by a sample of them, and what it took."""
    worked = time.process_time()
    if settings.large.samples(len(X)):
        clusters = SampledClusters(settings).fit(X)
        labels, clustered = clusters.labels_, int((~clusters.assigned_).sum())
    else:
        labels = build_hdbscan(settings).fit(build_umap(settings, len(X)).fit_transform(X)).labels_
        clustered = len(X)
    seconds = round(time.process_time() - worked, 1)
    return {"labels": np.asarray(labels).tolist(), "clustered": clustered, "cpu_seconds": seconds}


def facts(fit: dict[str, Any], known: list[str], wholes: dict[int, list[int]], seed: int) -> dict[str, Any]:
    """Topics, outliers and agreements of one fit."""
    labels = np.asarray(fit["labels"])
    other = next(one for one in SEEDS if one != seed)
    return {
        "topics": int(labels.max()) + 1,
        "outliers": round(float((labels < 0).mean()), 3),
        "clustered": fit["clustered"],
        "ami_whole_of_its_seed": round(float(adjusted_mutual_info_score(wholes[seed], labels)), 3),
        "ami_whole_of_another_seed": round(float(adjusted_mutual_info_score(wholes[other], labels)), 3),
        "ami_where_both_have_topics": agreement_inside(labels, np.asarray(wholes[other])),
        "ami_labels": round(float(adjusted_mutual_info_score(known, labels)), 3),
        "cpu_seconds": fit["cpu_seconds"],
    }


def agreement_inside(labels: np.ndarray, others: np.ndarray) -> float:
    """AMI over the documents that neither leaves without a topic."""
    inside = (labels >= 0) & (others >= 0)
    return round(float(adjusted_mutual_info_score(others[inside], labels[inside])), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=CORPORA)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/samples"), help="of the fits")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    result: dict[str, Any] = {}
    for name in asked.corpora:
        texts, known = corpus(name)
        wholes: dict[int, list[int]] = {}
        result[name] = {"documents": len(texts)}
        for share in (1, *SHARES):
            for seed in SEEDS:
                path = asked.folder / f"{name}-{share}-{seed}.json"
                large = LargeSettings(0 if share == 1 else 1, len(texts) // share)
                if not path.exists():
                    X = Lexical.fit(texts).transform(texts)
                    write_json(path, labels_of(X, replace(FitSettings(), seed=seed, large=large)), indent=None)
                fit = json.loads(path.read_text())
                if share == 1:
                    wholes[seed] = fit["labels"]
            if share == 1:
                result[name]["two_seeds"] = round(float(adjusted_mutual_info_score(*wholes.values())), 3)
            result[name][f"1/{share}"] = {
                str(seed): facts(
                    json.loads((asked.folder / f"{name}-{share}-{seed}.json").read_text()), known, wholes, seed
                )
                for seed in SEEDS
            }
            write_json(asked.output, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
