"""Does choosing alpha without labels help? Beside the best alpha in hindsight, and beside fixed ones.

    python benchmarks/alpha.py --data ../shared/data

Encodes a sample of 20 Newsgroups and of arXiv abstracts with the embedded model under two read-outs, fuses them with
each alpha, raw and standardized, and clusters by k-means with as many clusters as labels. Every rule then picks one
alpha per case; its regret is the AMI of the best alpha less the AMI of the alpha it picked. Writes
benchmarks/results/alpha.json and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, v_measure_score
from threadpoolctl import threadpool_limits

from moee_topics.corpus import CorpusSettings, Document, open_corpus
from moee_topics.defaults import SEED
from moee_topics.embeddings import Embeddings
from moee_topics.encode import MoEEncoder
from moee_topics.errors import MoEETopicsError
from moee_topics.fuse import ALPHAS, Fusion
from moee_topics.fuse.blocks import Blocks, Matrix, unit_rows
from moee_topics.fuse.methods import weighted_sum
from moee_topics.store import EmbeddingStore, content_hash, write_json

CRITERIA = ("neighbours", "spearman", "stability")
READ_OUTS = (("prompteol", "last_token"), ("none", "mean"))
SEEDS = (1, 2, 3)
NEIGHBOURS = 15  # as many as UMAP looks at unless told otherwise
PAIRS = 20_000
SPLITS = 5
Score = Callable[[float], float]
RESULTS = Path(__file__).with_name("results") / "alpha.json"


@dataclass(frozen=True)
class Case:
    """One corpus under one read-out and one scaling: the truth by alpha, and what each rule picked."""

    corpus: str
    documents: int
    labels: int
    read_out: str
    scaling: str
    ami: dict[float, float]
    v_measure: dict[float, float]
    picked: dict[str, float]
    scores: dict[str, dict[float, float]]

    def regret(self, alpha: float) -> float:
        return max(self.ami.values()) - self.ami[alpha]


def sample(settings: CorpusSettings, size: int) -> list[Document]:
    """So many different, labelled, not tiny documents, evenly drawn."""
    unique = {document.text: document for document in open_corpus(settings) if document.label is not None}
    documents = [document for text, document in unique.items() if len(text) >= 40]
    rows = np.random.default_rng(0).choice(len(documents), min(size, len(documents)), replace=False)
    return [documents[row] for row in sorted(rows)]


def corpora(data: Path, size: int) -> Iterator[tuple[str, list[Document]]]:
    yield "20 Newsgroups", sample(CorpusSettings("20newsgroups", data_home=data / "scikit_learn_data"), size)
    papers = CorpusSettings(
        str(data / "arxiv_clustering" / "archives.jsonl.gz"), text=("text", "abstract"), label="label"
    )
    yield "arXiv archives", sample(papers, size)


def encode(encoder: MoEEncoder, texts: Sequence[str], root: Path) -> Embeddings:
    """Through the store, so that a second run encodes nothing."""
    hashes = [content_hash(text) for text in texts]
    with EmbeddingStore.open(root, encoder.spec.key(), writable=True) as store:
        missing = store.missing(hashes)
        for start in range(0, len(missing), 500):
            rows = missing[start : start + 500]
            part = encoder.encode([texts[row] for row in rows])
            store.write(part, [str(row) for row in rows], [hashes[row] for row in rows])
        return store.read(hashes)


def truth(
    embeddings: Embeddings, labels: Sequence[str], fusion: Fusion
) -> tuple[dict[float, float], dict[float, float]]:
    """AMI and V-measure of k-means with the known number of clusters, by alpha, mean over seeds."""
    ami, v_measure = {}, {}
    for alpha in ALPHAS:
        vectors = fusion.with_alpha(alpha).transform(embeddings)
        runs = [KMeans(len(set(labels)), n_init=3, random_state=seed).fit_predict(vectors) for seed in SEEDS]
        ami[alpha] = mean(float(adjusted_mutual_info_score(labels, run)) for run in runs)
        v_measure[alpha] = mean(float(v_measure_score(labels, run)) for run in runs)
    return ami, v_measure


def sampled(fusion: Fusion, embeddings: Embeddings) -> Blocks:
    """The blocks of at most 2,000 documents, which a criterion looks at."""
    rows = np.sort(np.random.default_rng(SEED).choice(len(embeddings), min(2000, len(embeddings)), replace=False))
    return fusion.blocks(embeddings[rows])


def criteria(blocks: Blocks) -> dict[str, Score]:
    """What was tried to choose by: a score of each alpha from the embeddings alone, the highest for the best."""
    return {
        "neighbours": shared_neighbours(blocks),
        "spearman": mean_correlation(blocks, np.random.default_rng(SEED)),  # the paper's camera-ready, section 3.3
        "stability": stability(blocks, SEED),
    }


def shared_neighbours(blocks: Blocks) -> Score:
    """The geometric mean of the shares of 15 nearest neighbours in common with each block alone."""
    hidden, routing = (unit @ unit.T for unit in map(unit_rows, blocks))
    alone = neighbours(hidden), neighbours(routing)

    def score(alpha: float) -> float:
        own = neighbours(hidden + alpha * routing)
        shares = [float((own & other).sum() / own.sum()) for other in alone]
        return float(np.sqrt(shares[0] * shares[1]))

    return score


def neighbours(similarity: Matrix) -> NDArray[np.bool_]:
    """(n, n) True where the column is among the row's nearest, itself aside."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    nearest = np.argpartition(-others, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    marks = np.zeros(others.shape, dtype=bool)
    np.put_along_axis(marks, nearest, True, axis=1)
    return marks


