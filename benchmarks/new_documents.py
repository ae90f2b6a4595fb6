"""Do new documents get the topic they would have had in the fit? By size of topic and number of voters.

    python benchmarks/new_documents.py --data ../shared/data

Encodes a sample of 20 Newsgroups with the embedded model and fits topics, small ones and large ones. Then every
document is predicted as if it were new: a fifth at a time is taken out of the vote. Agreement is with the topic of the
fit, a mean over the documents in topics of one size; documents that the fit left out count by themselves. At last four
fifths are fitted alone, and newsgroups compared with topics: of documents of that fit, and of the fifth it never saw.
Writes benchmarks/results/new-documents.json and prints it.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score

from moee_topics.corpus import CorpusSettings, Document, open_corpus
from moee_topics.embed import Embedder
from moee_topics.encode import MoEEncoder
from moee_topics.fuse import Fusion, fuse_all
from moee_topics.store import write_json
from moee_topics.topics import OUTLIERS, FitSettings, TopicModel, Voters, fit_topics

SIZES = ((2, 5), (6, 15), (16, 50), (51, 10**9))
VOTERS = (15, 5, 3)
FOLDS = 5
RESULTS = Path(__file__).with_name("results") / "new-documents.json"


@dataclass(frozen=True)
class FixedVoters(Voters):
    """So many voters, whatever the smallest topic has."""

    count: int = 0

    @property
    def neighbors(self) -> int:
        """Not by the smallest topic."""
        return self.count


def sample(data: Path, size: int) -> list[Document]:
    """So many different posts, evenly drawn."""
    corpus = open_corpus(CorpusSettings(source="20newsgroups", data_home=data / "scikit_learn_data"))
    posts = list({document.text: document for document in corpus}.values())
    return [posts[row] for row in np.linspace(0, len(posts) - 1, min(size, len(posts))).astype(int)]


def predicted_as_new(X: NDArray[np.float32], topics: NDArray[np.int64], voters: int | None) -> NDArray[np.int64]:
    """(N,) the topic that each document gets from voters of the other folds; None leaves their number to the rule."""
    fold = np.random.default_rng(0).permutation(len(X)) % FOLDS
    predicted = np.empty(len(X), dtype=np.int64)
    for number in range(FOLDS):
        others = np.flatnonzero(fold != number)
        rule = Voters.fit(X[others], topics[others])
        if voters is not None:
            rule = FixedVoters(rule.vectors, rule.rows, rule.topics, voters)
        predicted[fold == number] = rule.predict(X[fold == number])[0]
    return predicted


def by_size(topics: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, Any]:
    """Agreement of documents in topics of each size, of the outliers, and topics that nobody new got."""
    numbers, counts = np.unique(topics[topics != OUTLIERS], return_counts=True)
    rows: dict[str, Any] = {}
    for low, high in SIZES:
        of_size = numbers[(counts >= low) & (counts <= high)]
        inside = np.isin(topics, of_size)
        if inside.any():
            rows[f"{low}-{high}" if high < 10**9 else f"{low}-"] = {
                "topics": len(of_size),
                "documents": int(inside.sum()),
                "agreement": round(float((topics == predicted)[inside].mean()), 4),
                "never_predicted": len(set(of_size.tolist()) - set(predicted[inside].tolist())),
            }
    outside = topics == OUTLIERS
    share = float((predicted[outside] == OUTLIERS).mean())
    rows["outliers"] = {"documents": int(outside.sum()), "agreement": round(share, 4)}
    return rows


def labels_told(model: TopicModel, labels: list[str], X: NDArray[np.float32], new: list[str]) -> dict[str, float]:
    """AMI of newsgroups and topics, outliers as one: of the documents of a fit, and of those it never saw."""
    fitted, predicted = model.result.topics, model.voters.predict(X)[0]
    # As many of the fit as are new: AMI takes chance out, but not what a larger sample shows.
    rows = np.random.default_rng(0).permutation(len(fitted))[: len(new)]
    return {
        "fitted": round(adjusted_mutual_info_score([labels[row] for row in rows], fitted[rows]), 4),
        "new": round(adjusted_mutual_info_score(new, predicted), 4),
        "outliers_fitted": round(float((fitted == OUTLIERS).mean()), 4),
        "outliers_new": round(float((predicted == OUTLIERS).mean()), 4),
    }


def main() -> None:
    """Encodes, fits, predicts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds scikit_learn_data")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    posts = sample(arguments.data, arguments.documents)
    texts, labels = [post.text for post in posts], [str(post.label) for post in posts]
    encoder = MoEEncoder.from_pretrained("pocket", prompt="none", pooling="mean", max_tokens=arguments.tokens)
    fusion = Fusion("weighted_sum", alpha=0.25, standardize="none")
    X = fuse_all(Embedder.of(encoder).blocks(texts), fusion, len(texts))
    is_new = np.random.default_rng(1).permutation(len(texts)) % FOLDS == 0
    old_rows, new_rows = np.flatnonzero(~is_new), np.flatnonzero(is_new)
    fits = []
    for smallest in (3, 5, 15):
        hdbscan = {"min_cluster_size": smallest, "min_samples": 2, "cluster_selection_method": "leaf"}
        settings = FitSettings(hdbscan=hdbscan, representation="ctfidf")
        nowhere = np.zeros((len(texts), 2), dtype=np.float32)
        topics = fit_topics(texts, X, settings, positions=nowhere).result.topics
        agreements = {str(voters): by_size(topics, predicted_as_new(X, topics, voters)) for voters in VOTERS}
        agreements["rule"] = by_size(topics, predicted_as_new(X, topics, None))
        part = fit_topics([texts[row] for row in old_rows], X[old_rows], settings, positions=nowhere[old_rows])
        of_old, of_new = [labels[row] for row in old_rows], [labels[row] for row in new_rows]
        fits.append(
            {
                "min_cluster_size": smallest,
                "topics": int(topics.max()) + 1,
                "by_voters": agreements,
                "newsgroups": labels_told(part, of_old, X[new_rows], of_new),
            }
        )
        print(json.dumps(fits[-1], indent=1))
    environment = {"machine": platform.machine(), "python": platform.python_version(), "numpy": version("numpy")}
    write_json(RESULTS, {"documents": len(texts), "tokens": arguments.tokens, "fits": fits, **environment})


if __name__ == "__main__":
    main()