def mean_correlation(blocks: Blocks, generator: np.random.Generator) -> Score:
    """The mean rank correlation of the fused similarity with each block's, over random pairs of different documents."""
    documents = len(blocks[0])
    first = generator.integers(0, documents, PAIRS)
    # Moved on by at least one, so that no document is paired with itself.
    second = (first + generator.integers(1, documents, PAIRS)) % documents
    hidden, routing = ((unit @ unit.T)[first, second] for unit in map(unit_rows, blocks))

    def score(alpha: float) -> float:
        fused = hidden + alpha * routing
        return (rank_correlation(fused, hidden) + rank_correlation(fused, routing)) / 2

    return score


def stability(blocks: Blocks, seed: int) -> Score:
    """The mean AMI of two clusterings of all documents, each by k-means fitted on another half of them."""
    documents = len(blocks[0])
    clusters = round(float(np.sqrt(documents / 2)))

    def agreement(vectors: Matrix, order: NDArray[np.int64]) -> float:
        halves = order[: documents // 2], order[documents // 2 :]
        with threadpool_limits(limits=1):
            fitted = [KMeans(clusters, n_init=1, random_state=seed).fit(vectors[half]) for half in halves]
        return float(adjusted_mutual_info_score(*(half.predict(vectors) for half in fitted)))

    def score(alpha: float) -> float:
        # The generator starts anew, so that every alpha is judged on the same halves.
        vectors, generator = weighted_sum(blocks, alpha), np.random.default_rng(seed)
        return float(np.mean([agreement(vectors, generator.permutation(documents)) for _ in range(SPLITS)]))

    return score


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def examine(corpus: str, read_out: str, embeddings: Embeddings, labels: Sequence[str], scaling: str) -> Case:
    fusion = Fusion(standardize=scaling == "standardized").fit([embeddings])
    ami, v_measure = truth(embeddings, labels, fusion)
    blocks = sampled(fusion, embeddings)
    scores = {name: {alpha: of(alpha) for alpha in ALPHAS} for name, of in criteria(blocks).items()}
    return Case(
        corpus=corpus,
        documents=len(embeddings),
        labels=len(set(labels)),
        read_out=read_out,
        scaling=scaling,
        ami=ami,
        v_measure=v_measure,
        picked={name: max(ALPHAS, key=of.__getitem__) for name, of in scores.items()},  # the smallest of those that tie
        scores=scores,
    )


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    samples = list(corpora(arguments.data, arguments.documents))
    for prompt, pooling in READ_OUTS:
        encoder = MoEEncoder.from_pretrained(arguments.model, prompt=prompt, pooling=pooling, max_tokens=256)  # type: ignore[arg-type]
        for corpus, documents in samples:
            embeddings = encode(encoder, [document.text for document in documents], arguments.store)
            labels = [str(document.label) for document in documents]
            for scaling in ("raw", "standardized"):
                yield examine(corpus, f"{prompt}, {pooling}", embeddings, labels, scaling)


def table_of_cases(found: Sequence[Case]) -> str:
    """AMI of k-means at fixed alphas, at the best one, and at the one each criterion picked."""
    lines = [
        "| corpus | read-out | scaling | HS (0) | 0.5 | 1 | best | " + " | ".join(CRITERIA) + " |",
        "|---|---|---|--:|--:|--:|--:|" + "--:|" * len(CRITERIA),
    ]
    for case in found:
        best = max(case.ami, key=lambda alpha: case.ami[alpha])
        fixed = [f"{case.ami[alpha]:.3f}" for alpha in (0.0, 0.5, 1.0)]
        chosen = [f"{case.ami[alpha]:.3f} ({alpha:g})" for alpha in (best, *case.picked.values())]
        lines.append("| " + " | ".join([case.corpus, case.read_out, case.scaling, *fixed, *chosen]) + " |")
    return "\n".join(lines)


def regrets(found: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Mean and largest loss of AMI against the best alpha, for each criterion and each fixed alpha."""
    rules = {name: [case.regret(case.picked[name]) for case in found] for name in CRITERIA}
    rules |= {f"always {alpha:g}": [case.regret(alpha) for case in found] for alpha in ALPHAS}
    return {name: {"mean": mean(values), "largest": max(values)} for name, values in rules.items()}


def table_of_regrets(rules: dict[str, dict[str, float]]) -> str:
    rows = sorted(rules.items(), key=lambda item: item[1]["mean"])
    lines = ["| rule | mean regret (AMI) | largest |", "|---|--:|--:|"]
    return "\n".join(lines + [f"| {name} | {row['mean']:.4f} | {row['largest']:.4f} |" for name, row in rows])


def environment(model: str) -> dict[str, Any]:
    packages = ("moee-topics", "torch", "transformers", "scikit-learn", "numpy")
    described: dict[str, Any] = {name: version(name) for name in packages}
    training = Path(model) / "training.json"
    if training.is_file():
        described["model_training"] = json.loads(training.read_text(encoding="utf-8"))
    return described | {"python": platform.python_version(), "machine": platform.machine(), "model": Path(model).name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--store", type=Path, default=Path("runs/alpha_store"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    try:
        found = list(cases(arguments))
    except MoEETopicsError as error:
        raise SystemExit(str(error)) from error
    rules = regrets(found)
    result = {"environment": environment(arguments.model), "regret": rules, "cases": [asdict(case) for case in found]}
    write_json(arguments.output, result)
    print(table_of_cases(found), table_of_regrets(rules), sep="\n\n")


if __name__ == "__main__":
    main()
